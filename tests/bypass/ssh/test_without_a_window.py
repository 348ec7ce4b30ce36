"""What a client may ask for without a window (sizes, signals, breaks) while nobody takes it: it waits at the client."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import asyncssh
import msgspec
import pytest

from agent.protocols.ssh import leg
from agent.protocols.ssh import target as target_leg
from tests.bypass.raw import Heard, ask, raw_channel
from tests.bypass.ssh.test_files import s
from tests.integration.plugin_listener import eventually
from tests.integration.ssh.conftest import Gateway, settled
from tests.integration.ssh.test_transfers import connect
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

TERMINAL = s(b"xterm") + struct.pack(">IIII", 80, 24, 0, 0) + s(b"\0")
#: More of them than the sockets of both ends hold, and than the agent may.
MANY = 3_000
LONG = s(b"USR1" * 5_000)


class Stopped:
    """A target that reads nothing more once its program has begun, until ``goes_on``. It keeps what it is asked for."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.legs: list[asyncssh.SSHClientConnection] = []
        """The gateway's legs towards it."""
        self.signals = 0
        self.sizes: list[tuple[int, int]] = []

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if process.command == "calm":
            process.stdout.write(b"calm\n")
            process.exit(0)
            return
        own: Any = process.get_extra_info("connection")
        process.stdout.write(b"begin\n")
        await process.stdout.drain()
        own._transport.pause_reading()
        await self.goes_on.wait()
        own._transport.resume_reading()
        try:
            while await self._hears(process):
                pass
        except asyncssh.BreakReceived:
            process.exit(7)

    async def _hears(self, process: asyncssh.SSHServerProcess[bytes]) -> bool:
        """Take one thing that is no input. False at the end of the input."""
        try:
            await process.stdin.read()
        except asyncssh.SignalReceived:
            self.signals += 1
        except asyncssh.TerminalSizeChanged as changed:
            self.sizes.append((changed.width, changed.height))
        else:
            return False
        return True


@pytest.fixture
async def stopped(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stopped]:
    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    stopped, key = Stopped(), asyncssh.generate_private_key("ssh-ed25519")
    dial = target_leg.connect

    async def kept(*words: Any) -> asyncssh.SSHClientConnection:
        stopped.legs.append(await dial(*words))
        return stopped.legs[-1]

    monkeypatch.setattr(target_leg, "connect", kept)
    server = await asyncssh.create_server(
        Open, "127.0.0.1", 0, server_host_keys=[key], process_factory=stopped.serve, encoding=None, line_editor=False
    )
    assert gateway.serving is not None
    old = gateway.serving.target
    options = {"host_keys": [key.export_public_key().decode().strip()]}
    gateway.serving.target = msgspec.structs.replace(old, address=f"127.0.0.1:{server.get_port()}", options=options)
    yield stopped
    server.close()


async def begun(conn: asyncssh.SSHClientConnection) -> tuple[Any, Heard]:
    """Start a program with a terminal, and wait until it said something."""
    chan, heard = await raw_channel(conn)
    assert await chan._make_request(b"pty-req", TERMINAL)
    assert await chan._make_request(b"exec", s(b"anything"))
    chan.resume_reading()
    await eventually(lambda: heard.text.startswith(b"begin"))
    return chan, heard


def waiting(conn: Any) -> int:
    """How many bytes wait for the peer of ``conn``."""
    return int(conn._transport.get_write_buffer_size())


async def test_what_a_target_does_not_take_waits_at_the_client(gateway: Gateway, stopped: Stopped) -> None:
    async with await connect(gateway) as conn:
        chan, _ = await begun(conn)
        for _ in range(MANY):
            chan._send_request(b"signal", LONG)
        assert await settled(lambda: waiting(stopped.legs[0])) < 2 * leg.ANSWERS
        assert await settled(lambda: -waiting(conn)) < -10 * leg.ANSWERS
        # The twin: nothing was lost, and the connection is good for more.
        stopped.goes_on.set()
        chan._send_request(b"break", struct.pack(">I", 1))
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()
        assert (chan.get_exit_status(), stopped.signals) == (7, MANY)
        assert await ask(conn, b"exec", s(b"calm")) == (0, b"calm\n")


async def test_a_target_that_is_lost_meanwhile_holds_up_nobody(gateway: Gateway, stopped: Stopped) -> None:
    async with await connect(gateway) as conn:
        chan, heard = await begun(conn)
        for _ in range(MANY):
            chan._send_request(b"signal", LONG)
        await settled(lambda: waiting(stopped.legs[0]))
        stopped.legs[0].abort()
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()
        assert (chan.get_exit_status(), b"target_closed" in heard.text) == (255, True)
        assert await ask(conn, b"exec", s(b"calm")) == (0, b"calm\n")


async def test_sizes_that_the_recording_cannot_keep_up_with(gateway: Gateway, stopped: Stopped) -> None:
    stopped.goes_on.set()
    serving = gateway.serving
    assert serving is not None
    async with await connect(gateway) as conn:
        chan, _ = await begun(conn)
        serving.recorder.full = True
        for width in range(1, MANY):
            chan._send_request(b"window-change", struct.pack(">IIII", width, 24, 0, 0))
            if width % 100 == 0:
                await asyncio.sleep(0)
        # One turn of the loop may take some; with the first of them the client is not read any more.
        assert await settled(lambda: len(stopped.sizes)) < MANY // 2
        serving.recorder.full = False
        serving.recorder.relief.set()
        chan._send_request(b"break", struct.pack(">I", 1))
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()
        assert (chan.get_exit_status(), stopped.sizes[-1]) == (7, (MANY - 1, 24))
        assert await ask(conn, b"exec", s(b"calm")) == (0, b"calm\n")


async def test_that_nobody_reads_any_more_is_told_once(gateway: Gateway, stopped: Stopped) -> None:
    stopped.goes_on.set()
    async with await connect(gateway) as conn:
        chan, heard = await raw_channel(conn)
        assert await chan._make_request(b"exec", s(b"anything"))
        chan.resume_reading()
        await eventually(lambda: heard.text == b"begin\n")
        for _ in range(MANY):
            chan._send_request(b"eow@openssh.com")
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()
        assert await ask(conn, b"exec", s(b"calm")) == (0, b"calm\n")
    await gateway.idle()
    assert gateway.serving is not None
    assert gateway.serving.recorder.markers(1)[1:] == ["the client reads no more"]
