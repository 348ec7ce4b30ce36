"""Batches of DataRow messages: what needs nothing is copied, what is tagged is masked, and everything else is scanned at once.

    bodies ─► one buffer of framed messages ─► layout (numpy, a column at a time) ─► tagged columns masked in place where the size
    stays, by pieces where it changes ─► one scan of the whole batch with lengths and masked values blanked ─► scrub only the
    values that a hit touches ─► join, new lengths

Batches of a few rows go value by value, which is faster there and is also what the fast way is tested against.
Source: PostgreSQL protocol 3.0, "DataRow (B)": Int16 columns, then Int32 length (-1 is NULL) and bytes for each.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np

from agent.core.masking.batch import Batch, Ints, Octets, blank, ends_of, item, items, words_of
from agent.core.masking.cells import hit_cells, within
from agent.core.masking.checks import Span
from agent.core.masking.classes import DataClass, MaskFault, Report, Tally, data_class
from agent.core.masking.detectors import Detectors
from agent.core.masking.extracts import extract
from agent.core.masking.filled import FILLED
from agent.core.masking.inplace import constant, replace
from agent.core.masking.numbers import SUSPECTS, Suspects, powers
from agent.core.masking.pgtypes import BUILT_IN, HARMLESS, TEXT, Catalog
from agent.core.masking.values import Members, Scrubber, mask_value

#: Rows from which on a batch is always masked at once; fewer where going value by value takes longer (µs, measured).
FEW: Final = 16
_AT_ONCE, _AT_ONCE_MASKED, _ONE, _ONE_MASKED = 40, 35, 4, 2
#: One value in so many makes a column dense.
_DENSE: Final = 4
#: Rows that are looked through first.
_TASTE: Final = 32
_INT: Final = struct.Struct(">i")
_FRAME: Final = struct.Struct(">cI")
_UNSIZED: Final = b"D\x00\x00\x00\x00"
_HEAD: Final = 7
_NAME: Final = 19
_NULL: Final = b"\xff\xff\xff\xff"


#: The values of one row; None is NULL.
Row = list[bytes | None]


class Layout(NamedTuple):
    """Where values begin and how long they are (-1 is NULL): a row of each array for every column."""

    begins: Ints
    sizes: Ints


class Column(NamedTuple):
    """What is known of a column: its type, its format (0 text, 1 binary), and the class it is tagged with.

    ``members`` says which names of its JSON's members are no values; without it, those in which detectors find nothing.
    """

    oid: int
    form: int = 0
    data_class: str | None = None
    members: Members | None = None


class RowMasker:
    """Masks the rows of one result. Raises MaskFault for a row that is not what RowDescription promised."""

    def __init__(
        self,
        columns: Sequence[Column],
        detectors: Detectors,
        reveal: frozenset[str] = frozenset(),
        *,
        catalog: Catalog = BUILT_IN,
        copied: bool = False,
    ) -> None:
        """``copied`` rows are those of a COPY in binary, in CopyData messages; nobody described them together with the data."""
        self._kind: Final = b"d" if copied else b"D"
        self._columns = tuple(columns)
        self._detectors = detectors
        self._reveal = reveal
        self._catalog = catalog
        self._width: Final = len(self._columns).to_bytes(2, "big")
        self._tally = Tally()
        self._scrubber = Scrubber(detectors, reveal, catalog=catalog, tally=self._tally)
        self._masked = {
            at: data_class(one.data_class) for at, one in enumerate(columns) if one.data_class and one.data_class not in reveal
        }
        rest = [at for at, one in enumerate(columns) if at not in self._masked and one.oid not in HARMLESS]
        self._scanned = [at for at in rest if self._flat(columns[at])]
        self._texts = {at for at in self._scanned if catalog.kind(columns[at].oid) is TEXT and columns[at].oid != _NAME}
        self._each = [at for at in rest if not self._flat(columns[at])]
        #: Columns in which a number may be written with an exponent, which no scan reads.
        self._powers = [at for at in self._scanned if columns[at].form == 0 and catalog.kind(columns[at].oid).shape == "float"]
        self._numbers: dict[int, Suspects] = {}
        for at in self._each:
            shape = SUSPECTS.get(catalog.kind(columns[at].oid).shape)
            if shape is not None and columns[at].form == 1 and catalog.element(columns[at].oid) is None and not detectors.custom:
                self._numbers[at] = shape
        #: Columns in which the last batch held secrets of this class, that nobody had tagged.
        self._hot: dict[int, str] = {}
        self._tasted = False
        each = _ONE * len(rest) + _ONE_MASKED * len(self._masked) + 1
        self._few = max(2, min(FEW, (_AT_ONCE + _AT_ONCE_MASKED * len(self._masked)) // each))
        #: Columns of bytes that are no text: what they look like means nothing.
        self._unread = [
            at for at, one in enumerate(columns) if one.form == 1 and at not in self._masked and at not in self._scanned
        ]
        #: There was a NULL.
        self._nulls = False
        self._before = (np.arange(len(columns) + 1) * 4 + _HEAD + 4)[:, None]
        self._before[-1] -= 4
        #: Columns in which nothing is tagged and nothing looked for.
        self._passed = frozenset(range(len(columns))) - self._masked.keys() - set(rest)
        #: Of those, what every value has, lest something else passes for it: its size, or the type of an array's elements.
        self._exact = {at: self._form(one) for at, one in enumerate(columns) if at in self._passed} if copied else {}

    def report(self) -> Report:
        """Return how many values of each class were replaced since the last report."""
        return self._tally.take()

    def mask(self, bodies: Sequence[bytes | memoryview]) -> bytes:
        """Return the DataRow messages, framed and masked, of ``bodies`` (each without its type byte and length)."""
        if len(bodies) < self._few:
            rows: list[Row] = [[] for _ in bodies]
            for body, row in zip(map(bytes, bodies), rows, strict=True):
                self._row(body, 0, len(body), row)
            return b"".join(map(_framed, rows))
        sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
        pieces: list[Any] = [_UNSIZED] * (2 * len(bodies))
        pieces[1::2] = bodies
        buffer = bytearray().join(pieces)
        starts = np.cumsum(sizes + 5) - sizes - 5
        words_of(buffer)[starts + 1] = sizes + 4
        return self._batch(bytes(buffer), starts)

    def mask_framed(self, raw: bytes, starts: Sequence[int] | Ints) -> bytes:
        """Return ``raw``, which is DataRow messages that begin at ``starts``, masked: the same object where nothing changes."""
        if len(starts) < self._few:
            return self.mask_few(raw, tuple(starts))[0]
        return self._batch(raw, np.asarray(starts, np.int64))

    def mask_few(self, raw: bytes, starts: Sequence[int]) -> tuple[bytes, list[Row]]:
        """Return what :meth:`mask_framed` does, and the values of every row as they are shown. For few rows."""
        rows: list[Row] = []
        changed = False
        for start, end in zip(starts, (*starts[1:], len(raw)), strict=True):
            row: Row = []
            changed = self._row(raw, start + 5, end, row) or changed
            rows.append(row)
        return (b"".join([_framed(row, self._kind) for row in rows]) if changed else raw), rows

    def row(self, body: bytes) -> bytes:
        """Return the body of one row as it is shown: the same object where nothing changes."""
        shown: Row = []
        return _framed(shown)[_FRAME.size :] if self._row(body, 0, len(body), shown) else body

    def counted(self) -> int:
        """Return how many values were replaced since the last report or count."""
        return self._tally.count()

    def _batch(self, raw: bytes, starts: Ints) -> bytes:
        ends = ends_of(starts, len(raw))
        layout = self._layout(raw, starts, ends)
        self._check(raw, layout)
        if not (self._masked or self._scanned or self._each):
            return raw
        batch = Batch(raw, starts, ends - starts - 5)
        if self._texts and not self._tasted and len(starts) > _TASTE:
            self._taste(raw, starts, ends - starts - 5, layout)
        edited = {column: self._mask_column(batch, layout, column, how) for column, how in self._masked.items()}
        for column in self._powers:
            edited[column] = powers(batch, layout.begins[column], layout.sizes[column])
            self._look(batch, layout, edited[column].tolist(), column)
        for column, name in list(self._hot.items()):
            edited[column] = self._mask_filled(batch, layout, column, name)
        if self._scanned:
            self._scan(batch, layout, edited)
        for column in self._each:
            self._look(batch, layout, self._worth(raw, layout, column), column)
        return batch.finished()

    def _worth(self, raw: bytes, layout: Layout, column: int) -> Sequence[int]:
        """Return the rows in which a value of ``column`` has to be looked at by itself."""
        suspects, sizes = self._numbers.get(column), layout.sizes[column]
        if suspects is None:
            return range(len(sizes))
        rows = (sizes >= 0).nonzero()[0]
        found: list[int] = rows[suspects(raw, layout.begins[column][rows], sizes[rows])].tolist()
        return found

    def _flat(self, column: Column) -> bool:
        """True if a scan of the bytes as they are finds what is in a value; bytea text, numbers and containers must be read."""
        shape = self._catalog.kind(column.oid).shape
        if self._catalog.element(column.oid) is not None or shape == "record":
            return False
        if shape == "bytea":
            return column.form == 1
        if shape == "float" and self._detectors.custom:
            return False
        return column.form == 0 or shape in ("text", "json", "jsonb", "char")

    def _row(self, raw: bytes, at: int, end: int, shown: Row) -> bool:
        """Add the values of the row in ``raw[at:end]`` to ``shown``, as they may be. Returns whether one is another now."""
        if end - at < 2 or raw[at : at + 2] != self._width:
            raise MaskFault("a row has another number of columns than its description")
        at += 2
        changed = False
        unpack, passed = _INT.unpack_from, self._passed
        for index, column in enumerate(self._columns):
            if end - at < 4:
                raise MaskFault("a row ends inside a length")
            (size,) = unpack(raw, at)
            at += 4
            if size < 0:
                if size < -1:
                    raise MaskFault("a length reaches past its row")
                shown.append(None)
                continue
            last = at + size
            if last > end:
                raise MaskFault("a length reaches past its row")
            value: bytes | None = raw[at:last]
            at = last
            if index not in passed:
                masked = self._value(index, column, value)
                changed = changed or masked != value
                value = masked
            elif index in self._exact and not self._alike(value, *self._exact[index]):
                raise MaskFault("a value is not of its column's type")
            shown.append(value)
        if at != end:
            raise MaskFault("bytes follow the last column of a row")
        return changed

    def _form(self, column: Column) -> tuple[int, bytes]:
        """Return the size of every value of a column in which nothing is looked for, 0 for any, and how its ninth to twelfth
        bytes read where it is an array."""
        element = self._catalog.element(column.oid)
        return (0, _INT.pack(element)) if element is not None else (self._catalog.kind(column.oid).size, b"")

    def _alike(self, value: bytes | None, size: int, element: bytes) -> bool:
        return value is None or (value[8:12] == element if element else size in (0, len(value)))

    def _check(self, raw: bytes, layout: Layout) -> None:
        """Check the columns in which nothing is looked for."""
        for column, (size, element) in self._exact.items():
            begins, sizes = layout.begins[column], layout.sizes[column]
            there = sizes >= 0
            if element:
                good = bool((sizes[there] >= 12).all()) and bool((items(raw, 4)[begins[there] + 8] == item(element)).all())
            else:
                good = not size or bool((sizes[there] == size).all())
            if not good:
                raise MaskFault("a value is not of its column's type")

    def _value(self, index: int, column: Column, value: bytes | None) -> bytes | None:
        how = self._masked.get(index)
        if value is None or how is None:
            return self._scrubber.scrub_value(column.oid, column.form, value)
        self._tally.add(how.name)
        return self._tagged(how, column, value)

    def _tagged(self, how: DataClass, column: Column, value: bytes) -> bytes | None:
        members = column.members or self._scrubber.plain
        return mask_value(how.name, column.oid, column.form, value, self._catalog, members)

    def _layout(self, raw: bytes, starts: Ints, ends: Ints) -> Layout:
        """Return where each column's values begin and how long they are (-1 is NULL), after checking every length.

        A length that reaches past its row moves all that follows, so the end of the last column tells of every one before it.
        """
        octets: Octets = np.frombuffer(raw, np.uint8)
        columns, rows = len(self._columns), len(starts)
        if int((ends - starts).min()) < _HEAD:
            raise MaskFault("a row has no columns")
        if np.count_nonzero((octets[starts + 5] == columns >> 8) & (octets[starts + 6] == columns & 0xFF)) != rows:
            raise MaskFault("a row has another number of columns than its description")
        words = words_of(raw)
        begins, sizes = np.empty((columns + 1, rows), np.int64), np.empty((columns, rows), np.int64)
        if columns and not self._nulls:
            # Where every value has a length, those in front of it say where it begins; if not, it is done again.
            begins[0] = starts
            with suppress(IndexError):
                for place in range(columns):
                    sizes[place] = words[_HEAD + 4 * place :][begins[place]]
                    np.add(begins[place], sizes[place], out=begins[place + 1])
                begins += self._before
                if int(sizes.min()) >= 0 and np.count_nonzero(begins[-1] == ends) == rows:
                    return Layout(begins[:-1], sizes)
            self._nulls = True
        begins, at = begins[:-1], starts + _HEAD
        try:
            for begin, size in zip(begins, sizes, strict=True):
                size[:] = words[at]
                np.add(at, 4, out=begin)
                at = begin + np.maximum(size, 0)
        except IndexError:
            raise MaskFault("a length reaches past its row") from None
        if columns and int(sizes.min()) < -1:
            raise MaskFault("a length reaches past its row")
        if np.count_nonzero(at == ends) != rows:
            raise MaskFault("the columns of a row do not end where it does")
        return Layout(begins, sizes)

    def _mask_column(self, batch: Batch, layout: Layout, column: int, how: DataClass) -> Ints:
        """Mask a tagged column where it stands; return the rows whose values have to be replaced one by one, after doing so."""
        at, size = layout.begins[column], layout.sizes[column]
        rows = np.arange(len(at))
        if size.min() < 0:
            rows = np.flatnonzero(size >= 0)
            if not len(rows):
                return rows
            at, size = at[rows], size[rows]
        self._tally.add(how.name, len(rows))
        of = self._columns[column]
        oid, form = of.oid, of.form
        kind = self._catalog.kind(oid)
        single = self._catalog.element(oid) is None
        plain = single and kind.shape == "text" and kind.text is None and oid != _NAME
        shown = kind.binary if form == 1 else kind.text
        if plain:
            rows = replace(batch, at, size, rows, how)
        elif single and shown and form in (0, 1):
            if form == 1 and kind.size and (size != kind.size).any():
                raise MaskFault(f"a binary value of type {oid} must have {kind.size} bytes")
            rows = constant(batch, at, size, rows, shown)
        if not len(rows):
            return rows
        at, size = layout.begins[column][rows], layout.sizes[column][rows]
        for row, start, length in zip(rows.tolist(), at.tolist(), size.tolist(), strict=True):
            value = batch.raw[start : start + length]
            batch.edit(row, start, length, how.replace(value) if plain else self._tagged(how, of, value))
        return rows

    def _mask_filled(self, batch: Batch, layout: Layout, column: int, name: str) -> Ints:
        """Mask what is certainly a secret in a column that was full of them; return the rows that were replaced one by one."""
        at, size = layout.begins[column], layout.sizes[column]
        rows = FILLED[name](batch, at, size).nonzero()[0]
        if len(rows) * _DENSE < len(at):
            del self._hot[column]
        if not len(rows):
            return rows
        self._tally.add(name, len(rows))
        how = data_class(name)
        rows = replace(batch, at[rows], size[rows], rows, how)
        for row, start, length in zip(rows.tolist(), at[rows].tolist(), size[rows].tolist(), strict=True):
            batch.edit(row, start, length, how.replace(batch.raw[start : start + length]))
        return rows

    def _scan(self, batch: Batch, layout: Layout, edited: dict[int, Ints]) -> None:
        """Scan the batch once, and replace what is found."""
        touched = self._touched(batch, layout, edited)
        self._heat(touched, len(batch.starts))
        for cell, inside in touched.items():
            row, column = divmod(cell, len(self._scanned))
            column = self._scanned[column]
            start = int(layout.begins[column, row])
            end = start + int(layout.sizes[column, row])
            whole = within(inside, start, end) if column in self._texts else None
            if whole is None:
                self._look(batch, layout, (row,), column)
            else:
                shown = self._detectors.replaced(batch.raw[start:end], whole, self._tally)
                batch.edit(row, start, end - start, shown)

    def _touched(self, batch: Batch, layout: Layout, edited: dict[int, Ints]) -> dict[int, list[Span]]:
        """Return what was found in which value of the columns that are looked through, counted row by row.

        What is not a value, or need not be looked at, is blanked with a byte that no detector crosses. A length may read as a
        letter, and hide what begins behind it: its last byte is always blanked, and all of it where the others are not zero.
        """
        if edited.keys() <= self._masked.keys():
            apart = extract(batch.raw, layout.begins[self._scanned], layout.sizes[self._scanned])
            if apart is not None:
                return apart.cells(self._spans(apart.text))
        scan = batch.scanned()
        octets = np.frombuffer(scan, np.uint8)
        items(scan, _HEAD)[batch.starts] = item(bytes(_HEAD))
        octets[layout.begins - 1] = 0
        if int(layout.sizes.min()) < 0 or int(layout.sizes.max()) > 0xFF:
            long = (layout.sizes < 0) | (layout.sizes > 0xFF)
            words_of(scan)[layout.begins[long] - 4] = 0
        for column, rows in edited.items():
            blank(octets, layout.begins[column][rows], layout.sizes[column][rows])
        for column in self._unread:
            blank(octets, layout.begins[column], layout.sizes[column])
        spans = self._spans(bytes(scan))
        if not spans:
            return {}
        firsts = layout.begins[self._scanned].T.ravel()
        return hit_cells(spans, firsts, firsts + layout.sizes[self._scanned].T.ravel())

    def _spans(self, text: bytes) -> list[Span]:
        return [span for span in self._detectors.spans(text) if span[2] and span[2] not in self._reveal]

    def _taste(self, raw: bytes, starts: Ints, sizes: Ints, layout: Layout) -> None:
        """Look through the first rows of a result, to know how dense it is before all of the batch is looked through."""
        self._tasted = True
        first = Batch(raw[: int(starts[_TASTE])], starts[:_TASTE], sizes[:_TASTE])
        self._heat(self._touched(first, Layout(layout.begins[:, :_TASTE], layout.sizes[:, :_TASTE]), {}), _TASTE)

    def _heat(self, touched: dict[int, list[Span]], rows: int) -> None:
        """Note the columns that are full of one class, to look for it first in the next batch."""
        if self._detectors.custom or len(touched) * _DENSE <= rows:
            return  # custom patterns may match what is shown instead
        found = Counter((self._scanned[cell % len(self._scanned)], inside[0][2]) for cell, inside in touched.items())
        for (column, name), count in found.items():
            if count * _DENSE > rows and column in self._texts and name in FILLED:
                self._hot[column] = name

    def _look(self, batch: Batch, layout: Layout, rows: Sequence[int], column: int) -> None:
        """Scrub values one by one, and note those that changed."""
        at, size = layout.begins[column], layout.sizes[column]
        oid, form, *_ = self._columns[column]
        for row in rows:
            start, length = int(at[row]), int(size[row])
            if length < 0:
                continue
            value = batch.raw[start : start + length]
            shown = self._scrubber.scrub_value(oid, form, value)
            if shown != value:
                batch.edit(row, start, length, shown)


def _framed(row: Row, kind: bytes = b"D") -> bytes:
    """Return the message of ``row``."""
    values = [_NULL if value is None else _INT.pack(len(value)) + value for value in row]
    body = len(row).to_bytes(2, "big") + b"".join(values)
    return _FRAME.pack(kind, len(body) + 4) + body
