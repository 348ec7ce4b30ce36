"""What a person can read in bytes that are no text: an archive's names, a program's messages. What strings(1) would print.

    7f 45 4c 46 … /lib64/ld-linux-x86-64.so.2 00 … puts      ──►  ./lib64/ld-linux-x86-64.so.2.

Runs of fewer than :data:`SHORTEST` characters are chance: every third byte is one. Whatever lies between two runs is one dot,
however long it is, so that a recording of bytes costs what it tells.
"""

from __future__ import annotations

from typing import Final

import numpy as np

#: Characters of the shortest run that is kept.
SHORTEST: Final = 6

_DOT: Final = ord(".")
#: Printable ASCII and white space are themselves, every other byte is 0; and 1 for each that is kept.
_TEXT: Final = bytes(byte if 32 <= byte < 127 or byte in b"\t\r\n" else 0 for byte in range(256))
_IS_TEXT: Final = bytes(1 if byte else 0 for byte in _TEXT)


def readable(data: bytes) -> bytes:
    """Return the texts in ``data``, one read of a stream, with a dot for each stretch that is none."""
    size = len(data)
    if size < SHORTEST:
        return b"." if data else b""
    begins = np.frombuffer(data.translate(_IS_TEXT), np.uint8)
    reach = 1
    while reach < SHORTEST:
        step = min(reach, SHORTEST - reach)
        begins = begins[:-step] & begins[step:]
        reach += step
    # One byte more, in front, so that a stretch at the very beginning begins too.
    kept = np.zeros(size + 1, np.uint8)
    kept[0] = 1
    kept[1 : len(begins) + 1] = begins
    inside = kept[1:]
    reach = 1
    while reach < SHORTEST:
        step = min(reach, SHORTEST - reach)
        inside[step:] |= inside[:-step].copy()
        reach += step
    found = np.frombuffer(data.translate(_TEXT), np.uint8) * inside
    found += (kept[:-1] & (inside ^ 1)) * np.uint8(_DOT)
    return found.tobytes().translate(None, b"\0")
