"""What shells write when they quote a value for themselves: bash's ``${x@Q}``, zsh's ``${(qqqq)x}``, fish's URL style."""

from __future__ import annotations

import re
from typing import Final

#: What a letter behind a backslash stands for, in ``$'…'``. zsh keeps its history from an exclamation mark.
_ESCAPES: Final = dict(zip(b"abeEfnrtv\\'\"?!", b"\a\b\x1b\x1b\f\n\r\t\v\\'\"?!", strict=True))
_ESCAPE: Final = re.compile(
    rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|((?:M-)?)((?:C-)?)((?<=-)\\.|.)|$)",
    re.DOTALL,
)
_BARE: Final = re.compile(rb"[^;'$\\]+")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


class UnquotableError(ValueError):
    """That is not what a shell writes."""


def fields(body: bytes) -> list[bytes]:
    """Return the values of what stands between semicolons: ``'a'\\''b'``, ``$'a\\nb'`` or bare words. Raises UnquotableError."""
    found, at = [bytearray()], 0
    while at < len(body):
        if bare := _BARE.match(body, at):
            found[-1] += bare[0]
            at = bare.end()
            continue
        if body.startswith(b"$'", at):
            end = _ansi_end(body, at + 2)
            found[-1] += _ESCAPE.sub(_escape, body[at + 2 : end])
        elif body.startswith(b"'", at):
            end = body.find(b"'", at + 1)
            if end < 0:
                raise UnquotableError
            found[-1] += body[at + 1 : end]
        elif body.startswith(b"\\", at):
            end = at + 1
            if end == len(body):
                raise UnquotableError
            found[-1] += body[end : end + 1]
        else:
            end = at
            if body.startswith(b";", at):
                found.append(bytearray())
            else:
                found[-1] += body[at : at + 1]
        at = end + 1
    return [bytes(each) for each in found]


def unpercent(field: bytes) -> bytes:
    """Return the value of a URL-style field."""
    return _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), field)


def _ansi_end(field: bytes, at: int) -> int:
    while at < len(field):
        if field[at : at + 1] == b"\\":
            at += 2
        elif field[at : at + 1] == b"'":
            return at
        else:
            at += 1
    raise UnquotableError


def _escape(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, short, long, meta, control, char = match.groups()
    if octal:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if short or long:
        code = int(short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise UnquotableError
        return chr(code).encode()
    if char is None:
        raise UnquotableError
    if len(char) == 2:
        char = char[1:]
        code = _ESCAPES.get(char[0], char[0])
    elif meta or control:
        code = char[0]
    elif char[0] in _ESCAPES:
        return bytes([_ESCAPES[char[0]]])
    else:
        raise UnquotableError
    if control:
        code = 127 if code == ord("?") else code & 0x1F
    return bytes([code | 0x80 if meta else code])
