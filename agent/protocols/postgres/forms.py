"""What does not depend on values, of one statement asked for in one way: compiled when it is asked for again. Pure.

A form knows the operations, their digests but for the values, the lines of the transcript but for the digest, how the message
that asks for it begins and ends, and how the answer begins. It decides nothing: ``repeats`` asks each time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from agent.core.policy import Decision, Standing
from agent.core.recording.jsonl import Form as Line
from agent.core.recording.jsonl import encoded
from agent.protocols.postgres import messages
from agent.protocols.postgres.answers import Answers, name_alone
from agent.protocols.postgres.classify import Reading
from agent.protocols.postgres.expected import Portal, Prepared, Run, Shown
from agent.protocols.postgres.kept import CHARACTERS, OVERHEAD
from agent.protocols.postgres.masks import DIGITS, Masks, ResultMask, Words
from agent.protocols.postgres.messages import Bind, Field
from agent.protocols.postgres.values import VALUE_LIMIT
from chalicelib.contracts.operation import Alike, Operation

#: What may follow a Bind, and whether it asks for the columns.
_EXECUTE_SYNC: Final = messages.message("E", bytes(5)) + messages.message("S")
TAILS: Final = {messages.describe("P", "") + _EXECUTE_SYNC: True, _EXECUTE_SYNC: False}
PARSED: Final = messages.message("1")
BOUND: Final = messages.message("2")
_NO_DATA: Final = messages.message("n")
_COLUMNS: Final = ord("T")
_NONE: Final = encoded([])
_INT: Final = struct.Struct(">i")
#: Rows that are looked at one by one.
FEW: Final = 8


class Form:
    """One statement, asked for by a Query (``kind`` is ``query``), or by messages of the extended protocol (``execute``)."""

    __slots__ = (
        "_after", "_alike", "_behind", "_count", "_exact", "_fields", "_fresh", "_lead", "_numbers", "_plain", "_preparing",
        "_tail", "_types", "_words", "answer", "asks", "columns", "described", "fields", "line", "looks", "mask", "meaning",
        "name", "operation", "operations", "prepared", "prepares", "reading", "result_formats", "room", "standing", "steady",
        "swift", "width",
    )  # fmt: skip

    def __init__(self, reading: Reading, kind: str, *, prepares: bool = False) -> None:
        """With ``prepares``, the statement is prepared in the same breath."""
        self.reading = reading
        (self.meaning,) = reading.statements
        (self.operation,) = self.meaning.operations(kind)
        self.prepares: Final = prepares
        self.operations = [*self.meaning.operations("prepare"), self.operation] if prepares else [self.operation]
        self.standing: Standing | None = None
        self.asks: Final = len(self.operations)
        self._alike: Final = Alike(self.operation)
        self._exact: Final = self._alike.before + encoded(self.meaning.text) + b","
        self._after: Final = self._alike.behind
        self.line: Line
        """The line about it in the transcript; with the next two, what was decided."""
        self._preparing: bytes = b""
        self._words: Words
        self._numbers = False
        self.steady: Callable[[str, str], bool]
        """As in ``masks.Words``."""
        self.prepared: Prepared | None = None
        """What is bound, and ``name`` what it is called; None for a Query. What is parsed anew each time has its like here."""
        self.name = ""
        self._lead = self._tail = b""
        self._count = self._behind = 0
        self._plain = False
        self._types: tuple[int, ...] = ()
        self._fields: tuple[Field, ...] = ()
        self.described = kind == "query"
        """The columns of the result come with it."""
        self.result_formats: tuple[int, ...] = ()
        self.answer = b""
        """How the answer begins, up to the first row; nothing while that is not known."""
        self.mask: ResultMask | None = None
        self.fields: tuple[Field, ...] = ()
        self.columns = b""
        self.room = 0
        """Bytes of rows up to which the transcript keeps every one of a few."""
        self.swift: bytes | None = None
        """:attr:`answer`, where the rows behind it are shown and kept as they come unless ``looks`` has anything to say."""
        self.looks: tuple[int, ...] | None = None
        """As in ``masks.ResultMask``."""
        self.width = -1
        """Columns of the result; -1 where it has no rows."""
        self._fresh: Prepared | None = None

    def like(self, text: str, values: tuple[str, ...]) -> list[Operation]:
        """Return the operations of one with this text and these values."""
        *before, last = self.operations
        return [*before, msgspec.structs.replace(last, text=text, arguments=values)]

    # -- what was decided ----------------------------------------------------------------------------------------------------

    def decided(self, decisions: Sequence[Decision], masks: Masks) -> None:
        """Compile what the transcript says: those ``decisions``, which allowed it, and what may be kept of it now."""
        self._words = masks.words(self.meaning)
        self.steady, self._numbers = self._words.steady, self._words.numbers
        kept, _ = masks.recorded(self.meaning.text, (), self.meaning)
        fixed = None if self.operation.kind == "query" else kept
        self.line = Line(self.operation, decisions[-1], fixed)
        if self.prepares:
            preparing = self.operations[0]
            self._preparing = Line(preparing, decisions[0], kept).line(0, preparing.digest()).partition(b",")[2]

    def worded(self, t: int, text: str) -> bytes:
        """Return the line at ``t`` of a Query with ``text``."""
        return self.line.worded(t, self._alike.digest(encoded(text), _NONE), self._words.text(text), text)

    def valued(self, t: int, values: tuple[str, ...]) -> bytes:
        """Return the lines at ``t`` of one that runs with ``values``."""
        exact, line = encoded(values), self.line
        digest = sha256(self._exact + exact + self._after).hexdigest().encode()
        if values:
            kept = values
            for value in values if self._numbers else ():
                if len(value) > DIGITS or not (value.isascii() and value.isdigit()):
                    kept = self._words.values(values)
                    break
            else:
                kept = values if self._numbers else self._words.values(values)
            rest = b'","arguments":%b%b}\n' % (exact if kept == values else encoded(kept), line.rest)
        else:
            rest = b'"%b}\n' % line.rest
        if self._preparing:
            return b'{"t":%d,%b{"t":%d,%b%b%b' % (t, self._preparing, t, line.head, digest, rest)
        return b'{"t":%d,%b%b%b' % (t, line.head, digest, rest)

    # -- how it is asked for -------------------------------------------------------------------------------------------------

    def bound(self, body: bytes, bind: Bind, prepared: Prepared, after: bytes) -> None:
        """Learn from ``bind``, which was read from ``body`` and stood before ``after``, how the next ones will look."""
        self.prepared, self.name = prepared, bind.statement
        names = len(bind.portal.encode()) + len(bind.statement.encode()) + 2
        behind = 2 + 2 * len(bind.result_formats)
        lead, tail = body[: names + 2 + 2 * len(bind.formats) + 2], body[len(body) - behind :] + after
        if (lead, tail, prepared.fields) == (self._lead, self._tail, self._fields):
            return
        self._lead, self._tail = lead, tail
        self._behind = len(after)
        self._count = len(bind.values)
        self._plain = not any(bind.formats)
        self._types, self._fields = prepared.types, prepared.fields
        self.answer, self.swift = b"", None
        self.described = TAILS[after]
        self.result_formats = bind.result_formats

    def values(self, data: bytes, at: int, prepared: Prepared | None) -> tuple[str, ...] | None:
        """Return the values of the Bind at ``at``, which is all but the end of ``data``; None where it has to be read."""
        lead = self._lead
        if not self._plain or not data.startswith(lead, at + 5) or not data.endswith(self._tail):
            return None
        if at + 1 + int.from_bytes(data[at + 1 : at + 5]) != len(data) - self._behind:
            return None
        if prepared is not None and (prepared.types is not self._types or prepared.fields is not self._fields):
            return None
        at += 5 + len(lead)
        end = len(data) - len(self._tail)
        if end - at > VALUE_LIMIT:
            return None
        found = []
        for _ in range(self._count):
            if at + 4 > end:
                return None
            (size,) = _INT.unpack_from(data, at)
            at += 4
            if not 0 <= size <= end - at:
                return None
            try:
                found.append(data[at : at + size].decode())
            except UnicodeDecodeError:
                return None
            at += size
        # Where a text reads NULL, the record tells it from the absence of a value.
        return tuple(found) if at == end and "NULL" not in found else None

    def unnamed(self) -> Prepared:
        """Return the statement as the server knows it after a Parse, of which nothing else is known."""
        fresh = self._fresh
        assert self.prepared is not None
        if fresh is None or fresh.asked or fresh.described or fresh.types is not self.prepared.types:
            fresh = self._fresh = Prepared(self.prepared.raw, self.prepared.types)
        return fresh

    # -- how it is answered --------------------------------------------------------------------------------------------------

    def begins(self, data: bytes, answers: Answers) -> int:
        """Return where the rows begin in ``data``, an answer; -1 where it begins in no way that is known here."""
        if self.answer and data.startswith(self.answer):
            return len(self.answer)
        extended = self.operation.kind != "query"
        begins = (PARSED + BOUND if self.prepares else BOUND) if extended else b""
        if not data.startswith(begins):
            return -1
        at = len(begins)
        if data[at] == _COLUMNS and self.described:
            end = at + 1 + int.from_bytes(data[at + 1 : at + 5])
            if end >= len(data):
                return -1
            body = data[at + 5 : end]
            self.fields = answers.described(body)
            self.mask = answers.portal(self.fields, self._run()) if extended else answers.result(body, self._run())
            at = end
        elif not self.described:
            assert self.prepared is not None
            self.fields = self.portal(self.prepared, (), 0).columns()
            self.mask = answers.portal(self.fields, self._run())
        elif extended and not data.startswith(_NO_DATA, at):
            return -1
        else:
            at += len(_NO_DATA) if extended else 0
            self.mask = None
        self.answer = data[:at]
        self.room = VALUE_LIMIT
        self.columns, self.swift = b"", None
        self.width = len(self.fields) if self.mask is not None else -1
        names = [field.name for field in self.fields]
        if all(map(name_alone, names)) and not any(field.format for field in self.fields):
            self.room = min(VALUE_LIMIT, CHARACTERS - sum(len(name) + OVERHEAD for name in names))
            self.columns = encoded(names)
            self.looks = self.mask.looks if self.mask is not None else ()
            if self.looks is not None:
                self.swift = self.answer
        return at

    def shown(self, rows: bytes, starts: tuple[int, ...], keep: int) -> Shown | None:
        """Return what becomes of ``rows``; None where they are too many, or too large, to be kept as they are.

        ``keep`` is how many the transcript keeps. Raises Fault(target_unmaskable).
        """
        if self.mask is None or not self.columns or len(starts) > min(keep, FEW) or len(rows) > self.room:
            return None
        data, masked, values = self.mask.few(rows, starts)
        if len(data) > self.room:
            return None
        try:
            texts = [[None if value is None else value.decode() for value in row] for row in values]
        except UnicodeDecodeError:
            return None
        return Shown(data, masked, self.columns, texts)

    def portal(self, prepared: Prepared, values: tuple[str, ...], number: int) -> Portal:
        """Return the portal in which it runs with ``values``; ``number`` is that of its line."""
        operation = msgspec.structs.replace(self.operation, arguments=values)
        portal = Portal(prepared, self.reading, [operation], number)
        portal.formats, portal.yes = self.result_formats, [None]
        return portal

    def _run(self) -> Run:
        return Run(self.meaning, 0, 0)
