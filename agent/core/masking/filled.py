"""Values that are a secret from their first byte to their last, hundreds at a time.

A column in which the detectors find the same again and again (addresses that nobody tagged) would cost some microseconds a value.
Here the usual shapes of such values are recognised by comparing numbers. Only what the detectors would certainly call a secret,
and all of it, is recognised: whatever is unusual is left to them, and a test holds both against each other.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Final

import numpy as np

from agent.core.masking.batch import Batch, Bools, Ints, item, items
from agent.core.masking.checks import NOT_DOMAINS

_LETTERS: Final = np.isin(np.arange(256), np.frombuffer(string.ascii_letters.encode(), np.uint8))
_DIGITS: Final = np.isin(np.arange(256), np.frombuffer(b"0123456789", np.uint8))
_AT, _DOT, _ODD, _ZERO = 0x40, 0x2E, 0x78, 0x30
#: What names and domains of usual addresses consist of; everything else is odd.
_USUAL: Final = bytes(0x30 if byte in b"@.-" + (string.ascii_letters + string.digits).encode() else _ODD for byte in range(256))
#: A longer name may be the beginning of something else that the detectors know, and so may one that begins like these.
_LONGEST_NAME: Final = 24
_SHORT_NAME: Final = 12
_BEGINNINGS: Final = (b"xox", b"xap", b"eyJ", b"AKI", b"ASI", b"git")
_TLDS: Final = range(2, 11)
_SSN: Final = (b"000-00-0000", b"000 00 0000")
_CARDS: Final = (b"0" * 16, b"0000 0000 0000 0000", b"0000-0000-0000-0000")
_SHAPE: Final = bytes(0x30 if byte in b"0123456789" else byte if byte in b" -" else _ODD for byte in range(256))


def emails(batch: Batch, at: Ints, size: Ints) -> Bools:
    """Return which of the values are an address."""
    octets, end = np.frombuffer(batch.raw, np.uint8), at + size
    signs, dots, odd = batch.places(_AT), batch.places(_DOT), batch.strange(_USUAL, _ODD)
    if not len(signs) or not len(dots):
        return np.zeros(len(at), np.bool_)
    first, dot_at = signs.searchsorted(at), dots.searchsorted(end)
    sign, dot = signs.take(first, mode="clip"), dots.take(dot_at - 1, mode="clip")
    name, tld = sign - at, end - 1 - dot
    good: Bools = (signs.searchsorted(end) - first == 1) & (dot_at > 0) & (odd.searchsorted(at) == odd.searchsorted(end))
    good &= (name > 0) & (name <= _LONGEST_NAME) & (dot > sign + 1) & (tld >= _TLDS[0]) & (tld <= _TLDS[-1])
    found = good.nonzero()[0]
    at, name, tld, dot = at[found], name[found], tld[found], dot[found]
    usual = _LETTERS[octets[at]] & ((name <= _SHORT_NAME) | ~(_DIGITS[octets[at + 2]] & _DIGITS[octets[at + 3]]))
    begins = items(batch.raw, 3)[at]
    for beginning in _BEGINNINGS:
        usual &= begins != item(beginning)
    for width in np.bincount(tld).nonzero()[0].tolist():
        group = (tld == width).nonzero()[0]
        text = np.ascontiguousarray(items(batch.raw, width)[dot[group] + 1]).view(np.uint8)
        letters = _LETTERS[text].reshape(-1, width).all(axis=1)
        labels = (text | 0x20).view(f"V{width}")
        for label in NOT_DOMAINS:
            if len(label) == width:
                letters &= labels != item(label)
        usual[group] &= letters
    good[found] = usual
    return good


def ssns(batch: Batch, at: Ints, size: Ints) -> Bools:
    """Return which of the values are a Social Security number (see ``checks``)."""
    good = np.zeros(len(at), np.bool_)
    found = _shaped(batch, at, size, _SSN)
    digits = _digits(batch, at[found], 11, [0, 1, 2, 4, 5, 7, 8, 9, 10])
    area = digits[:, 0] * 100 + digits[:, 1] * 10 + digits[:, 2]
    good[found] = (area > 0) & (area != 666) & (area < 900) & digits[:, 3:5].any(axis=1) & digits[:, 5:].any(axis=1)
    return good


def cards(batch: Batch, at: Ints, size: Ints) -> Bools:
    """Return which of the values are a payment card's number of sixteen digits (see ``checks.card``)."""
    good = np.zeros(len(at), np.bool_)
    for shape in _CARDS:
        found = _shaped(batch, at, size, (shape,))
        if not len(found):
            continue
        digits = _digits(batch, at[found], len(shape), [place for place, byte in enumerate(shape) if byte == _ZERO])
        lead = digits[:, :4] @ np.array([1000, 100, 10, 1])
        known = ((lead >= 4000) & (lead <= 5899)) | ((lead >= 2221) & (lead <= 2720)) | ((lead >= 3528) & (lead <= 3589))
        known |= (lead == 6011) | ((lead >= 6200) & (lead <= 6599)) | ((lead >= 6700) & (lead <= 6799))
        doubled = digits[:, ::2] * 2
        luhn = digits[:, 1::2].sum(axis=1) + (doubled - 9 * (doubled > 9)).sum(axis=1)
        good[found] = known & (luhn % 10 == 0) & (digits != digits[:, :1]).any(axis=1)
    return good


def _shaped(batch: Batch, at: Ints, size: Ints, shapes: tuple[bytes, ...]) -> Ints:
    """Return which of the values have one of ``shapes``, which are all of one size."""
    width = len(shapes[0])
    found = (size == width).nonzero()[0]
    texts = np.ascontiguousarray(items(batch.raw, width)[at[found]]) if len(found) else np.empty(0, f"V{width}")
    read = np.frombuffer(texts.tobytes().translate(_SHAPE), texts.dtype)
    alike = np.zeros(len(found), np.bool_)
    for shape in shapes:
        alike |= read == item(shape)
    shaped: Ints = found[alike]
    return shaped


def _digits(batch: Batch, at: Ints, width: int, places: list[int]) -> Ints:
    """Return the digits at ``places`` of values of ``width`` bytes: a row for each."""
    texts = np.ascontiguousarray(items(batch.raw, width)[at]).view(np.uint8).reshape(-1, width)
    return texts[:, places].astype(np.int64) - _ZERO


#: What recognises a class. Others are always left to the detectors.
FILLED: Final[dict[str, Callable[[Batch, Ints, Ints], Bools]]] = {"email": emails, "ssn": ssns, "card": cards}
