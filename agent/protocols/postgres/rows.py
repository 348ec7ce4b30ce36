"""Masks rows: what a tagged column holds is replaced, everything else is looked through by the detectors. Pure.

A value whose type has no room for stars (a number, a date) becomes NULL, so that a client never reads a mask as data. A row that
does not have the columns that were described ends the connection: it could not be known what it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.core.masking.classes import data_class
from agent.protocols.postgres.codec import Rows, join_rows
from agent.protocols.postgres.messages import Field
from chalicelib.contracts.faults import Fault

#: Types whose values may be any text, in both formats: bytea is not one of them. char, name, text, json, xml, unknown, bpchar, varchar.
_TEXTS: Final = frozenset({18, 19, 25, 114, 142, 705, 1042, 1043})
_INT8: Final = 20
#: Between values that are looked through together: no detector reaches across it.
_BETWEEN: Final = b"\n\0\n"
_NULL: Final = b"\xff\xff\xff\xff"

Detect = Callable[[bytes], bytes]


class RowMask:
    """The mask of one result. ``hidden`` are the classes of each column that its reader may not see."""

    def __init__(self, fields: tuple[Field, ...], hidden: list[frozenset[str]], detect: Detect) -> None:
        self._fields = fields
        self._hidden = hidden
        self._detect = detect
        self._tagged = any(hidden)

    def rows(self, rows: Rows) -> tuple[bytes, int]:
        """Return the rows as the client may see them, and how many values were masked."""
        bodies = rows.bodies()
        split = [self._split(body) for body in bodies]
        if not self._tagged and self._nothing_found(split):
            return rows.raw, 0
        masked, shown = 0, []
        for values in split:
            parts, count = self._row(values)
            masked += count
            shown.append(parts)
        return join_rows(shown), masked

    def _split(self, body: bytes) -> list[bytes | None]:
        values: list[bytes | None] = []
        at, size = 2, len(body)
        for _ in range(int.from_bytes(body[:2])):
            length = int.from_bytes(body[at : at + 4], signed=True)
            at += 4
            if length < 0:
                values.append(None)
                continue
            values.append(body[at : at + length])
            at += length
            if at > size:
                raise _torn()
        if at != size or len(values) != len(self._fields):
            raise _torn()
        return values

    def _nothing_found(self, split: list[list[bytes | None]]) -> bool:
        """Look through a whole batch at once: most results hold nothing, and one look is cheaper than many."""
        texts = [text for values in split for text in self._texts(values)]
        together = _BETWEEN.join(texts)
        return self._detect(together) is together

    def _texts(self, values: list[bytes | None]) -> list[bytes]:
        found = []
        for value, field in zip(values, self._fields, strict=True):
            text = None if value is None else _readable(value, field)
            if text is not None:
                found.append(text)
        return found

    def _row(self, values: list[bytes | None]) -> tuple[bytes, int]:
        parts, masked = [len(values).to_bytes(2)], 0
        for value, field, hidden in zip(values, self._fields, self._hidden, strict=True):
            shown = value if value is None else self._value(value, field, hidden)
            masked += shown is not value
            parts += (_NULL,) if shown is None else (len(shown).to_bytes(4), shown)
        return b"".join(parts), masked

    def _value(self, value: bytes, field: Field, hidden: frozenset[str]) -> bytes | None:
        texts = field.type in _TEXTS
        if hidden:
            return replaced(value, hidden) if texts else None
        readable = _readable(value, field)
        if readable is None:
            return value
        shown = self._detect(readable)
        if shown is readable:
            return value
        return shown if texts or field.format == 0 and not _is_number(readable) else None


def replaced(value: bytes, hidden: frozenset[str]) -> bytes:
    """Return what stands for ``value``. A value of several classes shows nothing of itself."""
    name = next(iter(hidden)) if len(hidden) == 1 else "several"
    return data_class(name).replace(value)


def _readable(value: bytes, field: Field) -> bytes | None:
    if field.format == 0 or field.type in _TEXTS:
        return value
    return str(int.from_bytes(value, signed=True)).encode() if field.type == _INT8 and len(value) == 8 else None


def _is_number(value: bytes) -> bool:
    return not value.strip(b"0123456789+-.eE")


def _torn() -> Fault:
    return Fault("target_closed", "The target sent a row that does not have the columns that it described.")


class TextCopyMask:
    """The mask of one COPY in text format: a line per row, tabs between values, backslashes before what is special (COPY, §Text)."""

    def __init__(self, hidden: list[frozenset[str]], detect: Detect) -> None:
        self._hidden = hidden
        self._detect = detect
        self._tagged = any(hidden)

    def data(self, body: bytes) -> tuple[bytes, int]:
        """Return one CopyData as the client may see it, and how many values were masked."""
        if not self._tagged:
            shown = self._detect(body)
            return shown, int(shown is not body)
        values = body.removesuffix(b"\n").split(b"\t")
        if len(values) != len(self._hidden):
            raise _torn()
        masked, found = 0, []
        for value, hidden in zip(values, self._hidden, strict=True):
            shown = value if value == b"\\N" else replaced(value, hidden) if hidden else self._detect(value)
            masked += shown is not value
            found.append(shown)
        return b"\t".join(found) + b"\n", masked
