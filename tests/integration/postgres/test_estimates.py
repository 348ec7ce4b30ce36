"""What approvers are told about rows: the planner's estimate, asked beside the session, where asking can do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from agent.protocols.postgres import estimate
from agent.protocols.postgres.estimate import NOT_KNOWN
from tests.integration.postgres.conftest import RUN, Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

HOLD = (
    '@approval("group:dba") forbid(principal, action == Action::"run", resource) '
    'when { context.text like "*held*" } unless { context.approvals.contains("dba") };'
)
CLEAN = "DROP TABLE IF EXISTS big; DROP FUNCTION IF EXISTS leaks(); "
SETUP = (
    "CREATE TABLE big (id int, word text); INSERT INTO big SELECT n, 'w' || n FROM generate_series(1, 5000) n; ANALYZE big; "
    "CREATE FUNCTION leaks() RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
    "'BEGIN RAISE WARNING ''it ran''; RETURN 1; END'"
)


@pytest.fixture
async def client(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[psycopg.AsyncConnection]:
    # The sentence is what is tested here, and not that nobody waits for it for long.
    monkeypatch.setattr(estimate, "PATIENCE_S", HANG_S)
    monkeypatch.setitem(estimate.SETTINGS, "statement_timeout", "90s")
    gateway.rules = (RUN, HOLD)
    gateway.postgres.direct(CLEAN + SETUP)
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        yield connection
    gateway.postgres.direct(CLEAN)


async def about_rows(gateway: Gateway, client: psycopg.AsyncConnection, text: str, *values: object) -> list[str]:
    """Return what others read about the rows of ``text``, before they say yes."""
    approvals = gateway.servings[-1].approvals
    approvals.release.set()
    before = len(approvals.asked)
    await asyncio.wait_for(client.execute(text, values or None), HANG_S)
    return [each for each in approvals.asked[before][1] if each == NOT_KNOWN or each.startswith("EXPLAIN")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("UPDATE big SET word = 'held'", "EXPLAIN estimates 5,000 rows."),
        ("DELETE FROM big WHERE word = 'held' AND id < 0", "EXPLAIN estimates 1 row."),
        ("SELECT 'held', * FROM big", "EXPLAIN estimates 5,000 rows."),
        ("INSERT INTO big SELECT id, upper('held') FROM big", "EXPLAIN estimates 5,000 rows."),
        ("WITH gone AS (DELETE FROM big WHERE id = 17 RETURNING 'held') SELECT * FROM gone", "EXPLAIN estimates 1 row."),
    ],
)
async def test_rows_that_are_changed_and_rows_that_are_read(
    gateway: Gateway, client: psycopg.AsyncConnection, text: str, said: str
) -> None:
    assert await about_rows(gateway, client, text) == [said]


async def test_bound_values_are_planned_with(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    text = "UPDATE big SET word = %s || 'held' WHERE id <= %s"
    said = [await about_rows(gateway, client, text, word, most) for word, most in (("NULL", 100), (None, 4_000))]
    few, many = (int(each[0].split()[2].replace(",", "")) for each in said)
    assert few < 500 < many


async def test_planning_calls_nobody_elses_function(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    warned: list[str | None] = []
    client.add_notice_handler(lambda notice: warned.append(notice.message_primary))
    for text in ("SELECT leaks(), 'held'", "UPDATE big SET word = 'held' WHERE id = leaks()"):
        warned.clear()
        assert await about_rows(gateway, client, text) == [NOT_KNOWN]
        assert "it ran" in warned, "by the statement itself, after the yes"
    log = gateway.postgres.log.read_text(errors="replace").splitlines()
    assert not [line for line in log if "EXPLAIN" in line and "leaks" in line]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("CREATE TEMPORARY TABLE small (id int)", NOT_KNOWN),
        ("SET search_path = elsewhere", "EXPLAIN estimates 5,000 rows."),
    ],
)
async def test_what_only_this_session_sees_is_not_guessed_elsewhere(
    gateway: Gateway, client: psycopg.AsyncConnection, before: str, said: str
) -> None:
    await client.execute(before)
    assert await about_rows(gateway, client, "SELECT 'held' FROM public.big") == [said]


async def test_a_table_that_the_session_itself_has_locked_is_not_waited_for(
    gateway: Gateway, client: psycopg.AsyncConnection
) -> None:
    await client.execute("BEGIN")
    await client.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
    assert await about_rows(gateway, client, "DELETE FROM big WHERE word = 'held'") == [NOT_KNOWN]
    await client.execute("ROLLBACK")


async def test_what_is_not_about_rows_has_no_estimate(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    assert await about_rows(gateway, client, "COMMENT ON TABLE big IS 'held'") == []


async def test_a_server_that_takes_no_more_connections_fails_nothing(gateway: Gateway, client: psycopg.AsyncConnection) -> None:
    account = client.info.parameter_status("session_authorization")
    gateway.postgres.admin("postgres", f"ALTER ROLE {account} CONNECTION LIMIT 1")
    try:
        assert await about_rows(gateway, client, "SELECT 'held' FROM big") == [NOT_KNOWN]
    finally:
        gateway.postgres.admin("postgres", f"ALTER ROLE {account} CONNECTION LIMIT -1")
