"""What the server still owes an answer to, in order: the only place that says which answer belongs to which question.

    question             answer                                     when it fails
    Query                (T D* | G | H d*)* C … Z                   E, then Z
    Parse                1                                          E, then everything up to the next Sync is dropped
    Bind                 2                                            "
    Close                3                                            "
    Describe statement   t, then T or n                               "
    Describe portal      T or n                                       "
    Execute              D* then C, s or I; or G, or H d* c C         "
    Sync                 Z                                          E, then Z (a commit that fails)

N, S and A come whenever they like. An answer that nobody waits for ends the connection: the gateway would no longer know which
rows belong to which statement, and so not what to mask.
"""

from __future__ import annotations

import enum
import hashlib
from collections import deque
from typing import Any, Final, NamedTuple

from agent.core.policy import Yes
from agent.core.recording.jsonl import encoded
from agent.protocols.postgres.classify import Meaning, Reading
from agent.protocols.postgres.kept import Kept
from agent.protocols.postgres.messages import Field
from chalicelib.contracts.operation import Operation

#: Questions that may wait for an answer at once; the client's next ones are left unread until then.
OUTSTANDING_LIMIT: Final = 4_096


class Kind(enum.Enum):
    """What was asked."""

    QUERY = "query"
    PARSE = "parse"
    BIND = "bind"
    CLOSE = "close"
    DESCRIBE_STATEMENT = "describe-statement"
    DESCRIBE_PORTAL = "describe-portal"
    EXECUTE = "execute"
    SYNC = "sync"
    COPY_END = "copy-end"
    """The client ended its COPY data here. Nothing answers it; it tells which Syncs the server swallowed."""


class Prepared:
    """A prepared statement: its text, and what the server said about it."""

    __slots__ = ("asked", "described", "fields", "raw", "text", "types")

    def __init__(self, raw: bytes, types: tuple[int, ...]) -> None:
        self.raw = raw
        self.text = raw.decode()
        self.types = types
        self.fields: tuple[Field, ...] = ()
        self.asked = False
        """A Describe is under way, or was answered."""
        self.described = False


class Portal:
    """A bound statement, and the operations that stand for running it."""

    __slots__ = (
        "asked",
        "described",
        "fields",
        "formats",
        "kept",
        "number",
        "operations",
        "prepared",
        "reading",
        "started",
        "yes",
    )

    def __init__(self, prepared: Prepared, reading: Reading, operations: list[Operation], number: int) -> None:
        self.prepared = prepared
        self.reading = reading
        self.operations = operations
        self.number = number
        self.yes: list[Yes | None] = []
        """For each operation, what others agreed to."""
        self.formats: tuple[int, ...] = ()
        self.fields: tuple[Field, ...] = ()
        self.asked = False
        self.described = False
        self.started = False
        self.kept: Kept | None = None
        """What the transcript keeps of its rows, once there are some."""

    def columns(self) -> tuple[Field, ...]:
        """The columns of the result, in the formats that Bind asked for."""
        if self.described:
            return self.fields
        formats = self.formats
        if len(formats) <= 1:
            form = formats[0] if formats else 0
            return tuple(Field(each.name, each.table, each.column, each.type, form) for each in self.prepared.fields)
        if len(formats) != len(self.prepared.fields):
            return ()
        return tuple(
            Field(each.name, each.table, each.column, each.type, form)
            for each, form in zip(self.prepared.fields, formats, strict=True)
        )


class Run:
    """One statement that runs, and what came of it."""

    __slots__ = ("bytes", "hash", "kept", "masked", "meaning", "number", "rows", "started_ms", "tag")

    def __init__(self, meaning: Meaning, number: int, started_ms: int) -> None:
        self.meaning = meaning
        self.number = number
        self.started_ms = started_ms
        self.rows = 0
        self.bytes = 0
        self.masked = 0
        self.tag = ""
        self.hash: Any = None
        self.kept: Kept | None = None

    def saw(self, shown: bytes, rows: int, masked: int) -> None:
        """Count what the client was shown, or what it sent in a COPY."""
        if self.hash is None:
            self.hash = hashlib.sha256()
        self.hash.update(shown)
        self.rows += rows
        self.bytes += len(shown)
        self.masked += masked

    def done(self, outcome: str, now_ms: int, **more: Any) -> dict[str, Any]:
        """Return the line of the transcript that says how it went."""
        entry: dict[str, Any] = {"event": "done", "statement": self.number, "outcome": outcome}
        if self.tag:
            entry["tag"] = self.tag
        entry |= {"rows": self.rows, "bytes": self.bytes, "masked": self.masked, "ms": max(0, now_ms - self.started_ms)}
        if self.hash is not None:
            entry["sha256"] = self.hash.hexdigest()
        return entry | more


def ended(t: int, number: int, tag: bytes, ms: int, shown: Shown | None) -> bytes:
    """Return the line at ``t`` that :meth:`Run.done` makes of a statement that ended well. ``tag`` is its tag, as JSON."""
    if shown is None:
        return _NO_ROWS % (t, number, tag, ms)
    digest = hashlib.sha256(shown.data).hexdigest().encode()
    rows, size = len(shown.values), len(shown.data)
    return _ROWS % (t, number, tag, rows, size, shown.masked, ms, digest, shown.columns, encoded(shown.values))


_DONE: Final = b'{"t":%d,"event":"done","statement":%d,"outcome":"ok","tag":%b,'
_NO_ROWS: Final = _DONE + b'"rows":0,"bytes":0,"masked":0,"ms":%d}\n'
_ROWS: Final = _DONE + b'"rows":%d,"bytes":%d,"masked":%d,"ms":%d,"sha256":"%b","columns":%b,"values":%b}\n'


class Shown(NamedTuple):
    """The few rows of a result as the client is shown them, and as the transcript keeps them."""

    data: bytes
    masked: int
    columns: bytes
    """The names, as JSON."""
    values: list[list[str | None]]


class Description:
    """What the server says about the query of a COPY in binary (``describing``)."""

    __slots__ = ("apart", "error", "fields")

    def __init__(self, *, apart: bool) -> None:
        self.apart: Final = apart
        """A Sync of its own stands behind the question, so it fails apart from the COPY."""
        self.fields: tuple[Field, ...] | None = None
        self.error: dict[str, str] = {}


class Expected:
    """One question under way."""

    __slots__ = (
        "about",
        "asks",
        "at",
        "begins",
        "denial",
        "described",
        "failed",
        "kind",
        "name",
        "portal",
        "prepared",
        "runs",
        "segment",
        "silent",
        "trial",
    )

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.denial = b""
        """The gateway's refusal, which replaces the error that the server will answer with."""
        self.begins = False
        """That error comes behind a BEGIN of the gateway's, whose answer the client does not see."""
        self.silent = False
        """The gateway asked on its own behalf; the client does not see the answer."""
        self.trial = False
        """The client sees no success of it, and an error where that is about the text as such (``complaints``)."""
        self.asks = ""
        """What the gateway asked for: ``path`` or ``names``."""
        self.runs: list[Run] = []
        self.at = 0
        self.failed = False
        self.about: Meaning | None = None
        """The statement that is prepared or bound, and does not run yet."""
        self.described: Description | None = None
        """What is asked about the query of a COPY, or what was asked before it."""
        self.prepared: Prepared | None = None
        self.portal: Portal | None = None
        self.name: tuple[str, str] | None = None
        """Namespace (``S`` or ``P``) and name that the answer confirms."""
        self.segment: tuple[frozenset[str], frozenset[str]] | None = None
        """Names whose changes are certain when this is answered."""

    def forget(self) -> None:
        """The server skipped the question."""
        for about in (self.prepared, self.portal):
            if about is not None and self.kind in (Kind.DESCRIBE_STATEMENT, Kind.DESCRIBE_PORTAL):
                about.asked = about.described

    @property
    def run(self) -> Run | None:
        """The statement that runs now."""
        return self.runs[self.at] if self.at < len(self.runs) and not self.failed else None


class Queue:
    """The questions under way, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[Expected] = deque()

    def __len__(self) -> int:
        self.head()  # the end of a COPY at the front is owed no answer
        return len(self._waiting)

    def push(self, expected: Expected) -> Expected:
        """A question was sent."""
        self._waiting.append(expected)
        return expected

    def head(self) -> Expected | None:
        """Return the oldest question that something answers, or None."""
        while self._waiting and self._waiting[0].kind is Kind.COPY_END:
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    def pop(self) -> Expected:
        """The oldest question was answered."""
        return self._waiting.popleft()

    def fail(self) -> list[Expected]:
        """The oldest question failed in the extended protocol. Returns it and what the server skips until the next Sync."""
        dropped = []
        while self._waiting and self._waiting[0].kind is not Kind.SYNC:
            dropped.append(self._waiting.popleft())
        return dropped

    def copying(self) -> list[Expected]:
        """The server reads COPY data now, and ignores Syncs until its end (§55.2.6). Returns the Syncs that it ignores."""
        swallowed, kept, ended = [], deque([self._waiting.popleft()]), False
        for expected in self._waiting:
            ended = ended or expected.kind is Kind.COPY_END
            if expected.kind is Kind.SYNC and not ended:
                swallowed.append(expected)
            else:
                kept.append(expected)
        self._waiting = kept
        return swallowed
