"""One batch of framed messages while it is masked: what is written over, what is cut out, what is replaced.

    write over   bytes of a value, in place
    shorten      a value keeps its first bytes; the rest is cut out of the batch at the end, all of them at once
    edit         a value is replaced by one that may be longer

Arrays hold one number for each message, so that numpy does for hundreds of them what Python would do for each. Values are moved
as items of so many bytes (:func:`items`): one number for each value is much less than one for each of its bytes.
"""

from __future__ import annotations

import itertools
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Octets = NDArray[np.uint8]
Bools = NDArray[np.bool_]
#: Position of a value (of its length, if it has one), its end, its row, and what stands there instead.
Edit = tuple[int, int, int, bytes]

_INT: Final = struct.Struct(">i")
_NULL: Final = b"\xff\xff\xff\xff"
#: Bytes for each piece that is cut out, up to which it takes less time to leave out bytes than to join what is left.
_SPARSE: Final = 96
#: So many different sizes of values that are not long are written over one size at a time.
_SEVERAL: Final = 8
_NARROW: Final = 512


def words_of(data: Any) -> Any:
    """Return the big-endian Int32 at every byte of ``data``, which may be at any of them."""
    return np.ndarray((max(0, len(data) - 3),), ">i4", data, strides=(1,))


def ends_of(starts: Ints, size: int) -> Ints:
    """Return where messages end that begin at ``starts``, one after another, in ``size`` bytes."""
    ends = np.empty_like(starts)
    ends[:-1], ends[-1] = starts[1:], size
    return ends


def items(data: Any, width: int) -> Any:
    """Return the ``width`` bytes at every byte of ``data``, each as one item."""
    return np.ndarray((max(0, len(data) - width + 1),), f"V{width}", data, strides=(1,))


def item(value: bytes) -> Any:
    """Return ``value`` as what :func:`items` holds, to write it to several places."""
    return np.frombuffer(value, f"V{len(value)}")


class Batch:
    """``raw`` is the batch as it came, ``octets`` as it is so far; positions are those of ``raw`` until the end."""

    def __init__(self, raw: bytes, starts: Ints, sizes: Ints, *, prefixed: bool = True) -> None:
        """``sizes`` are those of the messages' bodies. ``prefixed`` says that each value stands behind its length."""
        self.raw = raw
        self._prefixed = prefixed
        self.starts = starts
        self._sizes = sizes
        self._buffer: bytearray | None = None
        self._cuts: list[tuple[Ints, Ints]] = []
        """Where what is cut out begins and ends, the values of one call together."""
        self._edits: list[Edit] = []
        self._places: dict[int, Ints] = {}
        self._quiet: list[Ints] = []

    @property
    def octets(self) -> Octets:
        """The bytes, to write over."""
        return np.frombuffer(self.buffer, np.uint8)

    @property
    def buffer(self) -> bytearray:
        """The bytes, to write over."""
        if self._buffer is None:
            self._buffer = bytearray(self.raw)
        return self._buffer

    def places(self, byte: int) -> Ints:
        """Return where ``byte`` stands in ``raw``."""
        found = self._places.get(byte)
        if found is None:
            found = self._places[byte] = (np.frombuffer(self.raw, np.uint8) == byte).nonzero()[0]
        return found

    def strange(self, table: bytes, mark: int) -> Ints:
        """Return where ``raw``, translated by ``table``, reads ``mark``. Always asked with the same table."""
        found = self._places.get(-1)
        if found is None:
            found = self._places[-1] = np.flatnonzero(np.frombuffer(self.raw.translate(table), np.uint8) == mark)
        return found

    def shorten(self, rows: Ints, at: Ints, old: Ints, new: Ints | int) -> None:
        """Have the values at ``at``, one in each of ``rows``, keep their first ``new`` bytes of ``old``."""
        less = old - new
        if not np.count_nonzero(less):
            return
        if not self._cuts:
            self._sizes = self._sizes.copy()
        self._cuts.append((at + new, at + old))
        if self._prefixed:
            words_of(self.buffer)[at - 4] = new
        if len(rows) == len(self._sizes):
            self._sizes -= less
        else:
            self._sizes[rows] -= less

    def edit(self, row: int, at: int, size: int, shown: bytes | None) -> None:
        """Have the value at ``at`` in ``row`` read ``shown``, or NULL where lengths can say so."""
        if self._prefixed:
            self._edits.append((at - 4, at + size, row, _NULL if shown is None else _INT.pack(len(shown)) + shown))
        elif shown is not None:
            self._edits.append((at, at + size, row, shown))

    def quiet(self, places: Ints) -> None:
        """Have the bytes at ``places`` not looked at: what was written there is known."""
        self._quiet.append(places)

    def scanned(self) -> bytearray:
        """Return a copy of the batch as it is so far, in which what was cut out or is not to be looked at is zero."""
        if self._buffer is None:
            return bytearray(self.raw)
        scan = bytearray(self._buffer)
        octets = np.frombuffer(scan, np.uint8)
        for begin, end in self._cuts:
            blank(octets, begin, end - begin)
        for places in self._quiet:
            octets[places] = 0
        return scan

    def finished(self) -> bytes:
        """Return the messages, with the lengths that they have now."""
        if not self._edits and not self._cuts:
            return self.raw if self._buffer is None else bytes(self._buffer)
        sizes, (begins, ends) = self._sizes, self._sorted_cuts()
        if self._edits:
            rows, less = zip(*[(row, end - begin - len(shown)) for begin, end, row, shown in self._edits], strict=True)
            sizes = sizes.copy()
            np.subtract.at(sizes, np.array(rows), np.array(less))
        words_of(self.buffer)[self.starts + 1] = sizes + 4
        if self._edits:
            return self._rebuilt([*zip(begins.tolist(), ends.tolist(), itertools.repeat(b""))])
        data = self.buffer
        if len(begins) * _SPARSE > len(data):
            keep = np.ones(len(data), np.bool_)
            blank(keep, begins, ends - begins)
            return self.octets[keep].tobytes()
        rests = zip([0, *ends.tolist()], [*begins.tolist(), len(data)], strict=True)
        return b"".join([data[end:begin] for end, begin in rests])

    def _sorted_cuts(self) -> tuple[Ints, Ints]:
        """Return where everything that is cut out begins and ends, in order: none of it overlaps."""
        if len(self._cuts) < 2:
            return self._cuts[0] if self._cuts else (self.starts[:0], self.starts[:0])
        begin, end = (np.concatenate(each) for each in zip(*self._cuts, strict=True))
        return np.sort(begin), np.sort(end)

    def _rebuilt(self, cuts: list[tuple[int, int, bytes]]) -> bytes:
        """Return the buffer with what was edited in its place, and without ``cuts``."""
        changes = sorted([*cuts, *[(begin, end, shown) for begin, end, _, shown in self._edits]])
        begins, ends, shown = zip(*changes, strict=True)
        data = self.buffer
        pieces: list[Any] = [b""] * (2 * len(changes) + 1)
        pieces[::2] = [data[last:first] for last, first in zip((0, *ends), (*begins, len(data)), strict=True)]
        pieces[1::2] = shown
        return b"".join(pieces)


def spread(at: Ints, length: Ints) -> Ints:
    """Return every position of the ranges that begin at ``at``."""
    offset = np.repeat(at - (np.cumsum(length) - length), length)
    return offset + np.arange(len(offset))


def blank(data: Any, at: Ints, size: Ints) -> None:
    """Write zeros over the values at ``at``; a size below 1 is none."""
    if not len(size):
        return
    if int(size.max()) <= _NARROW:
        widths = np.bincount(np.maximum(size, 0)).nonzero()[0].tolist()
        if len(widths) <= _SEVERAL:
            for width in filter(None, widths):
                items(data, width)[at if len(widths) == 1 else at[size == width]] = np.void(width)
            return
    np.frombuffer(data, np.uint8)[spread(at, np.maximum(size, 0))] = 0
