"""Which numbers of a column could be a payment card's and do not look like one, hundreds at a time.

Read one by one (``values.Scrubber``), a number is a secret where its digits are a card's, and no card has fewer than fourteen.
Drivers that ask for binary results ask for every key and amount in this form, and nearly all of them are shorter. What is left
is read one by one; custom patterns may look for any number, so with them everything is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from agent.core.masking.batch import Batch, Bools, Ints, items
from agent.core.masking.classes import MaskFault

#: The least number of fourteen digits.
_LONG: Final = 10**13
#: Of a numeric's groups of four digits, those in front of the point are one more than its weight.
_LONG_WEIGHT: Final = 3

Suspects = Callable[[bytes, Ints, Ints], Bools]


def integers(raw: bytes, at: Ints, size: Ints) -> Bools:
    """Return which of the int8 values at ``at`` have fourteen digits or more. Raises MaskFault for another size than theirs."""
    value = _eight(raw, at, size).view(">i8")
    suspects: Bools = (value >= _LONG) | (value <= -_LONG)
    return suspects


def floats(raw: bytes, at: Ints, size: Ints) -> Bools:
    """Return the same of float8. What is no number is among them."""
    suspects: Bools = ~(np.abs(_eight(raw, at, size).view(">f8")) < _LONG)
    return suspects


def numerics(raw: bytes, at: Ints, size: Ints) -> Bools:
    """Return which of the numeric values could have fourteen digits in front of their point: digit count, weight, sign, scale."""
    if (size < 8).any():
        raise MaskFault("a numeric is shorter than its head")
    head = items(raw, 4)[at].view(">i2").reshape(-1, 2)
    if (size != 8 + 2 * (head[:, 0].astype(np.int64) & 0xFFFF)).any():
        raise MaskFault("a numeric has a wrong length")
    suspects: Bools = head[:, 1] >= _LONG_WEIGHT
    return suspects


def powers(batch: Batch, at: Ints, size: Ints) -> Ints:
    """Return the rows of which the float8, as text, has an exponent. PostgreSQL writes one from 1e+15 on, and for tiny ones."""
    end, found = at + np.maximum(size, 0), np.zeros(len(at), np.bool_)
    for sign in b"eE":
        places = batch.places(sign)
        if len(places):
            found |= places.searchsorted(at) != places.searchsorted(end)
    rows: Ints = found.nonzero()[0]
    return rows


def _eight(raw: bytes, at: Ints, size: Ints) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    if (size != 8).any():
        raise MaskFault("a binary number must have 8 bytes")
    found: np.ndarray[tuple[int], np.dtype[np.void]] = items(raw, 8)[at]
    return found


#: By the shape of the type (``pgtypes``).
SUSPECTS: Final[dict[str, Suspects]] = {"integer": integers, "float": floats, "numeric": numerics}
