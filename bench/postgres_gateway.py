"""The gateway's PostgreSQL plug-in in a process of its own, with as many of its layers as asked for.

    python -m bench.postgres_gateway LAYERS PORT_OF_POSTGRES FOLDER      prints its own port, serves until it is terminated

    pass-through   framing and the state of the protocol; every statement means the same, nothing is masked or recorded
    policy         every statement is parsed, resolved against the catalogue and decided by Cedar
    masking        policy, and results masked by tag and by detector
    everything     masking, and each statement in the write-ahead spool (fdatasync) before it is forwarded, chunks cut and chained

It is the real plug-in and the real recorder; what is left out is the tunnel, the ticket and the control plane.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

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
from agent.runtime.serving import Credential, Serving
from bench.sessions import BenchSession, Discarding, Identity, Spool, claims, serve_until_terminated
from chalicelib.contracts.gateway import Login, Target
from chalicelib.contracts.policy import Document, Policy, Rule

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


class Unmasked:
    """Shows everything: what is left when masking is not asked for. Nothing in the agent can do this."""

    looks = ()

    def result(self, fields: tuple[Field, ...], meaning: Meaning | None) -> Unmasked:
        """This."""
        return self

    def copy(self, meaning: Meaning, overall: int, columns: int, described: tuple[Field, ...] | None = None) -> Unmasked:
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

    def hidden(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def text(self, words: str, about: Meaning | None = None) -> str:
        """The words."""
        return words

    def told(self, words: str, heard: str) -> str:
        """The words."""
        return words

    def fields(self, fields: dict[str, str], about: Meaning | None, asked: str) -> dict[str, str]:
        """Everything."""
        return fields

    def asks(self, meaning: Meaning) -> str:
        """Nothing has to be known of the columns."""
        return ""

    def quiet(self, text: bytes) -> bool:
        """True."""
        return True

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

    numbers = True

    def text(self, text: str) -> str:
        """The text."""
        return text

    def steady(self, lead: str, tail: str) -> bool:
        """True."""
        return True

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
        self._spool = Spool(folder)
        self._target = Target(
            name="bench", protocol="postgres", agent="bench", address=f"127.0.0.1:{port}",
            logins={LOGIN: Login(credential="bench")}, default_login=LOGIN,
            options={"database": DATABASE, "sslmode": "disable", "columns": TAGS},
        )  # fmt: skip
        rules = [Rule(f"rule-{number}", "bench.cedar", number, text) for number, text in enumerate(RULES, 1)]
        self._policy = Policy(Document(version=1, rules=rules, targets=[self._target]))
        self._credential = Credential("password", PASSWORD.encode())

    async def open(self) -> None:
        """Begin the log, where there is one."""
        if self._layers == "everything":
            await self._spool.open()

    async def serve(self, connection: socket.socket) -> None:
        """Serve one session to its end."""
        said = claims(LOGIN)
        if self._layers == "everything":
            async with self._spool.recorded(said.sid) as recorder:
                await self._run(connection, BenchSession(said, self._target, self._policy, recorder, self._credential))
        else:
            await self._run(connection, BenchSession(said, self._target, self._policy, Discarding(), self._credential))

    async def _run(self, connection: socket.socket, session: BenchSession) -> None:
        await Connection(session, self._plant).run(connection)


if __name__ == "__main__":
    asked = next(each for each in LAYERS if each == sys.argv[1])
    gateway = Gateway(asked, int(sys.argv[2]), Path(sys.argv[3]))
    uvloop.run(serve_until_terminated(gateway.open, gateway.serve))
