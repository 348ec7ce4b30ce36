"""Replaces the values of one column where they stand, hundreds at a time, as ``classes.DataClass.replace`` would one by one.

Values of one size are taken together as items of so many bytes. Those whose shape is not the usual one are left to whoever asked,
to be replaced one by one: the functions return their rows.
"""

from __future__ import annotations

import string
from typing import Final

import numpy as np

from agent.core.masking.batch import Batch, Bools, Ints, item, items
from agent.core.masking.classes import DataClass

_LETTER: Final = np.isin(np.arange(256), np.frombuffer(string.ascii_letters.encode(), np.uint8))
_ALNUM: Final = np.isin(np.arange(256), np.frombuffer((string.ascii_letters + string.digits).encode(), np.uint8))
_LETTERS: Final = _LETTER.tobytes()
_AFTER_FIRST: Final = b"***@***."
_LONGEST_TLD: Final = 24
_AT, _DOT, _STAR = 0x40, 0x2E, 0x2A
#: What a usual address ends with: so many bytes are looked at for its last label.
_TAIL: Final = 8
_AFTER: Final = item(_AFTER_FIRST)
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
    """Replace the values that begin at ``at``, one in each of ``rows``; return the rows that are left to be done one by one."""
    if how.shape == "mailbox":
        return _mailboxes(batch, at, size, rows)
    if how.shape == "whole":
        return constant(batch, at, size, rows, how.whole)
    return _starred(batch, at, size, rows, how)


def constant(batch: Batch, at: Ints, size: Ints, rows: Ints, shown: bytes) -> Ints:
    """Write ``shown`` over the values that are long enough; return the rows of the others."""
    room = size >= len(shown)
    left = rows[:0]
    if np.count_nonzero(room) != len(room):
        rows, left, at, size = rows[room], rows[~room], at[room], size[room]
    items(batch.buffer, len(shown))[at] = item(shown)
    batch.shorten(rows, at, size, len(shown))
    return left


def _mailboxes(batch: Batch, at: Ints, size: Ints, rows: Ints) -> Ints:
    """``alice@mail.example.com`` → ``a***@***.com``: what is behind the last dot moves to the front."""
    sign = batch.places(_AT)
    if len(sign) != len(at):
        return _unusual(batch, at, size, rows)
    raw, end = np.frombuffer(batch.raw, np.uint8), at + size
    tail = np.frombuffer(items(batch.raw, _TAIL)[end - _TAIL].tobytes().translate(_LETTERS), np.bool_).reshape(-1, _TAIL)
    tld = tail[:, ::-1].argmin(axis=1)
    dot = end - 1 - tld
    # What is in front of the last letters is the last dot of the only address in the row, if it is a dot.
    usual = (at < sign) & (sign < dot) & (size > len(_AFTER_FIRST) + tld) & (tld > 0) & (raw[dot] == _DOT)
    # An empty value may stand at the very end.
    usual &= _ALNUM[raw.take(at, mode="clip")]
    left = rows[:0]
    if np.count_nonzero(usual) != len(usual):
        left = _unusual(batch, at[~usual], size[~usual], rows[~usual])
        rows, at, size, end, tld = rows[usual], at[usual], size[usual], end[usual], tld[usual]
    for wide in _distinct(tld):
        group = slice(None) if len(left) == 0 and int(tld.min()) == int(tld.max()) else (tld == wide).nonzero()[0]
        items(batch.buffer, wide)[at[group] + (1 + len(_AFTER_FIRST))] = items(batch.raw, wide)[end[group] - wide]
    items(batch.buffer, len(_AFTER_FIRST))[at + 1] = _AFTER
    batch.quiet(at + (1 + _AFTER_FIRST.index(b"@")))
    batch.shorten(rows, at, size, tld + (1 + len(_AFTER_FIRST)))
    return left


def _unusual(batch: Batch, at: Ints, size: Ints, rows: Ints) -> Ints:
    """Replace addresses among whatever else the rows hold."""
    signs, dots, end = batch.places(_AT), batch.places(_DOT), at + size
    if not len(signs) or not len(dots):
        return rows
    first, behind, dot_at = signs.searchsorted(at), signs.searchsorted(end), dots.searchsorted(end)
    sign, dot = signs.take(first, mode="clip"), dots.take(dot_at - 1, mode="clip")
    tld = end - 1 - dot
    shaped = (behind - first == 1) & (dot_at > 0) & (at < sign) & (sign < dot) & (size > len(_AFTER_FIRST) + tld)
    shaped &= (tld > 0) & (tld <= _LONGEST_TLD) & _ALNUM[np.frombuffer(batch.raw, np.uint8).take(at, mode="clip")]
    left = rows[:0]
    if np.count_nonzero(shaped) != len(shaped):
        rows, left, at, size, dot, tld = rows[shaped], rows[~shaped], at[shaped], size[shaped], dot[shaped], tld[shaped]
    good = _moved(batch, dot + 1, at + (1 + len(_AFTER_FIRST)), tld)
    if np.count_nonzero(good) != len(good):
        left = np.concatenate((left, rows[~good]))
        rows, at, size, tld = rows[good], at[good], size[good], tld[good]
    items(batch.buffer, len(_AFTER_FIRST))[at + 1] = item(_AFTER_FIRST)
    batch.quiet(at + 1 + _AFTER_FIRST.index(b"@"))
    batch.shorten(rows, at, size, tld + (1 + len(_AFTER_FIRST)))
    return left


def _moved(batch: Batch, source: Ints, target: Ints, width: Ints) -> Bools:
    """Copy ``width`` bytes from each ``source`` to its ``target`` where all of them are letters; return where they were."""
    good = np.ones(len(source), np.bool_)
    for wide in _distinct(width):
        group = (width == wide).nonzero()[0]
        text = items(batch.raw, wide)[source[group]]
        letters = _LETTER[text.view(np.uint8)].reshape(-1, wide).all(axis=1)
        if np.count_nonzero(letters) != len(letters):
            good[group[~letters]] = False
            group, text = group[letters], text[letters]
        items(batch.buffer, wide)[target[group]] = text
    return good


def _starred(batch: Batch, at: Ints, size: Ints, rows: Ints, how: DataClass) -> Ints:
    """Star all but the last characters of values that have the shape, all of one size at a time."""
    if len(size) >= _SEVERAL and 0 < (width := int(size[0])) <= 2 * how.most and np.count_nonzero(size == width) == len(size):
        return rows[_starred_alike(batch, at, width, how)]
    left = [rows[(size == 0) | (size > 2 * how.most)]]
    for width in _distinct(size[size <= 2 * how.most]):
        group = (size == width).nonzero()[0]
        if len(group) < _SEVERAL:
            left.append(rows[group])
        else:
            left.append(rows[group[_starred_alike(batch, at[group], width, how)]])
    return np.concatenate(left)


def _starred_alike(batch: Batch, at: Ints, width: int, how: DataClass) -> Bools:
    """Star values of one ``width``; return which of them are left."""
    view = items(batch.buffer, width)
    texts = view[at]
    read = texts.tobytes().translate(_TABLES[how.shape])
    if read == read[:width] * len(at):
        stars = _stars(read[:width], how)
        if stars is not None:
            octets = texts.view(np.uint8).reshape(-1, width)
            octets[:, stars] = _STAR
            view[at] = texts
        return np.full(len(at), stars is None)
    shapes = np.frombuffer(read, texts.dtype)
    todo = np.ones(len(at), np.bool_)
    left = np.zeros(len(at), np.bool_)
    for _ in range(_SHAPES):
        if not np.count_nonzero(todo):
            return left
        shape = shapes[int(todo.argmax())]
        alike = shapes == shape
        stars = _stars(shape.tobytes(), how)
        if stars is None:
            left |= alike
        else:
            places = at[alike]
            octets = texts[alike].view(np.uint8).reshape(-1, width)
            octets[:, stars] = _STAR
            view[places] = octets.reshape(-1).view(texts.dtype)
        todo &= ~alike
    return left | todo


def _distinct(numbers: Ints) -> list[int]:
    """Return which numbers other than 0 there are: none of them is large."""
    return [number for number in np.bincount(numbers).nonzero()[0].tolist() if number]


def _stars(shape: bytes, how: DataClass) -> list[int] | None:
    """Return which bytes of a value of ``shape`` are starred, or None if it has not the shape of the class."""
    found = [place for place, byte in enumerate(shape) if byte == 0x30]
    if 0x78 in shape or not how.least <= len(found) <= how.most:
        return None
    return found[: len(found) - how.keep_last]
