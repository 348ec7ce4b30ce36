"""While a statement waits for the disk: nothing overtakes it, and when the session ends meanwhile, nothing follows from it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import psycopg
import pytest

from agent.protocols.postgres import messages
from chalicelib.contracts.faults import Notice
from tests.fakes.agent_runtime import FakeRecorder
from tests.integration.postgres.conftest import Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


class Raw:
    """A client that sends what it likes."""

    def __init__(self, gateway: Gateway, connection: psycopg.AsyncConnection) -> None:
        self.gateway = gateway
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._socket.setblocking(False)

    @property
    def recorder(self) -> FakeRecorder:
        return self.gateway.servings[-1].recorder

    def say(self, *texts: str) -> None:
        self._socket.send(b"".join(map(messages.query, texts)))

    async def values(self, count: int) -> list[bytes]:
        """The first column of the next ``count`` rows."""
        data, found = b"", []
        while len(found) < count:
            piece = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
            assert piece, data
            data += piece
            found = [body[6:] for kind, body in _framed(data) if kind == "D"]
        return found

    async def held(self) -> None:
        """Wait until a statement waits for the disk."""
        async with asyncio.timeout(HANG_S):
            while not self.recorder._writing:  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0.001)

    def close(self) -> None:
        self._socket.close()


def _framed(data: bytes) -> list[tuple[str, bytes]]:
    found, at = [], 0
    while at + 5 <= len(data) and at + 1 + (size := int.from_bytes(data[at + 1 : at + 5])) <= len(data):
        found.append((chr(data[at]), data[at + 5 : at + 1 + size]))
        at += 1 + size
    return found


@pytest.fixture
async def raw(gateway: Gateway) -> AsyncIterator[Raw]:
    dsn = gateway.dsn.replace("sslmode=require", "sslmode=disable")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("SELECT 1")
        made = Raw(gateway, connection)
        yield made
        made.close()
        connection.pgconn.finish()


async def test_what_a_client_says_meanwhile_comes_later(raw: Raw) -> None:
    gate = raw.recorder.gate = asyncio.Event()
    raw.say("SELECT 'first'")
    await raw.held()
    raw.say("SELECT 'second'", "SELECT 'third'")
    await asyncio.sleep(0.05)
    assert len(raw.gateway.recorded("operation")) == 1
    gate.set()
    assert await raw.values(3) == [b"first", b"second", b"third"]


async def test_nothing_is_forwarded_for_a_session_that_ended_meanwhile(raw: Raw) -> None:
    server = raw.gateway.postgres
    server.direct("CREATE TABLE waited (n int)")
    gate = raw.recorder.gate = asyncio.Event()
    raw.say("INSERT INTO waited VALUES (1)")
    await raw.held()
    raw.gateway.servings[-1].ended.set_result(Notice("session_killed", "Bob ended it."))
    async with asyncio.timeout(HANG_S):
        while not raw.gateway.notices:  # noqa: ASYNC110 - the listener has no event for it
            await asyncio.sleep(0.001)
        gate.set()
        while raw.recorder._writing:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert [line["text"] for line in raw.gateway.recorded("operation")][-1] == "INSERT INTO waited VALUES (1)"
    assert server.direct("SELECT count(*) FROM waited; DROP TABLE waited") == "0"
