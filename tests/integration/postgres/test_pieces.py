"""Real clients and a real server with a way between that tears everything into pieces, or puts in what neither has said."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import pytest

from tests.integration.plugin_listener import Ran
from tests.integration.postgres.conftest import TAGS, Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

SCRIPT = """
SELECT id, name, mail, ssn FROM customers ORDER BY id LIMIT 3;
SELECT 'x' || mail FROM customers WHERE id = 2;
BEGIN;
SELECT 1/0;
ROLLBACK;
DROP TABLE customers;
COPY (SELECT ssn, name FROM customers ORDER BY id LIMIT 2) TO STDOUT;
CREATE TEMP TABLE pieces (a int, b text);
COPY pieces FROM STDIN;
1\tone
2\ttwo
\\.
SELECT * FROM pieces ORDER BY a;
DO $$ BEGIN RAISE NOTICE 'about bob@example.com'; END $$;
SELECT repeat('z', 20000);
"""


class Way:
    """A relay from a port of its own to another: ``size`` bytes at a time, one write each."""

    def __init__(self, port: int, size: int) -> None:
        self._to = port
        self._size = size
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.hostile = b""
        """What the client's side is told in place of anything else, once ``MARK`` has passed."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", self._to)
        upward = asyncio.ensure_future(self._copy(reader, back, writer))
        downward = asyncio.ensure_future(self._copy(onward, writer, None))
        try:
            await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            upward.cancel()
            await asyncio.wait({downward}, timeout=1)
            downward.cancel()
            writer.close()
            back.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: asyncio.StreamWriter | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if client is not None and self.hostile and MARK in data:
                    client.write(self.hostile)
                    continue
                for at in range(0, len(data), self._size):
                    writer.write(data[at : at + self._size])
                    await writer.drain()
                    await asyncio.sleep(0)


MARK = b"put something in here"


@contextlib.asynccontextmanager
async def between(port: int, size: int) -> AsyncIterator[Way]:
    way = Way(port, size)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()


@pytest.fixture
def plain(gateway: Gateway) -> Gateway:
    """A gateway that speaks in clear to both sides, so that what passes can be cut."""
    gateway.options = {"columns": TAGS, "sslmode": "disable"}
    return gateway


async def run(gateway: Gateway, client_size: int, server_size: int) -> Ran[str]:
    real = gateway.postgres.port
    async with between(gateway.port, client_size) as to_gateway, between(real, server_size) as to_server:
        gateway.postgres.port = to_server.port
        try:
            dsn = f"host=127.0.0.1 port={to_gateway.port} user=ann dbname=shop sslmode=disable"
            ran = await gateway.psql("\\set VERBOSITY verbose\n" + SCRIPT, dsn=dsn)
            await gateway.idle()
            return ran
        finally:
            gateway.postgres.port = real


async def test_pieces_change_nothing(plain: Gateway) -> None:
    whole = await run(plain, 65_536, 65_536)
    assert "078-05" not in whole.out
    assert "a***" not in whole.err
    assert whole.out.count("\n") > 8
    assert "Tables stay." in whole.err
    kept = [{key: value for key, value in line.items() if key not in ("t", "ms")} for line in plain.record]
    for sizes in ((1, 65_536), (65_536, 1), (7, 13)):
        torn = await run(plain, *sizes)
        assert (torn.out, torn.err) == (whole.out, whole.err), sizes
        found = [{key: value for key, value in line.items() if key not in ("t", "ms")} for line in plain.record]
        assert found == kept, sizes


@pytest.mark.parametrize(
    "hostile",
    [
        b"D\x7f\xff\xff\xff",
        b"D\x00\x00\x00\x00",
        b"T\xff\xff\xff\xff",
        b"\x00" * 64,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"D" + struct.pack(">IH", 6, 65_535),
        b"D" + struct.pack(">IHI", 10, 1, 2**31 - 1),
        b"T" + struct.pack(">IH", 6, 65_535),
        b"G" + struct.pack(">IbH", 7, 0, 9),
        b"W" + struct.pack(">IbH", 7, 0, 0),
        b"R" + struct.pack(">II", 8, 3),
        b"Z" + struct.pack(">Ib", 5, 0x58),
        b"E" + struct.pack(">I", 11) + b"SERROR\x00",
    ],
)
async def test_a_hostile_server_ends_its_own_session_and_no_other(plain: Gateway, hostile: bytes) -> None:
    real = plain.postgres.port
    async with between(real, 65_536) as to_server:
        plain.postgres.port = to_server.port
        try:
            to_server.hostile = hostile
            ran = await plain.psql(f"SELECT 1;\nSELECT '{MARK.decode()}';\nSELECT 2;")
            assert (ran.out, ran.status) == ("1\n", 2), ran
            await plain.idle()
            assert plain.notices[-1].code in ("target_protocol", "target_unmaskable"), plain.notices
            to_server.hostile = b""
            assert (await plain.psql("SELECT 3;")).out == "3\n"
        finally:
            plain.postgres.port = real


@pytest.mark.parametrize(
    "first",
    [
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x07",
        b"\x00\x00\x27\x11\x00\x03\x00\x00",
        b"\x00\x00\x00\x08\x00\x02\x00\x00",
        b"\x00\x00\x00\x0c\x00\x03\x00\x00user",
        b"\x00\x00\x00\x09\x04\xd2\x16\x2f\x00",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2e",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
    ],
)
async def test_a_hostile_client_is_told_and_hung_up_on(plain: Gateway, first: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
    try:
        writer.write(first)
        async with asyncio.timeout(HANG_S):
            answer = await reader.read()
    finally:
        writer.close()
    assert answer[:1] in (b"E", b"", b"\x15")
    assert (await plain.psql("SELECT 3;")).out == "3\n"


@pytest.mark.parametrize(
    "said",
    [
        b"Q\x7f\xff\xff\xff",
        b"Q\x00\x00\x00\x03",
        b"\x00" * 20,
        b"R\x00\x00\x00\x04",
        b"B\x00\x00\x00\x06\x00\x00",
        b"P\x00\x00\x00\x04",
    ],
)
async def test_a_hostile_message_ends_its_session_alone(plain: Gateway, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
    try:
        words = b"user\0ann\0database\0shop\0\0"
        writer.write(struct.pack(">II", len(words) + 8, 196_608) + words)
        async with asyncio.timeout(HANG_S):
            await reader.readuntil(b"Z\0\0\0\5I")
            writer.write(said)
            answer = await reader.read()
    finally:
        writer.close()
    assert b"FATAL" in answer
    await plain.idle()
    assert plain.notices[-1].code == "protocol_error"
    assert (await plain.psql("SELECT 3;")).out == "3\n"
