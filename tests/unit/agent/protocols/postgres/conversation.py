"""An engine between a client and a server that exist only as bytes: what one says, and what the other is then told."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from agent.core.effects import Count, Effect, Housekeep, Record, Repeat, Report, Show, ToClient, ToTarget
from agent.core.policy import Decider, permitted
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis, Session, Statement
from agent.core.units import Side
from agent.protocols.postgres import messages
from agent.protocols.postgres.classify import Analyse, Classifier, Meaning
from agent.protocols.postgres.codec import Copied, Rows, join_copied, join_rows
from agent.protocols.postgres.engine import Engine
from agent.protocols.postgres.judge import Judge
from agent.protocols.postgres.messages import Field
from agent.protocols.postgres.snapshot import Known, Snapshot
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import NOW_MS, SID, make_claims, make_policy

ALLOW = "permit(principal, action, resource);"
FORBID = '@message("Not that.") forbid(principal, action, resource) when { context.text like "*forbidden*" };'

_EFFECTS = {"SELECT": "read", "INSERT": "write", "DELETE": "write", "COPY": "write", "DROP": "admin", "SET": "read"}
_EFFECTS |= {"BEGIN": "read", "END": "read"}


def analyse(text: str, catalogue: Catalogue, session: Session) -> Analysis:
    """Understands as much SQL as these tests speak: one verb, statements between semicolons, ``SET search_path``."""
    statements = []
    position = 0
    for piece in text.split(";"):
        if piece.strip():
            verb = piece.split()[0].upper()
            effects = frozenset({_EFFECTS.get(verb, "unknown")})
            flags = frozenset() if verb in _EFFECTS else frozenset({"parse_error"})
            statements.append(
                Statement(text=piece, position=position, kind=verb, effects=effects, verbs=frozenset({verb}), flags=flags)
            )
            if piece.upper().strip().startswith("SET SEARCH_PATH"):
                earlier = frozenset({session.search_path or ("public",)})
                session = msgspec.structs.replace(session, search_path=(piece.split()[-1],), earlier=earlier)
        position += len(piece) + 1
    flags = frozenset[str]().union(*(each.flags for each in statements)) if statements else frozenset({"empty"})
    return Analysis(
        statements=tuple(statements),
        effects=frozenset[str]().union(*(each.effects for each in statements)) or frozenset({"unknown"}),
        verbs=frozenset(),
        tables=frozenset(),
        columns=frozenset(),
        functions=frozenset(),
        flags=flags,
        session=session,
    )


NOTHING = Catalogue()


class FakeWords:
    """What the transcript holds of texts and values behind ``FakeMasks``."""

    numbers = True

    def text(self, text: str) -> str:
        return text.replace("hunter2", "****")

    def steady(self, lead: str, tail: str) -> bool:
        return "hunter2" not in lead and "hunter2" not in tail

    def values(self, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(self.text, values))


class FakeMasks:
    """Masks every value of a column called ``secret``, and the word ``hunter2`` in one called ``seen`` and wherever text goes."""

    def result(self, fields: tuple[Field, ...], meaning: Meaning | None) -> FakeMasks:
        masked = FakeMasks()
        masked.places = {place for place, field in enumerate(fields) if field.name == "secret"}
        masked.seen = [place for place, field in enumerate(fields) if field.name == "seen"]
        masked.looks = None if masked.places else tuple(masked.seen)
        masked.width = len(fields)
        return masked

    places: set[int] = set()
    seen: list[int] = []
    looks: tuple[int, ...] | None = ()
    width = 0

    def quiet(self, text: bytes) -> bool:
        return b"hunter2" not in text

    def rows(self, rows: Rows) -> tuple[bytes, int]:
        found, count = [], 0
        for body in rows.bodies():
            values = read_row(body)
            if len(values) != self.width or row_body(*values) != body:
                raise Fault("target_unmaskable", "The row is not what was described.")
            for place in self.places:
                values[place] = b"****"
                count += 1
            for place in self.seen:
                shown = (values[place] or b"").replace(b"hunter2", b"****")
                if shown != (values[place] or b""):
                    values[place] = shown
                    count += 1
            found.append(row_body(*values))
        return join_rows(found), count

    def few(self, raw: bytes, starts: tuple[int, ...]) -> tuple[bytes, int, list[list[bytes | None]]]:
        shown, masked = self.rows(Rows(raw, starts))
        rows, at = [], 0
        while at < len(shown):
            end = at + 1 + int.from_bytes(shown[at + 1 : at + 5])
            rows.append(read_row(shown[at + 5 : end]))
            at = end
        return shown, masked, rows

    def words(self, meaning: Meaning) -> FakeWords:
        return FakeWords()

    def copy(self, meaning: Meaning, overall: int, columns: int, described: tuple[Field, ...] | None = None) -> FakeMasks | None:
        return None if overall and (described is None or len(described) != columns) else self

    def asks(self, meaning: Meaning) -> str:
        return "SELECT described" if "describable" in meaning.text else ""

    def data(self, body: bytes) -> tuple[bytes, int]:
        return body.replace(b"hunter2", b"****"), body.count(b"hunter2")

    def messages(self, copied: Copied) -> tuple[bytes, int]:
        return join_copied([self.data(body)[0] for body in copied.bodies()]), copied.raw.count(b"hunter2")

    def end(self) -> tuple[bytes, int]:
        return b"", 0

    def recorded(self, text: str, values: tuple[str, ...], meaning: Meaning | None) -> tuple[str, tuple[str, ...]]:
        return self.text(text), tuple(map(self.text, values))

    def copies(self, meaning: Meaning) -> bool:
        return "unmaskable" not in meaning.text

    withheld: frozenset[str] = frozenset()

    def hidden(self) -> frozenset[str]:
        return self.withheld

    def text(self, words: str, about: Meaning | None = None) -> str:
        return words.replace("hunter2", "****")

    def told(self, words: str, heard: str) -> str:
        return self.text(words)

    def fields(self, fields: dict[str, str], about: Meaning | None, asked: str) -> dict[str, str]:
        return {code: self.text(words) for code, words in fields.items()}


class Conversation:
    """One engine, and everything that its effects did."""

    def __init__(self, *rules: str, originals: bool = False, read: Analyse = analyse, catalogue: Catalogue = NOTHING) -> None:
        self.rules = list(rules or (ALLOW, FORBID))
        self.policy = make_policy(*self.rules)
        heading = Heading(sid=SID, target="db", principal="ann@example.com", login="app", channel=1, opened_ms=NOW_MS)
        judge = Judge(Decider(make_claims(), lambda: self.policy), JsonlWriter(heading, protocol="postgres"), originals=originals)
        self.classifier = Classifier(read, catalogue)
        self.engine = self._made(judge, Known(Snapshot(catalogue, {}, 0)))
        self.target = b""
        self.client = b""
        self.lines = b""
        self.originals: list[dict[str, Any]] = []
        """What was to be sealed, in order."""
        self.operations = 0
        self.denied = 0
        self.reports: list[str] = []
        self.order: list[str] = []

    def _made(self, judge: Judge, known: Known) -> Engine:
        return Engine(judge, self.classifier, FakeMasks(), SID, known)

    def says(self, *parts: bytes) -> bytes:
        """The client says ``parts``. Returns what the server is sent."""
        return self._take(Side.CLIENT, b"".join(parts))[0]

    def answers(self, *parts: bytes) -> bytes:
        """The server says ``parts``. Returns what the client is shown."""
        return self._take(Side.TARGET, b"".join(parts))[1]

    def answers_much(self, *parts: bytes) -> bytes:
        """The server says ``parts`` in a read that is too large to be dealt with at once. Returns what the client is shown."""
        return self._take(Side.TARGET, b"".join(parts), large=True)[1]

    def _take(self, side: Side, data: bytes, *, large: bool = False) -> tuple[bytes, bytes]:
        target, client = len(self.target), len(self.client)
        repeats = self.engine.repeats
        short = None if large else (repeats.asked if side is Side.CLIENT else repeats.answered)(data, NOW_MS)
        self.perform(self.engine.receive(side, data, NOW_MS) if short is None else [short])
        if side is Side.TARGET and short is None:
            self.perform(self.engine.proceed())
        return self.target[target:], self.client[client:]

    def perform(self, effects: Sequence[Effect | Repeat | Show]) -> None:
        """Do what is ordered."""
        for effect in effects:
            self.order.append(type(effect).__name__ + ("!" if isinstance(effect, Record) and effect.durable else ""))
            match effect:
                case ToTarget(asked):
                    self.target += asked.data
                case Housekeep(Side.TARGET, data):
                    self.target += data
                case ToClient(clean):
                    self.client += clean.data
                case Record(lines=lines, originals=originals):
                    self.originals += [msgspec.json.decode(line) for line in originals]
                    self.lines += lines
                case Repeat(lines=lines, permit=permit, originals=originals):
                    self.originals += [msgspec.json.decode(line) for line in originals]
                    self.lines += lines
                    self.operations += 1
                    self.target += permitted(permit)
                case Show(lines=lines, clean=clean, originals=originals):
                    self.originals += [msgspec.json.decode(line) for line in originals]
                    self.lines += lines
                    self.client += clean.data
                case Count(operations, denied):
                    self.operations += operations
                    self.denied += denied
                case Report(operation):
                    self.reports.append(operation.text)

    @property
    def record(self) -> list[dict[str, Any]]:
        """The lines of the transcript after its heading."""
        return [msgspec.json.decode(line) for line in self.lines.splitlines()][1:]


def fault_of(act: Callable[[], object]) -> str:
    """Return the code of the fault that ``act`` raises, or nothing. Any other exception is a bug, and is raised."""
    try:
        act()
    except Fault as fault:
        return fault.code
    return ""


def query(text: str) -> bytes:
    return messages.query(text)


def parse(name: str, text: str, *types: int) -> bytes:
    body = messages.text(name) + messages.text(text) + struct.pack(">H", len(types))
    return messages.message("P", body + b"".join(struct.pack(">I", each) for each in types))


def bind(
    portal: str, statement: str, *values: bytes | None, formats: tuple[int, ...] = (), results: tuple[int, ...] = ()
) -> bytes:
    body = messages.text(portal) + messages.text(statement) + struct.pack(">H", len(formats))
    body += b"".join(struct.pack(">h", each) for each in formats) + struct.pack(">H", len(values))
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return messages.message("B", body + struct.pack(">H", len(results)) + b"".join(struct.pack(">h", each) for each in results))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return messages.message("E", messages.text(portal) + struct.pack(">i", rows))


def describe(kind: str, name: str = "") -> bytes:
    return messages.describe(kind, name)


def close(kind: str, name: str) -> bytes:
    return messages.message("C", kind.encode() + messages.text(name))


SYNC = messages.message("S")
FLUSH = messages.message("H")
PARSED = messages.message("1")
BOUND = messages.message("2")
CLOSED = messages.message("3")
NO_DATA = messages.message("n")
IDLE = messages.ready("I")
IN_BLOCK = messages.ready("T")
FAILED = messages.ready("E")
COPIED = messages.message("c")
#: What the server is sent in the place of what was denied.
FAILING = f"denied by the gateway (session {SID})"
REPLACED_QUERY = messages.query(FAILING)
REPLACED_PARSE = messages.parse("sallyport_denied", FAILING)


def complete(tag: str) -> bytes:
    return messages.message("C", messages.text(tag))


def copied(body: bytes) -> bytes:
    return messages.message("d", body)


def words(shown: bytes) -> dict[str, str]:
    """The fields of the error that ``shown`` begins with."""
    assert shown[:1] == b"E"
    return messages.read_fields(shown[5 : 1 + int.from_bytes(shown[1:5])])


def error(state: str = "42601", words: str = "syntax error") -> bytes:
    return messages.error("ERROR", state, words)


def columns(*names: str, form: int = 0) -> bytes:
    body = struct.pack(">H", len(names))
    for name in names:
        body += messages.text(name) + struct.pack(">IhIhih", 0, 0, 25, -1, -1, form)
    return messages.message("T", body)


def row_body(*values: bytes | None) -> bytes:
    body = struct.pack(">H", len(values))
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return body


def row(*values: bytes | None) -> bytes:
    return join_rows([row_body(*values)])


def read_row(body: bytes) -> list[bytes | None]:
    (count,) = struct.unpack_from(">H", body) if len(body) > 1 else (0,)
    values: list[bytes | None] = []
    at = 2
    for _ in range(count if len(body) >= 2 + 4 * count else 0):
        if len(body) < at + 4:
            break
        (size,) = struct.unpack_from(">i", body, at)
        at += 4
        values.append(None if size < 0 else body[at : at + size])
        at += max(size, 0)
    return values
