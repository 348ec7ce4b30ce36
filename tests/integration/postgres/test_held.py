"""Statements that wait for other people, in both protocols: what runs is what was agreed to, once, and nothing before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from chalicelib.contracts.faults import Fault, Notice
from tests.fakes.agent_runtime import FakeApprovals, make_policy
from tests.integration.plugin_listener import eventually
from tests.integration.postgres.conftest import RUN, Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

HOLD = (
    '@approval("group:dba") @message("Ask.") forbid(principal, action == Action::"run", resource) '
    'when { context.verbs.contains("UPDATE") } unless { context.approvals.contains("dba") };'
)
SEVERAL = "UPDATE notes SET id = 1 WHERE id = 1; SELECT 1; UPDATE notes SET id = 2 WHERE id = 2"
CHANGE = "UPDATE notes SET id = id WHERE id = %s"


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[psycopg.AsyncConnection]:
    gateway.rules = (RUN, HOLD)
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        yield connection


async def others(gateway: Gateway) -> FakeApprovals:
    approvals = gateway.servings[-1].approvals
    await asyncio.wait_for(approvals.waiting.wait(), HANG_S)
    return approvals


async def test_a_bound_statement_waits_with_its_values(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    said: list[str] = []
    client.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    running = asyncio.ensure_future(client.execute(CHANGE, (3,)))
    approvals = await others(gateway)
    ((operation, _),) = approvals.asked
    assert (operation.kind, operation.arguments) == ("execute", ("3",))
    assert gateway.recorded("held")
    assert not [line for line in gateway.recorded("operation") if line["kind"] == "execute"]
    approvals.release.set()
    await asyncio.wait_for(running, HANG_S)
    assert len(said) == 1
    assert "Ask the DBAs. Waiting until" in said[0]
    assert approvals.used == [("req_1", operation.digest())]
    (line,) = [line for line in gateway.recorded("operation") if line["kind"] == "execute"]
    assert (line["verdict"], line["approvers"], line["request"]) == ("allowed", ["carol@example.com"], "req_1")


async def test_each_time_it_is_bound_others_are_asked(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    gateway.servings[-1].approvals.release.set()
    for number in (3, 3, 4):
        await asyncio.wait_for(client.execute(CHANGE, (number,), prepare=True), HANG_S)
    assert [operation.arguments for operation, _ in gateway.servings[-1].approvals.asked] == [("3",), ("3",), ("4",)]
    assert len(gateway.servings[-1].approvals.used) == 3


async def test_a_pipeline_goes_on_after_the_yes(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    gateway.servings[-1].approvals.release.set()
    async with client.pipeline():
        one = await client.execute("SELECT 1")
        await client.execute(CHANGE, (5,))
        two = await client.execute("SELECT 2")
    assert (await one.fetchone(), await two.fetchone()) == ((1,), (2,))


@pytest.mark.parametrize(
    ("changed", "no", "no_use"),
    [
        ({"digest": "0" * 64}, None, None),
        ({"sub": "mallory@example.com"}, None, None),
        ({}, Fault("denied", "bob said no."), None),
        ({}, None, Fault("approval_used", "The approval has been used already.")),
    ],
)
async def test_every_no_fails_the_statement_alone(
    gateway: Gateway, client: psycopg.AsyncConnection, changed: dict[str, object], no: Fault | None, no_use: Fault | None
) -> None:
    approvals = gateway.servings[-1].approvals
    approvals.changed, approvals.no, approvals.no_use = changed, no, no_use
    approvals.release.set()
    for text, values in ((CHANGE, (3,)), (CHANGE.replace("%s", "3"), None)):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await asyncio.wait_for(client.execute(text, values), HANG_S)
        assert await (await client.execute("SELECT 7")).fetchone() == (7,)
    assert approvals.used == []


async def test_several_statements_wait_for_each_before_the_first_runs(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    running = asyncio.ensure_future(client.execute(SEVERAL))
    approvals = await others(gateway)
    assert not gateway.recorded("operation")
    approvals.release.set()
    await asyncio.wait_for(running, HANG_S)
    assert len(approvals.asked) == len(approvals.used) == 2


async def test_the_end_of_the_client_or_of_the_session_withdraws(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    running = asyncio.ensure_future(client.execute(CHANGE, (3,)))
    approvals = await others(gateway)
    gateway.servings[-1].ended.set_result(Notice("session_killed", "Ended."))
    with pytest.raises(psycopg.OperationalError):
        await asyncio.wait_for(running, HANG_S)
    await eventually(lambda: approvals.withdrawn == 1)
    assert approvals.used == []


async def test_a_policy_that_asks_for_more_by_then(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    running = asyncio.ensure_future(client.execute(CHANGE, (3,)))
    approvals = await others(gateway)
    serving = gateway.servings[-1]
    serving.in_force = make_policy(RUN, HOLD.replace("group:dba", "group:dba quorum:2"), target=serving.target)
    approvals.release.set()
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="asks for more"):
        await asyncio.wait_for(running, HANG_S)
    assert approvals.used == []
