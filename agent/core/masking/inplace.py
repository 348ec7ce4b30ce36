"""Replaces the values of one column where they stand, hundreds at a time, as ``classes.DataClass.replace`` would one by one.

Values of one size are taken together as items of so many bytes. Those whose shape is not the usual one are left to whoever asked,
to be replaced one by one: the functions return their rows.
"""

from __future__ import annotations

import string
from typing import Final

import numpy as np

from agent.core.masking.batch import Batch, Ints, item, items
from agent.core.masking.classes import DataClass

_LETTER: Final = np.isin(np.arange(256), np.frombuffer(string.ascii_letters.encode(), np.uint8))
_ALNUM: Final = np.isin(np.arange(256), np.frombuffer((string.ascii_letters + string.digits).encode(), np.uint8))
_AFTER_FIRST: Final = b"***@***."
_LONGEST_TLD: Final = 24
_AT, _DOT, _STAR = 0x40, 0x2E, 0x2A
#: Rows of one size from which on it pays to take them together.
_SEVERAL: Final = 4
#: Different shapes of one size that are dealt with together; others one by one.
_SHAPES: Final = 4


def _shaping(characters: bytes, separators: bytes) -> bytes:
    """Return the table that makes of a value its shape: ``0`` for what is starred, ``-`` for separators, ``x`` for all else."""
    return bytes(0x30 if byte in characters else 0x2D if byte in separators else 0x78 for byte in range(256))


#: The tables of the shapes that ``DataClass`` stars, with ``*`` among the characters, so that masking again changes nothing.
_TABLES: Final = {
    "digits": _shaping(b"0123456789*", b" -.()/+"),
    "account": _shaping((string.ascii_letters + string.digits + "*").encode(), b" -"),
}


def replace(batch: Batch, at: Ints, size: Ints, rows: Ints, how: DataClass) -> Ints:
    """Replace the values of ``rows``, which begin at ``at``; return the rows that are left to be replaced one by one."""
    if how.shape == "mailbox":
        return _mailboxes(batch, at[rows], size[rows], rows)
    if how.shape == "whole":
        return _whole(batch, at[rows], size[rows], rows, how.whole)
    return _starred(batch, at[rows], size[rows], rows, how)


def _whole(batch: Batch, at: Ints, size: Ints, rows: Ints, shown: bytes) -> Ints:
    room = size >= len(shown)
    items(batch.buffer, len(shown))[at[room]] = item(shown)
    batch.shorten(rows[room], at[room], size[room], np.full(int(room.sum()), len(shown)))
    return rows[~room]


def _mailboxes(batch: Batch, at: Ints, size: Ints, rows: Ints) -> Ints:
    """``alice@mail.example.com`` → ``a***@***.com``: what is behind the last dot moves to the front."""
    signs, dots, end = batch.places(_AT), batch.places(_DOT), at + size
    if not len(signs) or not len(dots):
        return rows
    octets = np.frombuffer(batch.raw, np.uint8)
    first, dot_at = np.searchsorted(signs, at), np.searchsorted(dots, end) - 1
    sign, dot = signs[np.minimum(first, len(signs) - 1)], dots[np.maximum(dot_at, 0)]
    tld = end - dot - 1
    shaped = (np.searchsorted(signs, end) - first == 1) & (dot_at >= 0) & (at < sign) & (sign < dot)
    shaped &= (tld > 0) & (tld <= _LONGEST_TLD) & (size > len(_AFTER_FIRST) + tld)
    shaped &= _ALNUM[octets[np.minimum(at, len(octets) - 1)]]
    target = batch.buffer
    for width in np.unique(tld[shaped]).tolist():
        group = np.flatnonzero(shaped & (tld == width))
        source = items(batch.raw, width)[dot[group] + 1]
        letters = _LETTER[source.view(np.uint8).reshape(-1, width)].all(axis=1)
        if not letters.all():
            shaped[group[~letters]] = False
            group, source = group[letters], source[letters]
        items(target, width)[at[group] + 1 + len(_AFTER_FIRST)] = source
    hit = at[shaped]
    items(target, len(_AFTER_FIRST))[hit + 1] = item(_AFTER_FIRST)
    batch.quiet(hit + 1 + _AFTER_FIRST.index(b"@"))
    batch.shorten(rows[shaped], hit, size[shaped], 1 + len(_AFTER_FIRST) + tld[shaped])
    return rows[~shaped]


def _starred(batch: Batch, at: Ints, size: Ints, rows: Ints, how: DataClass) -> Ints:
    """Star all but the last characters of values that have the shape, all of one size at a time."""
    table, left = _TABLES[how.shape], []
    for width in np.unique(size).tolist():
        group = np.flatnonzero(size == width)
        if not 0 < width <= 2 * how.most or len(group) < _SEVERAL:
            left.append(rows[group])
            continue
        view = items(batch.buffer, width)
        shapes = np.frombuffer(view[at[group]].tobytes().translate(table), f"V{width}")
        for _ in range(_SHAPES):
            if not len(group):
                break
            alike = shapes == shapes[0]
            places, stars = at[group[alike]], _stars(shapes[0].tobytes(), how)
            if stars is None:
                left.append(rows[group[alike]])
            else:
                text = view[places].view(np.uint8).reshape(-1, width)
                text[:, stars] = _STAR
                view[places] = text.reshape(-1).view(f"V{width}")
            group, shapes = group[~alike], shapes[~alike]
        left.append(rows[group])
    return np.concatenate(left) if left else rows[:0]


def _stars(shape: bytes, how: DataClass) -> list[int] | None:
    """Return which bytes of a value of ``shape`` are starred, or None if it has not the shape of the class."""
    found = [place for place, byte in enumerate(shape) if byte == 0x30]
    if 0x78 in shape or not how.least <= len(found) <= how.most:
        return None
    return found[: len(found) - how.keep_last]
