"""What a person can read in bytes that are no text: an archive's names, a program's messages. What strings(1) would print.

    7f 45 4c 46 … /lib64/ld-linux-x86-64.so.2 00 … puts      ──►  ./lib64/ld-linux-x86-64.so.2.

Runs of fewer than :data:`SHORTEST` characters are chance: every third byte is one. Whatever lies between two runs is one dot,
however long it is, so that a recording of bytes costs what it tells. Inside of a run, a dot stands for what nobody can read
either: a form feed, a vertical tab, a delete.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_Octets = NDArray[np.uint8]
_Places = NDArray[np.int64]

#: Characters of the shortest run that is kept: a pair, and another, and another.
SHORTEST: Final = 6

#: Bytes of a run, on average, from which on each is copied for itself.
_LONG: Final = 64
_DOT: Final = ord(".")
#: What stands inside of a run and is not read.
_INSIDE: Final = bytes.maketrans(b"\v\f\x7f", b"...")


def readable(data: bytes) -> bytes:
    """Return the texts in ``data``, one read of a stream, with a dot for each stretch that is none."""
    size = len(data)
    if size < SHORTEST:
        return b"." if data else b""
    found = np.frombuffer(data, np.uint8)
    # As few looks at all bytes as can be: signed, everything above is negative; unsigned, what is below the first is far above.
    text = found.view(np.int8) > 0x1F
    text |= (found - np.uint8(0x09)) < 5
    pairs = text[:-1] & text[1:]
    fours = pairs[:-2] & pairs[2:]
    # Nothing is text before the first byte, nor behind the last place where a run may begin: so each end of a run is a turn.
    edges = text[: size - SHORTEST + 3]
    np.logical_and(fours[:-2], fours[2:], out=edges[1:-1])
    edges[0] = edges[-1] = False
    turns = (edges[1:] != edges[:-1]).nonzero()[0]
    if not len(turns):
        return b"."
    starts, ends = turns[::2], turns[1::2] + (SHORTEST - 1)
    told = _told(data, found, starts, ends).translate(_INSIDE)
    return told + b"." if ends[-1] < size else told


def _told(data: bytes, found: _Octets, starts: _Places, ends: _Places) -> bytes:
    """Return the runs of ``data``, each behind a dot, but for one at the very beginning."""
    sizes = ends - starts + 1
    upto = sizes.cumsum()
    if upto[-1] > _LONG * len(sizes):
        dotted = b".".join([data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])
        return b"." + dotted if starts[0] else dotted
    # Where runs are short, each would cost more than its bytes do: so where each byte comes from is counted for all at once.
    told: _Octets = found[np.arange(upto[-1]) + (ends - upto).repeat(sizes)]
    told[upto - sizes] = _DOT
    return told.tobytes() if starts[0] else told[1:].tobytes()
