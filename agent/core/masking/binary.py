"""Telling bytes that are no text: archives, images, compressed streams, the packets of another protocol.

They cannot be masked: to replace a part of them is to break them, and what they hold is not written as text is. The question is
asked of each read, so it has to be cheap for text and must not be answered by one strange byte: a log in Latin-1, or names
that end in NUL (``find -print0``, ``/proc/*/environ``), are text that someone can read.
"""

from __future__ import annotations

from typing import Final

from agent.core.masking.patterns import seeker

#: Bytes that no text has, and terminals do not understand either.
_ODD: Final = seeker(rb"[\x01-\x06\x0e-\x1a\x1c-\x1f]")
#: Padding. Lists of names have single NULs.
_PADDING: Final = b"\0\0\0\0"
#: A character that the end of a read has cut has at most three bytes on either side.
_CUT: Final = 3


def binary(data: bytes) -> bool:
    """Return True if ``data``, one read of a stream, is no text: it holds padding, or what neither text nor terminals have."""
    if b"\0" in data:
        # What is no text has most of these soon, and a look for one byte is the cheapest there is.
        return b"\1" in data or b"\2" in data or _ODD(data, 0)[0] >= 0 or _PADDING in data
    if data.isascii() or _decodes(data):
        return False
    return _ODD(data, 0)[0] >= 0


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.start < _CUT or error.start >= len(data) - _CUT:
            return _decodes_inside(data)
        return False
    return True


def _decodes_inside(data: bytes) -> bool:
    start = 0
    while start < min(_CUT, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    end = len(data)
    for back in range(1, min(_CUT, end - start) + 1):
        if data[end - back] >= 0xC0:
            end -= back
            break
        if data[end - back] < 0x80:
            break
    try:
        data[start:end].decode()
    except UnicodeDecodeError:
        return False
    return True
