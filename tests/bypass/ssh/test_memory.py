"""A peer that will not read, or that sends crumbs, costs the agent a bounded amount of memory and time."""

from __future__ import annotations

import asyncio
import struct
import time

import asyncssh
import pytest

from tests.bypass.world import World

pytestmark = pytest.mark.servers

MB = 1 << 20


class Deaf(asyncssh.SSHClientSession[bytes]):
    """A client that never takes any output."""

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        chan.pause_reading()


class Greeted(asyncssh.SSHClientSession[bytes]):
    """A client that takes no output but the first."""

    def __init__(self) -> None:
        self.greeting = asyncio.Event()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._chan = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._chan.pause_reading()
        self.greeting.set()


async def settle(world: World, seconds: float = 4.0) -> int:
    """Return the agent's highest memory over the next seconds."""
    top = 0
    for _ in range(int(seconds * 10)):
        await asyncio.sleep(0.1)
        top = max(top, world.agent_rss())
    return top


async def test_output_that_nobody_reads(world: World) -> None:
    before = world.agent_rss()
    async with await world.connect("hostile", login="flood") as conn:
        await conn.create_session(Deaf, "flood", encoding=None)
        grown = await settle(world) - before
    assert grown < 64 * MB
    assert world.run("ssh", "prod-web", "echo alive").stdout == "alive\n"


async def test_a_hundred_channels_that_nobody_reads(world: World) -> None:
    before = world.agent_rss()
    async with await world.connect("hostile", login="flood") as conn:
        for _ in range(90):
            await conn.create_session(Deaf, "flood", encoding=None)
        grown = await settle(world, 10) - before
    # With full windows for every channel it is 800 MB; what is left beside the windows is the recording of what did flow.
    assert grown < 400 * MB


async def test_file_requests_whose_refusals_nobody_reads(world: World) -> None:
    before = world.agent_rss()
    async with await world.connect("no-shell") as conn:
        chan, client = await conn.create_session(Greeted, subsystem="sftp", encoding=None, window=65536)
        chan.write(struct.pack(">IBI", 5, 1, 3))
        await client.greeting.wait()  # what is asked before the server's version makes no sense, and ends the channel
        read = struct.pack(">IBI", 21, 5, 7) + struct.pack(">I", 0) + struct.pack(">QI", 0, 1)
        end = time.monotonic() + 20
        taken = time.monotonic()
        sent = 0
        # Until the agent has taken nothing for three seconds, which is what it should come to.
        while time.monotonic() < min(end, taken + 3) and sent < 40 * MB:
            if chan.get_write_buffer_size() < 1 * MB:
                chan.write(read * 4000)
                sent += len(read) * 4000
                taken = time.monotonic()
            await asyncio.sleep(0.001)
        grown = await settle(world, 3) - before
    assert grown < 64 * MB


async def test_a_key_exchange_that_is_never_finished(world: World) -> None:
    before = world.agent_rss()
    conn = await world.connect("hostile", login="flood")
    try:
        await conn.create_session(asyncssh.SSHClientSession, "flood", encoding=None, window=1 << 31)
        await asyncio.sleep(0.5)
        conn._packet_handlers = conn._packet_handlers | {20: lambda *_: None}
        conn._send_kexinit()
        top = await settle(world, 8)
    finally:
        conn.abort()
    assert top - before < 96 * MB


async def test_crumbs_from_the_target(world: World) -> None:
    async with await world.connect("hostile", login="crumbs") as conn:
        before = world.agent_rss()
        chan, _ = await conn.create_session(Deaf, "crumbs", encoding=None)
        top = await settle(world, 8)
        said = await asyncio.to_thread(world.run, "ssh", "prod-web", "echo alive")
        assert (said.returncode, said.stdout) == (0, "alive\n"), said.stderr
        chan.resume_reading()
        await chan.wait_closed()
    assert top - before < 64 * MB


async def test_crumbs_from_an_innocent_client(world: World) -> None:
    """The innocent twin: a program with a lot of input in small writes ends as it should."""
    async with await world.connect() as conn:
        chan, _ = await conn.create_session(asyncssh.SSHClientSession, "cat > /dev/null; echo done", encoding=None)
        for _ in range(20_000):
            chan.write(b"c")
        chan.write_eof()
        await chan.wait_closed()
        assert chan.get_exit_status() == 0
