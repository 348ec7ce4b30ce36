"""COPY in PostgreSQL's text and CSV formats, as the server sends it: one CopyData message for each row, many in one batch.

    nothing tagged   one scan of the batch with the messages' headers written over; hits are replaced where they stand
    tagged columns   fields by where delimiters stand, masked in place like the columns of a SELECT (``inplace``), then one scan

Nothing is taken apart or joined where nothing changes. What is not as plain as that (escapes, quotes, rows over several messages)
is left to :class:`~agent.core.masking.copies.CopyMasker`, which takes rows apart, and is what this is tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from agent.core.masking.batch import Batch, Ints, blank, ends_of, item, items
from agent.core.masking.cells import hit_cells, within
from agent.core.masking.checks import Span
from agent.core.masking.classes import DataClass, Tally
from agent.core.masking.detectors import Detectors, merge
from agent.core.masking.inplace import replace

_HEAD: Final = 5
_NEWLINE, _BACKSLASH, _N = 0x0A, 0x5C, 0x4E


class Fields(NamedTuple):
    """Where fields begin and how long they are (-1 is NULL): a row of each array for every column."""

    begins: Ints
    sizes: Ints


class CopyBatches:
    """Masks batches of whole rows. ``rows`` masks the content of one message by the rules of its format."""

    def __init__(
        self,
        detectors: Detectors,
        reveal: frozenset[str],
        tally: Tally,
        rows: Callable[[bytes], bytes],
        *,
        delimiter: int,
        mark: bytes,
        plain: bool,
    ) -> None:
        """``mark`` begins an escape. Where columns are ``plain`` and nothing is escaped, hits are replaced where they stand."""
        self._detectors = detectors
        self._reveal = reveal
        self._tally = tally
        self._rows = rows
        self._delimiter = delimiter
        self._mark = mark
        self._plain = plain

    def untagged(self, raw: bytes, starts: Ints) -> bytes | None:
        """Return the messages masked where the detectors find something; None where they have to be taken apart."""
        ends = ends_of(starts, len(raw))
        scan = self._scanned(raw, starts, ends)
        if scan is None:
            return None
        spans = self._spans(bytes(scan))
        if not spans:
            return raw
        starting, ending = [span[0] for span in spans], [span[1] for span in spans]
        low = np.searchsorted(starts, starting, "right") - 1
        cuts = np.flatnonzero((octets := np.frombuffer(scan, np.uint8)) == self._delimiter)
        one = (low == np.searchsorted(starts, ending, "left") - 1) & (
            np.searchsorted(cuts, starting) == np.searchsorted(cuts, ending)
        )
        if self._plain and self._mark not in scan and one.all() and not (octets[np.array(ending) - 1] == _NEWLINE).any():
            return self._replaced(Batch(raw, starts, ends - starts - _HEAD, prefixed=False), merge(spans))
        touched: set[int] = set()
        for first, last in zip(low.tolist(), np.searchsorted(starts, ending, "left").tolist(), strict=True):
            touched.update(range(first, last))
        out: list[bytes] = []
        done = 0
        for row in sorted(touched):
            start, end = int(starts[row]), int(ends[row])
            shown = self._rows(raw[start + _HEAD : end])
            out += (raw[done : start + 1], (len(shown) + 4).to_bytes(4), shown)
            done = end
        return b"".join([*out, raw[done:]])

    def _replaced(self, batch: Batch, hits: list[Span]) -> bytes:
        rows = np.searchsorted(batch.starts, [hit[0] for hit in hits], "right") - 1
        for row, (start, end, name, _) in zip(rows.tolist(), hits, strict=True):
            batch.edit(row, start, end - start, self._detectors.replacement(name, batch.raw[start:end]))
            self._tally.add(name)
        return batch.finished()

    def tagged(self, raw: bytes, starts: Ints, count: int, masked: Sequence[tuple[int, DataClass]]) -> bytes | None:
        """Return the messages, of ``count`` fields each, with the ``masked`` ones replaced; None where they are taken apart."""
        ends = ends_of(starts, len(raw))
        scan = self._scanned(raw, starts, ends)
        fields = None if scan is None else _fields(scan, starts, ends, self._delimiter, count)
        if fields is None:
            return None
        batch = Batch(raw, starts, ends - starts - _HEAD, prefixed=False)
        edited: list[tuple[Ints, Ints]] = []
        for column, how in masked:
            at, size = fields.begins[column], fields.sizes[column]
            rows = np.flatnonzero(size >= 0)
            self._tally.add(how.name, len(rows))
            left = replace(batch, at[rows], size[rows], rows, how) if len(rows) else rows
            edited.append((at[left], size[left]))
            for row, start, length in zip(left.tolist(), at[left].tolist(), size[left].tolist(), strict=True):
                batch.edit(row, start, length, how.replace(raw[start : start + length]))
        self._look(batch, fields, {column for column, _ in masked}, edited)
        return batch.finished()

    def _look(self, batch: Batch, fields: Fields, masked: set[int], edited: list[tuple[Ints, Ints]]) -> None:
        """Scan the batch as it is so far, and note the fields in which something was found."""
        scan = batch.scanned()
        octets = np.frombuffer(scan, np.uint8)
        items(scan, _HEAD)[batch.starts] = item(b"\n" * _HEAD)
        octets[fields.begins[fields.sizes < 0]] = 0
        for at, size in edited:
            blank(octets, at, size)
        spans = self._spans(bytes(scan))
        if not spans:
            return
        columns = [column for column in range(len(fields.begins)) if column not in masked]
        firsts = fields.begins[columns].T.ravel()
        touched = hit_cells(spans, firsts, firsts + fields.sizes[columns].T.ravel())
        for cell, inside in touched.items():
            row, column = cell // len(columns), columns[cell % len(columns)]
            start, length = int(fields.begins[column, row]), int(fields.sizes[column, row])
            value = batch.raw[start : start + max(length, 0)]
            whole = within(inside, start, start + len(value))
            if whole is not None:
                shown = self._detectors.replaced(value, whole, self._tally)
            else:
                shown = self._detectors.scrub(value, self._reveal, self._tally)
            if shown != value:
                batch.edit(row, start, len(value), shown)

    def _spans(self, scan: bytes) -> list[Span]:
        return [span for span in self._detectors.spans(scan) if span[2] and span[2] not in self._reveal]

    def _scanned(self, raw: bytes, starts: Ints, ends: Ints) -> bytearray | None:
        """Return the batch with newlines for headers, whose bytes may read as anything; None where it is not as plain as that."""
        scan = bytearray(raw)
        octets = np.frombuffer(scan, np.uint8)
        items(scan, _HEAD)[starts] = item(b"\n" * _HEAD)
        if (ends - starts <= _HEAD).any() or (octets[ends - 1] != _NEWLINE).any():
            return None
        return None if self._mark == b'"' and b'"' in scan else scan


def _fields(scan: bytearray, starts: Ints, ends: Ints, delimiter: int, count: int) -> Fields | None:
    """Return where the fields of rows are that hold no escapes but those of NULL, or None if there are others."""
    octets = np.frombuffer(scan, np.uint8)
    rows = len(starts)
    cuts = np.flatnonzero(octets == delimiter)
    if b"\r" in scan or len(cuts) != rows * (count - 1) or int(np.count_nonzero(octets == _NEWLINE)) != rows * (1 + _HEAD):
        return None
    grid = cuts.reshape(rows, count - 1)
    if count > 1 and ((grid[:, 0] < starts).any() or (grid[:, -1] >= ends).any()):
        return None
    begins, stops = np.empty((count, rows), np.int64), np.empty((count, rows), np.int64)
    begins[0], stops[-1] = starts + _HEAD, ends - 1
    begins[1:], stops[:-1] = grid.T + 1, grid.T
    sizes = stops - begins
    if _BACKSLASH in scan:
        null = (sizes == 2) & (octets.take(begins, mode="clip") == _BACKSLASH) & (octets.take(begins + 1, mode="clip") == _N)
        if int(null.sum()) != int(np.count_nonzero(octets == _BACKSLASH)):
            return None
        sizes[null] = -1
    return Fields(begins, sizes)
