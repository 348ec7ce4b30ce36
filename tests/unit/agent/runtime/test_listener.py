"""The listener: preambles split anywhere, clients that stall, and limits on those who have proved nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime import listener as listeners
from agent.runtime.listener import PREAMBLE_LIMIT, Listener, Place, Preamble, Waiting, read_preamble
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import until

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
LINE = f"SALLYPORT/1 {SID}\n".encode()
SSH = b"SSH-2.0-OpenSSH_9.9\r\n"


@given(st.binary(max_size=40))
def test_a_whole_preamble_is_taken_off_whatever_follows(rest: bytes) -> None:
    assert read_preamble((LINE + rest)[:PREAMBLE_LIMIT]) == Preamble(len(LINE), SID)


@pytest.mark.parametrize("length", range(len(LINE)))
def test_a_part_of_a_preamble_asks_for_more(length: int) -> None:
    assert read_preamble(LINE[:length]) == "more"


@given(st.binary(min_size=1, max_size=PREAMBLE_LIMIT))
def test_anything_else_is_the_plugins_business(data: bytes) -> None:
    found = read_preamble(data)
    if not data.startswith(b"SALLYPORT/1 "[: len(data)]):
        assert found == Preamble(0, "")


@pytest.mark.parametrize(
    "data",
    [
        b"SALLYPORT/1 \n",
        b"SALLYPORT/1 ses_short\n",
        b"SALLYPORT/1 " + SID.lower().encode() + b"\n",
        b"SALLYPORT/1 " + SID.encode() + b"\r\n",
        b"SALLYPORT/1 \xff\n",
        b"SALLYPORT/1 agt_" + SID[4:].encode() + b"\n",
        (b"SALLYPORT/1 " + b"A" * 200)[:PREAMBLE_LIMIT],
    ],
)
def test_a_preamble_that_names_no_session_is_refused(data: bytes) -> None:
    assert read_preamble(data) == "refuse"


def test_places_are_limited_per_address_and_altogether() -> None:
    waiting = Waiting(per_address=2, everybody=3)
    first, second = waiting.enter("10.0.0.1"), waiting.enter("10.0.0.1")
    assert first is not None
    assert second is not None
    assert waiting.enter("10.0.0.1") is None
    assert waiting.enter("10.0.0.2") is not None
    assert waiting.enter("10.0.0.3") is None
    first.leave()
    first.leave()
    assert waiting.enter("10.0.0.3") is not None
    assert waiting.enter("10.0.0.1") is None


class Hall:
    """Takes whatever the listener hands on."""

    def __init__(self) -> None:
        self.came: list[tuple[str, bytes]] = []
        self.places: list[Place] = []
        self.stay = asyncio.Event()

    async def receive(self, connection: socket.socket, address: str, sid: str, place: Place) -> None:
        assert address == "127.0.0.1"
        self.places.append(place)
        with contextlib.suppress(BlockingIOError):
            self.came.append((sid, connection.recv(1000)))
        if not self.came:
            self.came.append((sid, b""))
        connection.send(b"hello")
        await self.stay.wait()
        connection.close()


Open = Callable[..., contextlib.AbstractAsyncContextManager[tuple[str, int]]]


@pytest.fixture
def hall() -> Hall:
    return Hall()


@pytest.fixture
def listening(hall: Hall) -> Open:
    @contextlib.asynccontextmanager
    async def listen(waiting: Waiting | None = None, silence_s: float = 30) -> AsyncIterator[tuple[str, int]]:
        async with asyncio.TaskGroup() as tasks:
            listener = Listener(hall.receive, tasks.create_task, waiting, silence_s=silence_s)
            address = listener.bind("127.0.0.1", 0)
            accepting = tasks.create_task(listener.run())
            yield address
            hall.stay.set()
            accepting.cancel()

    return listen


async def heard(client: socket.socket) -> bytes:
    """The next bytes from the listener; nothing at the end. Closing with unread bytes is a reset, which is an end too."""
    try:
        async with asyncio.timeout(HANG_S):
            return await asyncio.get_running_loop().sock_recv(client, 10)
    except ConnectionResetError:
        return b""


async def connect(address: tuple[str, int]) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, address)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@pytest.mark.parametrize("split", range(1, len(LINE) + len(SSH), 3))
async def test_a_preamble_may_arrive_in_two_parts(hall: Hall, listening: Open, split: int) -> None:
    loop, whole = asyncio.get_running_loop(), LINE + SSH
    async with listening() as address:
        client = await connect(address)
        await loop.sock_sendall(client, whole[:split])
        await asyncio.sleep(0)
        await loop.sock_sendall(client, whole[split:])
        assert await heard(client) == b"hello"
        sid, taken = hall.came[0]
        assert sid == SID
        assert SSH.startswith(taken)
        client.close()


async def test_a_preamble_may_arrive_byte_by_byte(hall: Hall, listening: Open) -> None:
    loop = asyncio.get_running_loop()
    async with listening() as address:
        client = await connect(address)
        for at in range(len(LINE)):
            await loop.sock_sendall(client, LINE[at : at + 1])
            await asyncio.sleep(0)
        assert await heard(client) == b"hello"
        assert hall.came[0][0] == SID
        client.close()


async def test_bytes_that_are_only_looked_at_do_not_spin_the_loop(
    hall: Hall, listening: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    peek = listeners.peek

    async def counted(connection: socket.socket, least: int) -> bytes:
        nonlocal looks
        looks += 1
        return await peek(connection, least)

    monkeypatch.setattr(listeners, "peek", counted)
    loop = asyncio.get_running_loop()
    async with listening() as address:
        client = await connect(address)
        await loop.sock_sendall(client, LINE[:5])
        await until(lambda: looks == 2)
        for _ in range(200):
            await asyncio.sleep(0)
        assert looks == 2
        await loop.sock_sendall(client, LINE[5:])
        assert await heard(client) == b"hello"
        client.close()


async def test_ssh_without_a_preamble_is_handed_on_untouched(hall: Hall, listening: Open) -> None:
    loop = asyncio.get_running_loop()
    async with listening() as address:
        client = await connect(address)
        await loop.sock_sendall(client, SSH)
        assert await heard(client) == b"hello"
        assert hall.came == [("", SSH)]
        client.close()


async def test_a_client_that_waits_for_the_server_is_handed_on(hall: Hall, listening: Open) -> None:
    async with listening(silence_s=0.01) as address:
        client = await connect(address)
        assert await heard(client) == b"hello"
        assert hall.came == [("", b"")]
        client.close()


@pytest.mark.parametrize("data", [b"SALLYPORT/1 nobody\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"])
async def test_what_is_refused_and_what_is_not_understood(hall: Hall, listening: Open, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    async with listening() as address:
        client = await connect(address)
        await loop.sock_sendall(client, data)
        answer = await heard(client)
        if data.startswith(b"PROXY"):
            # Not a preamble of ours: it goes to the protocol as it is, with the address that the connection really has.
            assert (answer, hall.came) == (b"hello", [("", data)])
        else:
            assert (answer, hall.came) == (b"", [])
        client.close()


async def test_half_a_preamble_and_an_end_is_refused(hall: Hall, listening: Open) -> None:
    loop = asyncio.get_running_loop()
    async with listening() as address:
        client = await connect(address)
        await loop.sock_sendall(client, LINE[:9])
        client.shutdown(socket.SHUT_WR)
        assert await heard(client) == b""
        assert hall.came == []
        client.close()


async def test_half_a_preamble_and_silence_is_refused(hall: Hall, listening: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "PREAMBLE_S", 0.02)
    loop = asyncio.get_running_loop()
    async with listening() as address:
        client = await connect(address)
        await loop.sock_sendall(client, LINE[:9])
        assert await heard(client) == b""
        assert hall.came == []
        client.close()


async def test_stalled_clients_block_nobody_else(hall: Hall, listening: Open) -> None:
    loop = asyncio.get_running_loop()
    async with listening(Waiting(per_address=10, everybody=10)) as address:
        stalled = [await connect(address) for _ in range(9)]
        client = await connect(address)
        await loop.sock_sendall(client, SSH)
        assert await heard(client) == b"hello"
        # The eleventh is turned away at once, until the tenth has proved itself.
        crowded = await connect(address)
        assert await heard(crowded) == b""
        hall.places[0].leave()
        welcome = await connect(address)
        await loop.sock_sendall(welcome, SSH)
        assert await heard(welcome) == b"hello"
        for each in (*stalled, client, crowded, welcome):
            each.close()
