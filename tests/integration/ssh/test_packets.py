"""The short road for bulk beside asyncssh's own: the same bytes, the same disconnects, whatever arrives, however it is cut."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.packet import Byte, String, UInt32

from agent.protocols.ssh import packets
from agent.protocols.ssh.leg import Ear
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway

pytestmark = pytest.mark.servers

BULK = os.urandom(1 << 20) * 6
KEY = asyncssh.generate_private_key("ssh-ed25519")

Cut = Callable[[], int]


class Echo(asyncssh.SSHServerSession[bytes]):
    """Gives back what it gets; asked for crumbs, it sends them and hangs up."""

    def connection_made(self, chan: Any) -> None:
        self.chan = chan

    def exec_requested(self, command: str) -> bool:
        self.crumbs = int(command.removeprefix("crumbs ")) if command.startswith("crumbs ") else 0
        return True

    def session_started(self) -> None:
        if self.crumbs:
            for _ in range(self.crumbs):
                self.chan.write(b"c")
            self.chan.exit(0)
            self.chan.get_connection()._transport.close()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.chan.write(data)

    def eof_received(self) -> bool:
        self.chan.exit(0)
        return True


class Server(asyncssh.SSHServer):
    """Lets everybody in, on the short road where ``quick``."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.lost: list[Exception | None] = []

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn
        if self.quick:
            packets.quicken(conn, Ear(conn))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> Any:
        return self.conn.create_server_channel(encoding=None), Echo()


class Client(asyncssh.SSHClient):
    """On the short road where ``quick``."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        if self.quick:
            packets.quicken(conn, Ear(conn))


async def shuffle(source: socket.socket, sink: socket.socket, cut: Cut) -> None:
    """Carry bytes in the pieces that ``cut`` orders."""
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(source, 65536):
            while data:
                size = cut()
                await loop.sock_sendall(sink, data[:size])
                data = data[size:]
                await asyncio.sleep(0)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


@asynccontextmanager
async def pair(
    *, server: bool, client: bool, cut: Cut = lambda: 65536, **options: Any
) -> AsyncIterator[tuple[asyncssh.SSHClientConnection, Server]]:
    """A client and a server with a wire in between that cuts what it carries."""
    (a, b), (c, d) = socket.socketpair(), socket.socketpair()
    for each in (a, b, c, d):
        each.setblocking(False)
    wire = [asyncio.ensure_future(shuffle(b, c, cut)), asyncio.ensure_future(shuffle(c, b, cut))]
    far = Server(server)
    serving = asyncio.ensure_future(
        asyncssh.run_server(d, config=None, server_factory=lambda: far, server_host_keys=[KEY], **options)
    )
    near = await asyncssh.connect(
        sock=a, host="x", config=None, client_factory=lambda: Client(client), known_hosts=None, username="u", client_keys=None,
        agent_path=None, **options,
    )  # fmt: skip
    await serving
    assert (isinstance(far.conn, packets.Quick), isinstance(near, packets.Quick)) == (server, client) or not packets.known()
    try:
        yield near, far
    finally:
        near.abort()
        far.conn.abort()
        await eventually(lambda: far.lost)
        for task in wire:
            task.cancel()
        await asyncio.gather(*wire, return_exceptions=True)
        for each in (a, b, c, d):
            each.close()


async def echoed(conn: asyncssh.SSHClientConnection, data: bytes) -> bytes:
    ran = await conn.run("echo", input=data, encoding=None)
    assert isinstance(ran.stdout, bytes)
    return ran.stdout


@pytest.fixture(params=["server", "client", "both"])
def ends(request: pytest.FixtureRequest) -> dict[str, bool]:
    """Which ends are on the short road."""
    return {"server": request.param in ("server", "both"), "client": request.param in ("client", "both")}


GCM: dict[str, Any] = {"encryption_algs": ["aes128-gcm@openssh.com"]}


async def test_cut_at_every_byte(ends: dict[str, bool]) -> None:
    async with pair(**ends, **GCM, cut=lambda: 1) as (conn, _):
        assert await echoed(conn, BULK[:3000]) == BULK[:3000]


@pytest.mark.parametrize("seed", range(3))
async def test_cut_anywhere(ends: dict[str, bool], seed: int) -> None:
    dice = random.Random(seed)
    async with pair(**ends, **GCM, cut=lambda: dice.choice([1, 3, 4, 5, 15, 16, 17, 20, 21, 4000, 32768, 50000])) as (conn, _):
        assert await echoed(conn, BULK[:2_000_000]) == BULK[:2_000_000]


@pytest.mark.parametrize(
    "options",
    [
        GCM | {"rekey_bytes": 200_000},
        GCM | {"rekey_seconds": 0.02},
        GCM | {"compression_algs": ["zlib@openssh.com"]},
        {"encryption_algs": ["aes256-gcm@openssh.com"]},
        {"encryption_algs": ["chacha20-poly1305@openssh.com"]},
        {"encryption_algs": ["aes128-ctr"]},
    ],
    ids=["rekey-bytes", "rekey-time", "compressed", "aes256", "chacha", "ctr"],
)
async def test_whatever_was_agreed(ends: dict[str, bool], options: dict[str, Any]) -> None:
    async with pair(**ends, **options) as (conn, far):
        assert await echoed(conn, BULK) == BULK
        assert not far.lost


async def test_keys_change_as_often_as_agreed(ends: dict[str, bool]) -> None:
    async with pair(**ends, **GCM, rekey_bytes=300_000) as (conn, far):
        changes = {conn: 0, far.conn: 0}
        for end in changes:
            count(end, changes)
        assert await echoed(conn, BULK) == BULK
        # Either end may begin; together they do once for every so many bytes, and what one packet or a whole window adds to that.
        assert sum(changes.values()) > len(BULK) / (300_000 + 2 * 65536)


async def test_keys_come_alone_and_keys_change_under_them() -> None:
    keys, longer = 200, Counter[Any]()
    async with pair(server=True, client=True, **GCM, rekey_bytes=4000) as (conn, far):
        both: list[Any] = [conn, far.conn]
        changes = dict.fromkeys(both, 0)
        for end in both:
            count(end, changes)
            watch_longer_road(end, longer)
            end.plain = True
        chan, session = await conn.create_session(Silent, "echo", encoding=None)
        for number in range(keys):
            chan.write(b"k")
            await eventually(lambda heard=number + 1: len(session.heard) == heard)
        assert session.heard == b"k" * keys
        # Each key is a packet of 48 bytes each way.
        assert sum(changes.values()) >= keys * 48 // 4000
        # What goes the longer road are key exchanges, of some ten packets each.
        assert all(longer[end] < keys for end in both)


def watch_longer_road(end: Any, longer: Counter[Any]) -> None:
    take = end._recv_data

    def watched() -> None:
        longer[end] += 1
        take()

    end._recv_data = watched


def count(end: Any, changes: dict[Any, int]) -> None:
    begin = end._send_kexinit

    def counted() -> None:
        changes[end] += 1
        begin()

    end._send_kexinit = counted


async def test_many_channels_at_once(ends: dict[str, bool]) -> None:
    async with pair(**ends, **GCM, rekey_bytes=500_000) as (conn, _):
        every = [BULK[n : n + 400_000] for n in range(20)]
        assert await asyncio.gather(*(echoed(conn, data) for data in every)) == every


async def test_others_have_their_turn(ends: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "TURN_S", 0.0)
    crumbs, turn = 500, 0
    loop = asyncio.get_running_loop()

    def others() -> None:
        nonlocal turn, ticking
        turn += 1
        ticking = loop.call_soon(others)

    def count(end: Any) -> Counter[int]:
        take, taken = end._take, Counter[int]()

        def counted(packet: bytes) -> bool:
            taken[turn] += packet[1] == MSG_CHANNEL_DATA
            return bool(take(packet))

        end._take = counted
        return taken

    async with pair(**ends, **GCM) as (conn, far):
        chan, session = await conn.create_session(Silent, "echo", encoding=None)
        ticking = loop.call_soon(others)
        quick = [count(end) for name, end in (("client", conn), ("server", far.conn)) if ends[name]]
        for _ in range(crumbs):
            chan.write(b"c")
        chan.write_eof()
        await chan.wait_closed()
        ticking.cancel()
    assert session.heard == b"c" * crumbs
    # A packet for every crumb, and between any two of them everybody else: one goes on where a turn ended, one may be read anew.
    assert [(taken.total(), max(taken.values()) <= 2) for taken in quick] == [(crumbs, True)] * sum(ends.values())


async def test_the_end_of_a_connection_comes_behind_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "TURN_S", 0.0)
    async with pair(server=True, client=True, **GCM) as (conn, _):
        ran = await conn.run("crumbs 300", encoding=None)
        assert ran.stdout == b"c" * 300


class Silent(asyncssh.SSHClientSession[bytes]):
    """Has nothing to say, and listens."""

    def __init__(self) -> None:
        self.heard = b""

    def data_received(self, data: bytes, datatype: Any) -> None:
        self.heard += data


def data(number: int, said: int, there: bytes) -> bytes:
    return Byte(MSG_CHANNEL_DATA) + UInt32(number) + UInt32(said) + there


def sealed(conn: Any, payload: bytes, padding: int | None = None) -> None:
    """Send ``payload`` under the connection's keys, with this padding or a right one."""
    right = -(1 + len(payload)) % 16
    size = padding if padding is not None else right + 16 * (right < 4)
    fill = size if padding is None else right + 16 * (right < 4)
    packet = Byte(size) + payload + bytes(fill)
    header = UInt32(len(packet))
    body, mac = conn._send_encryption.encrypt_packet(conn._send_seq, header, packet)
    conn._send(body + mac)


def each(conn: Any, *payloads: bytes) -> None:
    for payload in payloads:
        sealed(conn, payload)


HOSTILE: dict[str, Callable[[Any, int, int], None]] = {
    "innocent": lambda conn, number, _: each(conn, *[data(number, 3, b"abc")] * 5),
    "data-behind-the-end": lambda conn, number, _: each(conn, Byte(MSG_CHANNEL_EOF) + UInt32(number), data(number, 3, b"abc")),
    "more-said-than-there": lambda conn, number, _: sealed(conn, data(number, 900, b"x" * 90)),
    "less-said-than-there": lambda conn, number, _: sealed(conn, data(number, 9, b"x" * 90)),
    "no-such-channel": lambda conn, number, _: sealed(conn, data(number + 7, 3, b"abc")),
    "window-exceeded": lambda conn, number, window: each(conn, *[data(number, 32768, bytes(32768))] * (window // 32768 + 2)),
    "no-padding": lambda conn, number, _: sealed(conn, data(number, 3, b"abc"), 0),
    "little-padding": lambda conn, number, _: sealed(conn, data(number, 3, b"abc"), 3),
    "padding-past-the-packet": lambda conn, number, _: sealed(conn, data(number, 3, b"abc"), 200),
    "only-a-type": lambda conn, number, _: sealed(conn, Byte(MSG_CHANNEL_DATA)),
    "half-a-number": lambda conn, number, _: sealed(conn, Byte(MSG_CHANNEL_DATA) + b"\0\0"),
    "adjust-too-long": lambda conn, number, _: sealed(conn, Byte(MSG_CHANNEL_WINDOW_ADJUST) + UInt32(number) + bytes(5)),
    "adjust-too-short": lambda conn, number, _: sealed(conn, Byte(MSG_CHANNEL_WINDOW_ADJUST) + UInt32(number) + bytes(3)),
    "nothing": lambda conn, number, _: sealed(conn, b""),
    "unknown-type": lambda conn, number, _: sealed(conn, Byte(199) + String(b"hello")),
    "a-wrong-mac": lambda conn, number, _: conn._send(UInt32(32) + bytes(48)),
    "a-length-of-nothing": lambda conn, number, _: conn._send(bytes(64)),
    "a-length-of-one": lambda conn, number, _: conn._send(UInt32(1) + bytes(60)),
    "a-length-of-much": lambda conn, number, _: conn._send(b"\xff" * 64),
    "a-length-not-of-blocks": lambda conn, number, _: conn._send(UInt32(33) + bytes(60)),
    "garbage": lambda conn, number, _: conn._send(hashlib.sha256(b"garbage").digest() * 20),
}


async def end_of(quick: bool, hostile: Callable[[Any, int, int], None]) -> str:
    """What a server makes of ``hostile``: how it ends, or that it does not."""
    async with pair(server=quick, client=False, **GCM) as (conn, far):
        chan, _ = await conn.create_session(Silent, "echo", encoding=None, window=1)
        await asyncio.sleep(0)
        number = chan._send_chan
        channel: Any = far.conn._channels[number]  # type: ignore[attr-defined]
        channel.pause_reading()
        hostile(conn, number, channel._recv_window)
        # Both ends live in this loop: what comes of it takes some of its turns, and a stall takes none.
        ended = asyncio.ensure_future(conn.wait_closed())
        for _ in range(50):
            if ended.done():
                break
            await asyncio.sleep(0.01)
        else:
            ended.cancel()
            return f"goes on at {far.conn._recv_seq}"  # type: ignore[attr-defined]
        await eventually(lambda: far.lost)
        return f"{type(far.lost[0]).__name__}: {far.lost[0]}"


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_packets_end_as_on_asyncsshs_own_road(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await end_of(True, HOSTILE[name]) == await end_of(False, HOSTILE[name])
    assert "Traceback" not in caplog.text


async def test_a_flipped_bit_in_bulk_is_a_disconnect() -> None:
    async with pair(server=True, client=False, **GCM) as (conn, far):
        await echoed(conn, b"before")
        send: Any = conn._send  # type: ignore[attr-defined]
        conn._send = lambda packet: send(packet[:-1] + bytes((packet[-1] ^ 1,)))  # type: ignore[attr-defined]
        with pytest.raises(asyncssh.Error):
            await echoed(conn, BULK)
        await eventually(lambda: far.lost)
        assert isinstance(far.lost[0], asyncssh.DisconnectError)
        assert "MAC" in str(far.lost[0])


async def test_another_asyncssh_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "READ", ("1.",))
    async with pair(server=True, client=True, **GCM) as (conn, far):
        assert type(conn) is asyncssh.SSHClientConnection
        assert type(far.conn) is asyncssh.SSHServerConnection
        assert await echoed(conn, BULK) == BULK


@pytest.fixture
def blob(tmp_path: Any) -> Iterator[Any]:
    path = tmp_path / "blob"
    path.write_bytes(BULK)
    yield path
    path.unlink()


async def test_openssh_changes_keys_in_the_middle_of_bulk(gateway: Gateway, blob: Any) -> None:
    ran = await run(gateway.ssh(f"cat; cat {blob}", options=["-o", "RekeyLimit=300K"]), BULK)
    assert (ran.status, ran.out == BULK + BULK) == (0, True)
