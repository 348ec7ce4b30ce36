"""Sessions for plug-ins that run without a control plane: nobody is asked, every chunk is taken, and the log is the real one."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import asyncssh
import structlog

from agent.core.policy import Yes
from agent.runtime.journal import Journal
from agent.runtime.recorder import SpoolRecorder
from agent.runtime.sealing import Sealer
from agent.runtime.serving import Approvals, Credential, Recorder
from agent.runtime.spool import Disk, End, Folder
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.uploader import Uploader
from agent.runtime.wal import Progress
from chalicelib.contracts import ids
from chalicelib.contracts.api import ChunkTicket, ChunkUpload
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Policy, Verdict

HOUR_MS = 3_600_000


class Discarding:
    """A recorder that keeps nothing, to see what keeping costs."""

    async def write(self, channel: int, kind: str, lines: bytes, *, durable: bool = False) -> None:
        """Forget lines."""

    def write_then(self, channel: int, kind: str, lines: bytes, done: Callable[[Fault | None], None]) -> None:
        """Forget lines."""
        done(None)

    def write_soon(self, channel: int, kind: str, lines: bytes) -> None:
        """Forget lines."""

    def pressure(self) -> bool:
        """Never behind."""
        return False

    async def relieved(self) -> None:
        """At once."""

    async def give_way(self) -> None:
        """Nobody waits."""


class Nobody:
    """Other people, of whom there are none: nothing of the measurement is held."""

    async def agreed(self, operation: Operation, risks: list[str], told: Callable[[RequestStanding], None]) -> Yes:
        """Nobody agrees."""
        raise Fault("denied", "Nobody is there to agree.")

    async def use(self, rid: str, digest: str) -> None:
        """Nothing was agreed to."""
        raise Fault("unknown_request", "There is no such request.")


class BenchSession:
    """One session, as the runtime would have it after a ticket was checked."""

    path: Literal["relay", "direct"] = "direct"

    def __init__(self, claims: TicketClaims, target: Target, policy: Policy, recorder: Recorder, credential: Credential) -> None:
        self.claims = claims
        self.target = target
        self.recorder = recorder
        self.approvals: Approvals = Nobody()
        self.sealer: Sealer | None = None
        self.ended: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()
        self._policy = policy
        self._credential = credential

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def now_ms(self) -> int:
        """This machine's clock."""
        return time.time_ns() // 1_000_000

    async def credential(self, login: str) -> Credential:
        """What the server knows."""
        return self._credential

    def count(self, *, operations: int = 0, denied: int = 0) -> None:
        """Add to the counters of the recording."""
        if isinstance(self.recorder, SpoolRecorder):
            self.recorder.count(operations, denied)

    def report_denied(self, operation: Operation, verdict: Verdict, shown: str | None = None) -> None:
        """Nothing is denied here."""

    def warn(self, tell: Callable[[str], None]) -> None:
        """Sessions here have all the time that they need."""

    def watchers(self) -> list[str]:
        """Nobody looks on at a benchmark."""
        return []

    async def learned_host_key(self) -> str | None:
        """None: targets of benchmarks have pinned keys."""
        return None

    async def learn_host_key(self, line: str) -> bool:
        """Refuse."""
        raise Fault("target_host_key", "Benchmarks learn no host keys.")

    def report_target(self, notice: Notice) -> None:
        """Say it where the benchmark can be read."""
        print(notice.message, file=sys.stderr)


class Nowhere:
    """A store that takes every chunk."""

    async def register_chunk(self, sid: str, upload: ChunkUpload) -> ChunkTicket:
        """Take it."""
        return ChunkTicket(url="", headers={}, expires_ms=0)

    async def put(self, ticket: ChunkTicket, body: bytes) -> None:
        """Take it."""


class Identity:
    """The agent's host key."""

    def __init__(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.private_key = key.export_private_key()
        self.public_key = key.export_public_key().decode().strip()
        self.certificate = ""
        self.ssh_ca = ""
        self.now_ms = lambda: 0  # nobody shows a certificate here

    @property
    def operator(self) -> None:
        return None


def claims(login: str) -> TicketClaims:
    """Return what a ticket would say of a session that has just been opened."""
    now = time.time_ns() // 1_000_000
    sid = ids.mint(ids.SESSION, now, secrets.token_bytes(ids.ENTROPY_BYTES))
    return TicketClaims(
        iss="https://gateway.example", aud="bench", sid=sid, sub="ann@example.com", groups=["dev"], target="bench",
        login=login, policy_version=1, reason="bench", source_ip="127.0.0.1", recording=f"recordings/bench/{sid}",
        iat=now // 1000, exp=now // 1000 + 60, deadline_ms=now + 24 * HOUR_MS,
    )  # fmt: skip


class Spool:
    """The real log and recorders below ``folder``: each line in the write-ahead log, chunks cut and chained, uploaded nowhere."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / "spool"
        self._disk = Disk()
        self._journal = Journal(self._place, SpoolKeys(bytes(32)), self._disk)

    async def open(self) -> None:
        """Begin the log."""
        await self._journal.open(self._place.parent / "damaged")

    @asynccontextmanager
    async def recorded(self, sid: str) -> AsyncIterator[SpoolRecorder]:
        """Record one session, as long as the block lasts."""
        over = False

        def failed(fault: Fault) -> None:
            if not over:
                print(fault.message, fault.detail, file=sys.stderr)

        folder = Folder(self._place / sid, self._journal.keys)
        await self._disk.run(folder.create)
        uploader = Uploader(Nowhere(), self._disk, folder, counters=lambda: (0, 0), on_refusal=failed)
        progress, now = Progress(sid=sid, chain="0" * 64), lambda: time.time_ns() // 1_000_000
        recorder = SpoolRecorder(folder, self._disk, self._journal, uploader, progress=progress, now_ms=now, on_failure=failed)
        await recorder.open()
        running = asyncio.ensure_future(recorder.run())
        try:
            yield recorder
        finally:
            over = True  # a program may have a last word when nobody listens any more
            await recorder.close(End("ended"))
            await running
            await self._disk.run(shutil.rmtree, folder.path)
            await recorder.forget()


async def serve_until_terminated(
    opened: Callable[[], Awaitable[None]], serve: Callable[[socket.socket], Awaitable[None]]
) -> None:
    """Once ``opened``, listen on a port of loopback, print it, and ``serve`` everybody who comes, until SIGTERM."""
    # Nobody reads this process's output but for its port, and a pipe that nobody reads fills up.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    await opened()
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    sessions: set[asyncio.Future[None]] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        listening.setblocking(False)
        print(listening.getsockname()[1], flush=True)
        accepting = loop.create_task(_accept(listening, serve, sessions))
        await over.wait()
        for each in (accepting, *sessions):
            each.cancel()
        await asyncio.gather(accepting, *sessions, return_exceptions=True)


async def _accept(
    listening: socket.socket, serve: Callable[[socket.socket], Awaitable[None]], sessions: set[asyncio.Future[None]]
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listening)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = asyncio.ensure_future(serve(connection))
        sessions.add(session)
        session.add_done_callback(sessions.discard)
