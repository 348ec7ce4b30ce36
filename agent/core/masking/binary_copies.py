"""COPY TO STDOUT in PostgreSQL's binary format, cut anywhere: a header, rows of typed values, and a mark behind the last.

A row is written as the body of a DataRow is, and PostgreSQL sends one in each message. So batches of messages that are whole rows
are masked as those of a SELECT are (``rows``), and everything else is taken off the front of what has arrived, row by row. The
lengths say how much is missing, so nothing is looked at twice, and a length that cannot be is a fault before it is waited for.

Nothing else passes: neither what extends the header, nor flags that a reader would have to know (rows with OIDs), nor anything
behind the mark. Source: "COPY", section Binary Format.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from agent.core.masking.batch import Ints
from agent.core.masking.classes import MaskFault, Report
from agent.core.masking.detectors import Detectors
from agent.core.masking.pgtypes import BUILT_IN, Catalog
from agent.core.masking.rows import Column, RowMasker

#: A row longer than this is not waited for. PostgreSQL's own limit for a value is 1 GiB.
LONGEST_ROW: Final = 64 << 20
#: Messages from which on they are masked at once.
_FEW: Final = 8
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00"
_HEADER: Final = len(_SIGNATURE) + 8
#: Flags that a reader has to know of: bits 16 to 31.
_CRITICAL: Final = 0xFFFF0000
_MARK: Final = b"\xff\xff"
_FRAME: Final = 5
_INT: Final = struct.Struct(">i")
_FLAGS: Final = struct.Struct(">II")
_MESSAGE: Final = struct.Struct(">cI")


class BinaryCopy:
    """Masks one COPY. ``columns`` are in the order of the data."""

    def __init__(
        self,
        columns: Sequence[Column],
        detectors: Detectors,
        reveal: frozenset[str] = frozenset(),
        *,
        catalog: Catalog = BUILT_IN,
    ) -> None:
        self._rows = RowMasker([one._replace(form=1) for one in columns], detectors, reveal, catalog=catalog, copied=True)
        self._count: Final = len(columns)
        self._width: Final = len(columns).to_bytes(2, "big")
        self._held = bytearray()
        self._needed = _HEADER
        """Bytes that have to be there before there is anything to look at."""
        self._walked = 0
        """Of the row that ``_held`` begins with: how far its lengths are known, and of how many values."""
        self._values = 0
        self._begun = False
        self._ended = False

    def report(self) -> Report:
        """Return how many values of each class were replaced since the last report."""
        return self._rows.report()

    def feed(self, data: bytes) -> bytes:
        """Take the content of a CopyData message and return what is whole by now: header, masked rows, the mark at the end."""
        held = self._held
        held += data
        if len(held) < self._needed:
            return b""
        out: list[bytes] = []
        at = 0
        if not self._begun:
            at = self._header()
            out.append(bytes(held[:at]))
        while not self._ended:
            end = self._row_end(at)
            if end is None:
                break
            row = bytes(memoryview(held)[at:end])
            out.append(row if self._ended else self._rows.row(row))
            at = end
        if self._ended and at != len(held):
            raise MaskFault("bytes follow the end of binary COPY data")
        del held[:at]
        return b"".join(out)

    def end(self) -> bytes:
        """Return nothing. Raises MaskFault if the data has ended before its mark."""
        if not self._ended:
            raise MaskFault("binary COPY data ends early")
        return b""

    def messages(self, raw: bytes, starts: Ints) -> bytes:
        """Return ``raw``, which is CopyData messages that begin at ``starts``, masked: the same object where nothing changes.

        Messages that are rows stay what they are: clients take each for one.
        """
        out: list[bytes] = []
        place, alike = 0, True
        while place < len(starts):
            if alike and len(starts) - place >= _FEW and self._begun and not (self._held or self._ended):
                shown = self._batch(raw, starts[place:])
                if shown is not None:
                    out.append(shown)
                    break
                alike = False
            start, end = int(starts[place]), int(starts[place + 1]) if place + 1 < len(starts) else len(raw)
            shown = self.feed(raw[start + _FRAME : end])
            if shown:
                out += (_MESSAGE.pack(b"d", len(shown) + 4), shown)
            place += 1
        return out[0] if len(out) == 1 else b"".join(out)

    def _batch(self, raw: bytes, starts: Ints) -> bytes | None:
        """Return messages as they can be shown that are rows, and the mark perhaps; None where a row is not one message."""
        first, last = int(starts[0]), int(starts[-1])
        marked = raw[last + _FRAME :] == _MARK
        end = last if marked else len(raw)
        rows = raw[first:end]
        try:
            shown = self._rows.mask_framed(rows, (starts[:-1] if marked else starts) - first)
        except MaskFault:
            return None  # what is wrong with it, if anything is, shows row by row
        self._ended = marked
        if shown is rows and not first:
            return raw
        return shown + raw[end:]

    def _header(self) -> int:
        """Return the length of the header, which is checked: signature, flags, length of an extension that nobody knows."""
        if self._held[: len(_SIGNATURE)] != _SIGNATURE:
            raise MaskFault("binary COPY data does not begin with its signature")
        flags, extension = _FLAGS.unpack_from(self._held, len(_SIGNATURE))
        if flags & _CRITICAL or extension:
            raise MaskFault("the header of binary COPY data says that rows hold more than values")
        self._begun = True
        return _HEADER

    def _row_end(self, at: int) -> int | None:
        """Return where the row at ``at`` ends, or the mark; None where it is not whole, with what is needed to go on."""
        held = self._held
        there = len(held) - at
        if not self._walked:
            if there < 2:
                self._needed = 2
                return None
            width = held[at : at + 2]
            if width == _MARK:
                self._ended, self._needed = True, 0
                return at + 2
            if width != self._width:
                raise MaskFault("a row of COPY data has another number of columns than its description")
            self._walked, self._values = 2, 0
        while self._values < self._count:
            if there < self._walked + 4:
                self._needed = self._walked + 4
                return None
            (size,) = _INT.unpack_from(held, at + self._walked)
            if not -1 <= size <= LONGEST_ROW - self._walked:
                raise MaskFault("a value of COPY data has an impossible length")
            self._walked += 4 + max(size, 0)
            self._values += 1
        if there < self._walked:
            self._needed = self._walked
            return None
        end, self._walked = at + self._walked, 0
        return end
