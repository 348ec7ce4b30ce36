"""An enrolled agent's parts around a control plane on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.bootstrap import enrol
from agent.runtime import identity as identities
from agent.runtime.announcer import Announcer
from agent.runtime.backoff import Backoff
from agent.runtime.clock import ServerClock
from agent.runtime.configuration import Configuration
from agent.runtime.control_client import ControlClient
from agent.runtime.credentials import CredentialFolder
from agent.runtime.host_keys import HostKeys
from agent.runtime.identity import Identity
from agent.runtime.journal import Journal
from agent.runtime.room import Limits, Room
from agent.runtime.session import Surroundings
from agent.runtime.spool import SPOOL, Disk
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.supervisor import Supervisor
from chalicelib.contracts.faults import Fault, Notice
from tests.fakes.agent_plugins import EchoPlugin
from tests.fakes.control_plane import FakeControlPlane
from tests.unit.agent.runtime.left_behind import Left

CLOCK = ServerClock()


def quick() -> Backoff:
    return Backoff(0.001, 0.01)


async def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Return once ``true`` is; fails a test that would wait for ever."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what tests wait for is other tasks' doing, and has no event
            await asyncio.sleep(0.002)


@pytest.fixture
async def control() -> AsyncIterator[FakeControlPlane]:
    async with FakeControlPlane(CLOCK.local_ms) as plane:
        yield plane


@pytest.fixture
async def state(tmp_path: Path, control: FakeControlPlane) -> Path:
    """The state directory of an enrolled agent."""
    await enrol(control.url, "one-time", tmp_path / "state")
    return tmp_path / "state"


class FakeTunnel:
    """A tunnel whose client is the test."""

    def __init__(self) -> None:
        self._opening: asyncio.Future[bytes | Fault] = asyncio.get_running_loop().create_future()
        self.aborted: Notice | None = None
        self.closed = False
        self.client, self._agent = socket.socketpair()
        for end in (self.client, self._agent):
            end.setblocking(False)

    def present(self, ticket: str) -> None:
        self._opening.set_result(ticket.encode())

    async def opening(self) -> bytes:
        found = await self._opening
        if isinstance(found, Fault):
            raise found
        return found

    def socket(self) -> socket.socket:
        return self._agent

    async def abort(self, notice: Notice) -> None:
        self.aborted = notice


FLOOR = 1_000


class Free:
    """What a file system says about its room, in bytes."""

    def __init__(self) -> None:
        self.bytes = FLOOR

    def __call__(self, state: Path) -> int:
        return self.bytes


class Rig:
    """A running supervisor, and its surroundings."""

    def __init__(
        self, control: FakeControlPlane, supervisor: Supervisor, plugin: EchoPlugin, identity: Identity, free: Free
    ) -> None:
        self.free = free
        self.control = control
        self.supervisor = supervisor
        self.plugin = plugin
        self.identity = identity
        self.tunnels: dict[str, FakeTunnel] = {}
        self.stop = asyncio.Event()
        self.running: Awaitable[None] | None = None

    @contextlib.asynccontextmanager
    async def open_tunnel(self, sid: str) -> AsyncIterator[FakeTunnel]:
        tunnel = self.tunnels[sid] = FakeTunnel()
        try:
            yield tunnel
        finally:
            tunnel.closed = True

    async def tunnel(self, sid: str) -> FakeTunnel:
        await until(lambda: sid in self.tunnels)
        return self.tunnels[sid]


RunRig = Callable[..., contextlib.AbstractAsyncContextManager[Rig]]


@pytest.fixture
def run_rig(control: FakeControlPlane, state: Path) -> RunRig:
    @contextlib.asynccontextmanager
    async def run(max_sessions: int = 10) -> AsyncIterator[Rig]:
        enrolled, keys = identities.load(state)
        disk = Disk(2)
        identity = Identity(enrolled, keys, CLOCK.now_ms)
        credentials = CredentialFolder(state / "credentials")
        plugin = EchoPlugin()
        async with ControlClient(control.url, CLOCK, identity.proof) as client:
            journal = Journal(state / SPOOL, SpoolKeys(keys.spool_secret), disk)
            around = Surroundings(client, CLOCK, disk, Configuration(), credentials, journal, HostKeys(state), backoff=quick)
            announcer = Announcer(
                client,
                identity,
                around.configuration,
                credentials,
                CLOCK,
                disk,
                protocols=[plugin.announcement],
                direct="",
                backoff=quick,
            )
            rig: Rig
            free = Free()
            room = Room(state, disk, Limits(floor=FLOOR), free=free)
            supervisor = Supervisor(
                around,
                identity,
                announcer,
                [plugin],
                lambda sid: rig.open_tunnel(sid),
                state=state,
                room=room,
                silent="echo",
                max_sessions=max_sessions,
            )
            rig = Rig(control, supervisor, plugin, identity, free)
            await announcer.announce()
            rig.running = asyncio.ensure_future(supervisor.run([announcer.run()], rig.stop))
            await until(lambda: supervisor._tasks is not None)
            try:
                yield rig
            finally:
                rig.stop.set()
                await rig.running
                await journal.close()
        disk.close()

    return run


def person_key() -> str:
    """A fresh person's public key line."""
    return Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.fixture
def left(control: FakeControlPlane, state: Path) -> Left:
    _, keys = identities.load(state)
    return Left(control, state, keys.public_bytes)
