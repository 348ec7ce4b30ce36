"""One batch of framed DataRow messages while it is masked: what is written over, what is cut out, what is replaced.

    write over   bytes of a value, in place
    shorten      a value keeps its first bytes; the rest is cut out of the batch at the end, all of them at once
    edit         a value is replaced by one that may be longer

Arrays hold one number for each row, so that numpy does for hundreds of rows what Python would do for each.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.core.masking.classes import DataClass

Ints = NDArray[np.int64]
Octets = NDArray[np.uint8]
#: Position of a value's length, end of the value, row, and what stands there instead (with its length).
Edit = tuple[int, int, int, bytes]

_INT: Final = struct.Struct(">i")
_NULL: Final = b"\xff\xff\xff\xff"
_IS_DIGIT: Final = np.isin(np.arange(256), np.frombuffer(b"0123456789*", np.uint8))
_IS_SEPARATOR: Final = np.isin(np.arange(256), np.frombuffer(b" -.()/+", np.uint8))
_IS_LETTER: Final = np.isin(np.arange(256), np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8))
_IS_ALNUM: Final = _IS_LETTER | np.isin(np.arange(256), np.frombuffer(b"0123456789", np.uint8))
_AFTER_FIRST: Final = np.frombuffer(b"***@***.", np.uint8)
_LONGEST_TLD: Final = 24


def words_of(data: bytes | bytearray) -> Any:
    """Return the big-endian Int32 at every byte of ``data``, which may be at any of them."""
    return np.ndarray((max(0, len(data) - 3),), ">i4", data, strides=(1,))


class Batch:
    """``raw`` is the batch as it came, ``octets`` as it is so far; positions are those of ``raw`` until the end."""

    def __init__(self, raw: bytes, starts: Ints, sizes: Ints) -> None:
        """``sizes`` are those of the rows' bodies."""
        self.raw = raw
        self.starts = starts
        self._sizes = sizes
        self._buffer: bytearray | None = None
        self._keep: NDArray[np.bool_] | None = None
        self._edits: list[Edit] = []

    @property
    def octets(self) -> Octets:
        """The bytes, to write over."""
        if self._buffer is None:
            self._buffer = bytearray(self.raw)
        return np.frombuffer(self._buffer, np.uint8)

    def shorten(self, rows: Ints, at: Ints, old: Ints, new: Ints) -> None:
        """Have the values at ``at``, one in each of ``rows``, keep their first ``new`` bytes of ``old``."""
        changed = new != old
        if not changed.any():
            return
        rows, at, old, new = rows[changed], at[changed], old[changed], new[changed]
        if self._keep is None:
            self._keep = np.ones(len(self.raw), np.bool_)
            self._sizes = self._sizes.copy()
        self._keep[_spread(at + new, old - new)] = False
        _ = self.octets
        words_of(self._whole())[at - 4] = new
        self._sizes[rows] -= old - new

    def edit(self, row: int, at: int, size: int, shown: bytes | None) -> None:
        """Have the value at ``at`` in ``row`` read ``shown``, or NULL."""
        self._edits.append((at - 4, at + size, row, _NULL if shown is None else _INT.pack(len(shown)) + shown))

    def finished(self) -> bytes:
        """Return the messages, with the lengths that they have now."""
        if self._buffer is None and not self._edits:
            return self.raw
        data = self.octets
        if self._keep is not None:
            if self._edits:
                moved = np.concatenate(([0], np.cumsum(self._keep)))
                self._edits = [(int(moved[begin]), int(moved[end]), row, shown) for begin, end, row, shown in self._edits]
            data = data[self._keep]
        if self._edits:
            return self._rebuilt(data.tobytes())
        if self._keep is None:
            return bytes(self._whole())
        return _resized(bytearray(data.tobytes()), self._sizes)

    def _whole(self) -> bytearray:
        assert self._buffer is not None
        return self._buffer

    def _rebuilt(self, data: bytes) -> bytes:
        edits = sorted(self._edits)
        begin, end, rows, shown = zip(*edits, strict=True)
        pieces: list[Any] = [b""] * (2 * len(edits) + 1)
        pieces[::2] = [data[last:first] for last, first in zip((0, *end), (*begin, len(data)), strict=True)]
        pieces[1::2] = shown
        sizes = self._sizes.copy()
        np.add.at(sizes, np.array(rows), np.fromiter(map(len, shown), np.int64, len(shown)) - np.array(end) + np.array(begin))
        return _resized(bytearray().join(pieces), sizes)


def _resized(data: bytearray, sizes: Ints) -> bytes:
    """Write the length of each message, which counts itself but not the type byte."""
    words_of(data)[np.cumsum(sizes + 5) - sizes - 4] = sizes + 4
    return bytes(data)


def _spread(at: Ints, length: Ints) -> Ints:
    """Return every position of the ranges that begin at ``at``."""
    offset = np.repeat(at - (np.cumsum(length) - length), length)
    return offset + np.arange(len(offset))


def blank(scan: Octets, at: Ints, size: Ints) -> None:
    """Write zeros over the values at ``at``."""
    scan[_spread(at, np.maximum(size, 0))] = 0


def mailboxes(batch: Batch, at: Ints, size: Ints, rows: Ints) -> Ints:
    """Mask e-mail addresses in place, as ``classes.DataClass.replace`` would; return the rows that have another shape."""
    octets, length = batch.octets, size[rows]
    # Only this column is looked at, which is a small part of the batch; positions are those in its values, one after another.
    text = octets[_spread(at[rows], length)]
    end = np.cumsum(length)
    start = end - length
    signs, dots = np.flatnonzero(text == 0x40), np.flatnonzero(text == 0x2E)
    others = np.append(np.flatnonzero(~_IS_LETTER[text]), len(text))
    first = np.searchsorted(signs, start)
    dot_at = np.searchsorted(dots, end) - 1
    if not len(signs) or not len(dots):
        return rows
    sign, dot = signs[np.minimum(first, len(signs) - 1)], dots[np.maximum(dot_at, 0)]
    tld = end - dot - 1
    shaped = (np.searchsorted(signs, end) - first == 1) & (dot_at >= 0) & (start < sign) & (sign < dot)
    shaped &= (tld > 0) & (tld <= _LONGEST_TLD) & (others[np.searchsorted(others, dot + 1)] >= end)
    shaped &= _IS_ALNUM[text[np.minimum(start, len(text) - 1)]] & (length >= 1 + len(_AFTER_FIRST) + tld)
    hit, tld, length = rows[shaped], tld[shaped], length[shaped]
    if len(hit):
        start = at[hit]
        # The last label moves to the front: first read, then written, because the two may overlap.
        source = _spread(start + length - tld, tld)
        moved = octets[source]
        octets[start[:, None] + np.arange(1, 1 + len(_AFTER_FIRST))] = _AFTER_FIRST
        octets[_spread(start + 1 + len(_AFTER_FIRST), tld)] = moved
        batch.shorten(hit, start, length, 1 + len(_AFTER_FIRST) + tld)
    left: Ints = rows[~shaped]
    return left


def star(octets: Octets, at: Ints, size: Ints, rows: Ints, how: DataClass) -> Ints:
    """Star the digits of a column's values in place, all of one size at a time; return the rows that have another shape."""
    left = []
    for width in np.unique(size[rows]).tolist():
        group = rows[size[rows] == width]
        if not 0 < width <= 2 * how.most:
            left.append(group)
            continue
        places = at[group][:, None] + np.arange(width)
        text = octets[places]
        digit = _IS_DIGIT[text]
        count = digit.sum(axis=1)
        shaped = (digit | _IS_SEPARATOR[text]).all(axis=1) & (count >= how.least) & (count <= how.most)
        behind = np.cumsum(digit[:, ::-1], axis=1)[:, ::-1]
        text[digit & (behind > how.keep_last) & shaped[:, None]] = 0x2A
        octets[places] = text
        left.append(group[~shaped])
    return np.concatenate(left) if left else rows[:0]
