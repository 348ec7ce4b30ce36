"""A text of a megabyte is read beside everything else, and ends like any other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import psycopg
import pytest

from agent.core.sql import Session
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis
from agent.protocols.postgres import reading
from chalicelib.contracts.faults import Notice
from tests.integration.postgres.conftest import Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

ROWS = 40_000
LONG = "INSERT INTO pg_temp.many VALUES " + ", ".join(f"({number}, 'x{number}')" for number in range(ROWS))


class Held:
    """Reads texts as the plug-in does, but the long ones not before it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read = reading.analyse
        self.begun = threading.Event()
        self.may = threading.Event()
        monkeypatch.setattr(reading, "analyse", self.analyse)

    def analyse(self, text: str, catalogue: Catalogue, *, session: Session) -> Analysis:
        if len(text) > 100_000:
            self.begun.set()
            assert self.may.wait(HANG_S)
        return self._read(text, catalogue, session=session)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(monkeypatch)
    yield held
    # Whatever fails, the thread is everybody's.
    held.may.set()


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


async def connected(gateway: Gateway) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True)


async def test_others_are_answered_while_a_long_text_is_read(gateway: Gateway, held: Held) -> None:
    async with await connected(gateway) as busy, await connected(gateway) as other:
        await busy.execute("CREATE TEMP TABLE many (n int, t text)")
        inserting = asyncio.ensure_future(busy.execute(LONG.encode()))
        await reached(held.begun)
        assert await (await other.execute("SELECT 1")).fetchall() == [(1,)]
        assert not inserting.done()
        held.may.set()
        assert (await inserting).rowcount == ROWS
        assert await (await busy.execute("SELECT count(*) FROM many")).fetchall() == [(ROWS,)]


async def test_what_the_server_says_meanwhile_comes_in_order(gateway: Gateway, held: Held) -> None:
    async with await connected(gateway) as connection:
        await connection.execute("CREATE TEMP TABLE many (n int, t text)")
        async with connection.pipeline():
            first = await connection.execute("SELECT 1, pg_sleep(0.01)")
            second = await connection.execute(LONG.encode(), prepare=False)
            third = await connection.execute("SELECT 3")
            flushing = asyncio.ensure_future(third.fetchall())
            await reached(held.begun)
            held.may.set()
            assert await flushing == [(3,)]
        assert [row[0] for row in await first.fetchall()] == [1]
        assert second.rowcount == ROWS


async def test_a_session_that_ends_in_the_middle_leaves_nothing_behind(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    connection = await connected(gateway)
    sending = asyncio.ensure_future(connection.execute("SELECT " + ", ".join(["7"] * 60_000)))
    await reached(held.begun)
    serving = gateway.servings[-1]
    serving.ended.set_result(Notice("session_killed", "Revoked."))
    with pytest.raises(psycopg.OperationalError):
        await sending
    held.may.set()
    async with await connected(gateway) as other:
        assert await (await other.execute("SELECT 1")).fetchall() == [(1,)]
    assert not [line for line in serving.recorder.lines(1, "jsonl")[1:] if "7, 7" in str(line.get("text"))]


async def test_a_long_prepared_statement_is_bound_again_and_again(gateway: Gateway) -> None:
    text = "SELECT %s::int WHERE 1 IN (" + ", ".join(str(number) for number in range(20_000)) + ")"
    async with await connected(gateway) as connection:
        for number in range(3):
            assert await (await connection.execute(text.encode(), (number,), prepare=True)).fetchall() == [(number,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("DROP TABLE customers")
