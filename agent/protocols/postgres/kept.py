"""The first rows of a result as the transcript keeps them: what the client was shown, as text. Pure.

Rows are taken after masking, from the very bytes that the client is sent. Past the limit nothing is looked at any more, so that a
bulk result costs no more than its beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from agent.core.masking.batch import Ints, ends_of, item, items, words_of
from agent.core.recording.jsonl import encoded
from agent.protocols.postgres.messages import Field
from agent.protocols.postgres.values import VALUE_LIMIT, readable
from chalicelib.contracts.faults import Fault

#: Rows of one statement that are kept where a target does not say otherwise, and the most that it may say.
ROWS: Final = 100
MOST_ROWS: Final = 1_000
#: Most that is kept of one statement, in characters, names of columns included. A line of the transcript has at most 1 MiB.
CHARACTERS: Final = 64 * 1024
#: What an empty value, a bracket or a comma takes in the transcript.
OVERHEAD: Final = 4
#: Rows from which on it pays to look for the values of all of them at once.
_MANY: Final = 16
_ROW_HEAD: Final = 7
_BYTEA: Final = 17
_TEXT: Final = 25

#: How rows of texts become JSON all at once: what stands between two values is written over with marks, which are translated, and
#: zeros, which are left out. Neither can be part of a value that stands in JSON as it is.
_JSON: Final = bytes.maketrans(b"\1\2\3\4", b'",][')
_NULL: Final = 5
_NEXT_VALUE: Final = item(b"\1\2\1\0")
_NEXT_ROW: Final = b"\0\0\0\0\0\1\3\2\4\1\0"
_NEXT_ROW_ITEM: Final = item(_NEXT_ROW)
#: The first row has no row in front of it.
_LAST: Final = len(b'"],')
_ESCAPED: Final = bytes(byte for byte in range(256) if not 0x20 <= byte < 0x7F or byte in b'"\\')

#: What the header of a COPY in binary begins with, its length, and what stands behind the last row ("COPY", Binary Format).
_COPY_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00"
_COPY_HEADER: Final = 19
_COPY_MARK: Final = b"\xff\xff"

_FRAME: Final = struct.Struct(">BI")
_COUNT: Final = struct.Struct(">H")
_SIZE: Final = struct.Struct(">i")
#: A value of a column that nobody described is shown as the bytes that it is.
_UNKNOWN: Final = Field(name="", table=0, column=0, type=0, format=1)


def kept_rows(options: Mapping[str, Any]) -> int:
    """Return how many rows of each result a target's transcripts keep. Raises Fault(config_invalid)."""
    rows = options.get("recorded_rows", ROWS)
    if not isinstance(rows, int) or isinstance(rows, bool) or not 0 <= rows <= MOST_ROWS:
        raise Fault("config_invalid", f"recorded_rows is not a number from 0 to {MOST_ROWS}.")
    return rows


class Kept:
    """What is kept of one statement. A portal that is read bit by bit has one for all of its bits."""

    __slots__ = ("_characters", "_columns", "_lines", "_rows", "_values", "plain", "room")

    def __init__(self, rows: int) -> None:
        """``rows`` is how many are kept at most."""
        self._rows = rows
        self._characters = CHARACTERS
        self._columns: tuple[Field, ...] = ()
        self._values: list[bytes] = []
        """Rows as they stand in the line, some at a time."""
        self._lines: list[str] = []
        self.plain: Kept | None = None
        """The same rows as they came, where originals are kept."""
        self.room = rows > 0
        """False where nothing more is kept."""

    def add(self, shown: bytes, columns: tuple[Field, ...]) -> None:
        """Keep the first of the DataRow messages in ``shown``, whose columns are ``columns``."""
        if not self._values:
            self._columns = columns
            self._characters -= sum(len(column.name) + OVERHEAD for column in columns)
        at = self._add_texts(shown, columns)
        while self.room and at < len(shown):
            values = _row(shown, at + 5, columns)
            if self._takes(sum(map(len, filter(None, values))) + OVERHEAD * len(values)):
                self._values.append(encoded(values))
            at += 1 + _FRAME.unpack_from(shown, at)[1]

    def _add_texts(self, shown: bytes, columns: tuple[Field, ...]) -> int:
        """Keep the first rows of many that are short texts, all at once. Returns where those begin that were not looked at."""
        starts: list[int] = []
        end = 0
        size_at, size = _FRAME.unpack_from, len(shown)
        while end < size and len(starts) < self._rows:
            starts.append(end)
            end += 1 + size_at(shown, end)[1]
        if len(starts) < _MANY or not columns or any(column.format for column in columns):
            return 0
        text = bytearray(memoryview(shown)[:end])
        taken = _written_over(text, np.array(starts, np.int64), len(columns))
        if taken is None or taken >= self._characters:
            return 0
        rows = text.translate(_JSON, b"\0")[_LAST:] + b'"]'
        self._values.append(bytes(rows).replace(b'"%c"' % _NULL, b"null"))
        self._characters -= taken
        self._rows -= len(starts)
        self.room = self._rows > 0
        return end

    def copied(self, shown: bytes, *, binary: bool, types: tuple[int, ...] = ()) -> None:
        """Keep the first of the CopyData messages in ``shown``. ``types`` are those of the columns, as far as they are known."""
        at = 0
        while self.room and at < len(shown):
            end = at + 1 + _FRAME.unpack_from(shown, at)[1]
            body = shown[at + 5 : end]
            if binary:
                row = body[_COPY_HEADER:] if body.startswith(_COPY_SIGNATURE) else body
                typed = _typed(row, types)
                line = None if row in (b"", _COPY_MARK) else readable(body, 1, _BYTEA) if typed is None else typed
            else:
                line = readable(body.rstrip(b"\r\n"), 0, _TEXT)
            if line is not None and self._takes(len(line) + OVERHEAD):
                self._lines.append(line)
            at = end

    def take(self, names: list[str]) -> dict[str, Any]:
        """Return what was kept since the last time, for the transcript. ``names`` are what it may say of the columns' names."""
        found: dict[str, Any] = {}
        if self._values:
            found = {"columns": names, "values": msgspec.Raw(b"[%b]" % b",".join(self._values))}
        if self._lines:
            found["lines"] = self._lines
        self._values, self._lines = [], []
        return found

    @property
    def names(self) -> list[str]:
        """The names of the columns of what was kept since the last :meth:`take`."""
        return [column.name for column in self._columns] if self._values else []

    def _takes(self, size: int) -> bool:
        self._characters -= size
        self._rows -= 1
        self.room = self._rows > 0 and self._characters > 0
        return self._characters >= 0


def _written_over(text: bytearray, heads: Ints, columns: int) -> int | None:
    """Write marks over all but the values of ``text``, rows that begin at ``heads``. Returns how much of the limit they take.

    None where values have to be looked at one by one: one is long, or does not stand in JSON as it is.
    """
    words, at = words_of(text), heads + _ROW_HEAD
    places, sizes = np.empty((columns, len(heads)), np.int64), np.empty((columns, len(heads)), np.int64)
    for place, size in zip(places, sizes, strict=True):
        place[:] = at
        size[:] = words[at]
        at += np.maximum(size, 0)
        at += _SIZE.size
    if int(sizes.max()) > VALUE_LIMIT or (at != ends_of(heads, len(text))).any():
        return None
    items(text, _SIZE.size)[places[1:]] = _NEXT_VALUE
    items(text, len(_NEXT_ROW))[heads] = _NEXT_ROW_ITEM
    if int(sizes.min()) < 0:
        np.frombuffer(text, np.uint8)[places[sizes < 0] + (_SIZE.size - 1)] = _NULL
    shown = len(text) - len(heads) * (_ROW_HEAD + columns * _SIZE.size)
    return shown + OVERHEAD * sizes.size if len(text.translate(None, _ESCAPED)) == shown else None


def _typed(row: bytes, types: tuple[int, ...]) -> str | None:
    """Return a row of a COPY in binary with tabs between its values, or None where it is not one of ``types``."""
    if not types or row[:2] != _COUNT.pack(len(types)):
        return None
    at, values = 2, []
    for kind in types:
        if at + 4 > len(row):
            return None
        (size,) = _SIZE.unpack_from(row, at)
        at += 4
        values.append("\\N" if size < 0 else readable(row[at : at + size], 1, kind))
        at += max(size, 0)
    return "\t".join(values) if at == len(row) else None


def _row(shown: bytes, at: int, columns: tuple[Field, ...]) -> list[str | None]:
    """Return the values of one row that masking has checked: it has as many as there are columns."""
    (count,) = _COUNT.unpack_from(shown, at)
    at += 2
    values: list[str | None] = []
    size_at = _SIZE.unpack_from
    for column in columns if count == len(columns) else (columns + (_UNKNOWN,) * count)[:count]:
        (size,) = size_at(shown, at)
        at += 4
        if size < 0:
            values.append(None)
            continue
        end = at + size
        if column.format or size > VALUE_LIMIT:
            values.append(readable(shown[at:end], column.format, column.type))
        else:
            # Most values are short text, and this runs for each of them.
            try:
                values.append(shown[at:end].decode())
            except UnicodeDecodeError:
                values.append(readable(shown[at:end], 0, column.type))
        at = end
    return values
