"""The gateway's PostgreSQL plug-in in a process of its own, with as many of its layers as asked for.

    python -m bench.postgres_gateway LAYERS PORT_OF_POSTGRES FOLDER      prints its own port, serves until it is terminated

    pass-through   framing and the state of the protocol; every statement means the same, nothing is masked or recorded
    policy         every statement is parsed, resolved against the catalogue and decided by Cedar
    masking        policy, and results masked by tag and by detector
    everything     masking, and each statement in the write-ahead spool (fdatasync) before it is forwarded, chunks cut and chained

It is the real plug-in and the real recorder; what is left out is the tunnel, the ticket and the control plane.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import asyncssh
import msgspec
import uvloop

from agent.core.policy import Yes
from agent.core.sql import Session, analyse
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis
from agent.protocols.postgres.cancels import Cancels
from agent.protocols.postgres.catalogue import Catalogues
from agent.protocols.postgres.classify import Classifier, Meaning
from agent.protocols.postgres.codec import Copied, Rows
from agent.protocols.postgres.messages import Field
from agent.protocols.postgres.reading import make_classifier, make_masks
from agent.protocols.postgres.snapshot import Snapshot
from agent.protocols.postgres.tls import ClientTls
from agent.protocols.postgres.transport import Connection, MakeMasks, Plant
from agent.runtime.journal import Journal
from agent.runtime.recorder import SpoolRecorder
from agent.runtime.sealing import Sealer
from agent.runtime.serving import Approvals, Credential, Recorder, Serving
from agent.runtime.spool import Disk, End, Folder
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.uploader import Uploader
from agent.runtime.wal import Progress
from chalicelib.contracts import ids
from chalicelib.contracts.api import ChunkTicket, ChunkUpload
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.gateway import Login, Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Document, Policy, Rule, Verdict

Layers = Literal["pass-through", "policy", "masking", "everything"]
LAYERS: tuple[Layers, ...] = ("pass-through", "policy", "masking", "everything")

LOGIN, PASSWORD, DATABASE = "bench", "bench", "bench"
TAGS = [
    "public.people.mail=email",
    "public.bulk_tagged.mail=email",
    "public.bulk_tagged.ssn=ssn",
    "public.bulk_tagged.card=card",
]
RULES = (
    'permit(principal, action in [Action::"run", Action::"transfer"], resource);',
    '@message("Tables stay.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") };',
    'forbid(principal, action == Action::"run", resource) when { context.flags.contains("dynamic") };',
    'forbid(principal, action == Action::"run", resource) when { context.objects.contains("public.salaries") };',
)
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


class Nobody:
    """Other people, of whom there are none: no statement of the measurement is held."""

    async def agreed(self, operation: Operation, risks: list[str], told: Callable[[RequestStanding], None]) -> Yes:
        """Nobody agrees."""
        raise Fault("denied", "Nobody is there to agree.")

    async def use(self, rid: str, digest: str) -> None:
        """Nothing was agreed to."""
        raise Fault("unknown_request", "There is no such request.")


class BenchSession:
    """One session, as the runtime would have it after a ticket was checked."""

    path: Literal["relay", "direct"] = "direct"

    def __init__(self, claims: TicketClaims, target: Target, policy: Policy, recorder: Recorder) -> None:
        self.claims = claims
        self.target = target
        self.recorder = recorder
        self.approvals: Approvals = Nobody()
        self.sealer: Sealer | None = None
        self.ended: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()
        self._policy = policy

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def now_ms(self) -> int:
        """This machine's clock."""
        return time.time_ns() // 1_000_000

    async def credential(self, login: str) -> Credential:
        """What the server knows."""
        return Credential("password", PASSWORD.encode())

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


class Unmasked:
    """Shows everything: what is left when masking is not asked for. Nothing in the agent can do this."""

    def result(self, fields: tuple[Field, ...], meaning: Meaning | None) -> Unmasked:
        """This."""
        return self

    def copy(self, meaning: Meaning, overall: int, columns: int) -> Unmasked:
        """This."""
        return self

    def copies(self, meaning: Meaning) -> bool:
        """Every form."""
        return True

    def recorded(self, text: str, values: tuple[str, ...], meaning: Meaning | None) -> tuple[str, tuple[str, ...]]:
        """Both."""
        return text, values

    def words(self, meaning: Meaning) -> Whole:
        """All of them."""
        return Whole()

    def text(self, words: str, about: Meaning | None = None) -> str:
        """The words."""
        return words

    def rows(self, rows: Rows) -> tuple[bytes, int]:
        """The rows."""
        return rows.raw, 0

    def few(self, raw: bytes, starts: tuple[int, ...]) -> tuple[bytes, int, list[list[bytes | None]]]:
        """The rows, and what they hold, which the transcript keeps."""
        return raw, 0, [list(_values(body)) for body in Rows(raw, starts).bodies()]

    def data(self, body: bytes) -> tuple[bytes, int]:
        """The data."""
        return body, 0

    def messages(self, copied: Copied) -> tuple[bytes, int]:
        """The messages."""
        return copied.raw, 0

    def end(self) -> tuple[bytes, int]:
        """Nothing is held back."""
        return b"", 0


class Whole:
    """Keeps statements and their values as they are."""

    def text(self, text: str) -> str:
        """The text."""
        return text

    def values(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The values."""
        return values


def _values(body: bytes) -> Iterator[bytes | None]:
    """The values of one DataRow."""
    at = 2
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], signed=True)
        yield None if size < 0 else body[at + 4 : at + 4 + size]
        at += 4 + max(0, size)


class Identity:
    """The agent's host key."""

    def __init__(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.private_key = key.export_private_key()
        self.certificate = ""
        self.ssh_ca = ""
        self.now_ms = lambda: 0  # nobody shows a certificate here

    @property
    def operator(self) -> None:
        return None


def plant(layers: Layers) -> Plant:
    """Return what the connections of a gateway with ``layers`` share."""
    tls = ClientTls(Identity()).context
    masks: MakeMasks = make_masks if layers in ("masking", "everything") else lambda serving, snapshot: Unmasked()
    return Plant(tls, Cancels(), Catalogues(), _unread if layers == "pass-through" else make_classifier, masks)


def _unread(serving: Serving, snapshot: Snapshot) -> Classifier:
    """Every text means what a SELECT from one table means, or a COPY of it."""
    meant: dict[str, Analysis] = {}

    def read(text: str, catalogue: Catalogue, session: Session) -> Analysis:
        example = "COPY people TO STDOUT" if text.startswith("COPY") else "SELECT * FROM people"
        if example not in meant:
            meant[example] = analyse(example, catalogue, session=session)
        known = meant[example]
        own = text.rstrip("; \t\r\n")
        return msgspec.structs.replace(known, statements=(msgspec.structs.replace(known.statements[0], text=own),))

    return Classifier(read, snapshot.catalogue, {})


class Gateway:
    """Accepts connections, each a session of its own."""

    def __init__(self, layers: Layers, port: int, folder: Path) -> None:
        self._layers = layers
        self._plant = plant(layers)
        self._disk = Disk()
        self._spool = folder / "spool"
        self._journal = Journal(self._spool, SpoolKeys(bytes(32)), self._disk)
        self._target = Target(
            name="bench", protocol="postgres", agent="bench", address=f"127.0.0.1:{port}",
            logins={LOGIN: Login(credential="bench")}, default_login=LOGIN,
            options={"database": DATABASE, "sslmode": "disable", "columns": TAGS},
        )  # fmt: skip
        rules = [Rule(f"rule-{number}", "bench.cedar", number, text) for number, text in enumerate(RULES, 1)]
        self._policy = Policy(Document(version=1, rules=rules, targets=[self._target]))
        self._sessions: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until the task is cancelled."""
        if self._layers == "everything":
            await self._journal.open(self._spool.parent / "damaged")
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
            listening.setblocking(False)
            print(listening.getsockname()[1], flush=True)
            loop = asyncio.get_running_loop()
            while True:
                connection, _ = await loop.sock_accept(listening)
                session = loop.create_task(self._serve(connection))
                self._sessions.add(session)
                session.add_done_callback(self._sessions.discard)

    async def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        claims = self._claims()
        if self._layers != "everything":
            await Connection(BenchSession(claims, self._target, self._policy, Discarding()), self._plant).run(connection)
            return
        folder = Folder(self._spool / claims.sid, self._journal.keys)
        await self._disk.run(folder.create)
        recorder = self._recorder(folder, claims.sid)
        await recorder.open()
        running = asyncio.ensure_future(recorder.run())
        try:
            await Connection(BenchSession(claims, self._target, self._policy, recorder), self._plant).run(connection)
        finally:
            await recorder.close(End("ended"))
            await running
            await self._disk.run(shutil.rmtree, folder.path)
            await recorder.forget()

    def _recorder(self, folder: Folder, sid: str) -> SpoolRecorder:
        def failed(fault: Fault) -> None:
            print(fault.message, fault.detail, file=sys.stderr)

        uploader = Uploader(Nowhere(), self._disk, folder, counters=lambda: (0, 0), on_refusal=failed)
        progress = Progress(sid=sid, chain="0" * 64)
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000  # noqa: E731
        return SpoolRecorder(folder, self._disk, self._journal, uploader, progress=progress, now_ms=now, on_failure=failed)

    def _claims(self) -> TicketClaims:
        now = time.time_ns() // 1_000_000
        sid = ids.mint(ids.SESSION, now, secrets.token_bytes(ids.ENTROPY_BYTES))
        return TicketClaims(
            iss="https://gateway.example", aud="bench", sid=sid, sub="ann@example.com", groups=["dev"], target="bench",
            login=LOGIN, policy_version=1, reason="bench", source_ip="127.0.0.1", recording=f"recordings/bench/{sid}",
            iat=now // 1000, exp=now // 1000 + 60, deadline_ms=now + 24 * HOUR_MS,
        )  # fmt: skip


async def main(layers: Layers, port: int, folder: Path) -> None:
    """Serve until SIGTERM."""
    gateway = Gateway(layers, port, folder)
    serving = asyncio.ensure_future(gateway.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    asked = next(each for each in LAYERS if each == sys.argv[1])
    uvloop.run(main(asked, int(sys.argv[2]), Path(sys.argv[3])))
