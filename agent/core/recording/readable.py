"""What a person can read in bytes that are no text: an archive's names, a program's messages. What strings(1) would print.

    7f 45 4c 46 … /lib64/ld-linux-x86-64.so.2 00 … puts      ──►  ./lib64/ld-linux-x86-64.so.2.

Runs of fewer than :data:`SHORTEST` characters are chance: every third byte is one. Whatever lies between two runs is one dot,
however long it is, so that a recording of bytes costs what it tells.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Characters of the shortest run that is kept.
SHORTEST: Final = 6

#: Runs for each so many bytes, beyond which all bytes are looked at once more rather than each run for itself.
_APART: Final = 128
_DOT: Final = ord(".")


def readable(data: bytes) -> bytes:
    """Return the texts in ``data``, one read of a stream, with a dot for each stretch that is none."""
    size = len(data)
    if size < SHORTEST:
        return b"." if data else b""
    found = np.frombuffer(data, np.uint8)
    # Unsigned: what is below the least of a range is far above its greatest.
    text = (found - np.uint8(0x20)) < 0x7F - 0x20
    text |= (found - np.uint8(0x09)) < 2
    text |= found == 0x0D
    begins = text
    reach = 1
    while reach < SHORTEST:
        step = min(reach, SHORTEST - reach)
        begins = begins[:-step] & begins[step:]
        reach += step
    # Where runs begin and end, as turns: before the first byte, and behind the last place where one may begin, nothing is text.
    edges = np.zeros(len(begins) + 2, np.bool_)
    edges[1:-1] = begins
    turns = np.flatnonzero(edges[1:] != edges[:-1])
    if len(turns) * _APART < 2 * size:
        return _pieces(data, turns.tolist())
    return _all(found, begins)


def _pieces(data: bytes, turns: list[int]) -> bytes:
    """Return the runs of ``data``: each begins at one of ``turns``, and at the next it is shorter than :data:`SHORTEST`."""
    if not turns:
        return b"."
    runs = [data[start : last + SHORTEST - 1] for start, last in zip(turns[::2], turns[1::2], strict=True)]
    told = b".".join(runs)
    ends = turns[-1] + SHORTEST - 1 < len(data)
    return b"%b%b%b" % (b"." if turns[0] else b"", told, b"." if ends else b"")


def _all(found: NDArray[np.uint8], begins: NDArray[np.bool_]) -> bytes:
    """Return the same, in a fixed number of looks at every byte."""
    size = len(found)
    # One byte more, in front, so that a stretch at the very beginning begins too.
    kept = np.zeros(size + 1, np.bool_)
    kept[0] = True
    kept[1 : len(begins) + 1] = begins
    inside = kept[1:]
    reach = 1
    while reach < SHORTEST:
        step = min(reach, SHORTEST - reach)
        inside[step:] |= inside[:-step].copy()
        reach += step
    first = kept[:-1] & ~inside
    told = np.where(first, np.uint8(_DOT), found)
    return told[inside | first].tobytes()
