"""Folding: reading through the disguises that text wears on its way to a screen.

A secret with a colour code in its middle, digits of another script, ``%40`` for ``@``, JSON ``\\u0040`` or a bytea in hex is the
same secret. ``fold`` decodes these one layer deep and remembers where every folded byte came from. Base64, compression and
encryption are out of scope: what decodes them is a program, not a screen.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, Final

import re2  # type: ignore[import-untyped]

from agent.core.masking.patterns import options, seeking

_DISGUISES: Final = (
    r"\x1b(?:\[[0-9;:?]{0,64}[@-~]|[()][AB012]|[=>78])",  # ANSI sequences
    r"[^\P{Nd}0-9]",  # digits of other scripts
    # characters that take no room: soft hyphen, joiners, direction marks, variation selectors, byte order mark
    r"[\x{ad}\x{34f}\x{61c}\x{180e}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2069}\x{fe00}-\x{fe0f}\x{feff}]",
    r"[\x{a0}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]",  # spaces
    r"[\x{2010}-\x{2015}\x{2043}\x{2212}\x{fe58}\x{fe63}]",  # dashes
    r"[\x{ff01}-\x{ff5e}\x{fe52}\x{fe6b}\x{2024}\x{3002}\x{ff61}]",  # full width and small forms, ideographic stops
    r"%[2-7][0-9A-Fa-f]",
    r"&(?:#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})|commat|period|plus|hyphen|dash|nbsp|lowbar|sol|equals|shy|zwj|zwnj);",
    r"\\+u[0-9a-fA-F]{4}",
    r"\\+x(?:[0-9a-fA-F]{2}){1,200}",
    r"\\+[/nrt\"]",
)
_FOLD: Final = re2.compile("|".join(_DISGUISES).encode(), options(latin1=False))
_SEEK: Final = seeking(_FOLD)

#: The beginning of a disguise that the end of a buffer has cut.
PARTIAL: Final = re2.compile(
    rb"(?:\x1b(?:\[[0-9;:?]{0,64})?|%[2-7]?|&[#A-Za-z0-9]{0,9}|\\+(?:u[0-9a-fA-F]{0,3}|x(?:[0-9a-fA-F]{2})*[0-9a-fA-F]?)?|[\xc2-\xf4][\x80-\xbf]{0,2})\z",
    options(latin1=True),
)

_DASHES: Final = frozenset(map(chr, (*range(0x2010, 0x2016), 0x2043, 0x2212, 0xFE58, 0xFE63)))
_STOPS: Final = {chr(0xFE52): ".", chr(0xFE6B): "@", chr(0x2024): ".", chr(0x3002): ".", chr(0xFF61): "."}
#: Every disguise of ASCII begins with one of these. Looking for a byte is ten times as fast as looking for a pattern.
_LEADS: Final = (b"\x1b", b"\\", b"%", b"&")
#: Every other disguise begins with one of these bytes of UTF-8. Most letters of Latin, Greek, Cyrillic and Chinese do not.
_FAR_LEADS: Final = tuple(bytes((byte,)) for byte in b"\xc2\xcd\xd8\xd9\xdb\xdf\xe0\xe1\xe2\xe3\xea\xef\xf0")
#: So many bytes for each of them, and each is looked at for itself.
_SPARSE: Final = 24
#: The same disguises in ASCII, of which text can be full: a match costs a fifth of what it does there. Backslashes that disguise
#: nothing are matched as well, all in a row, so that nobody looks at each of them. Nothing is tried twice: it matches with
#: whatever it finds behind them. (Possessive repeats say so, and find what is not there in Python 3.11.2, which is Debian 12's.)
_ASCII: Final = re.compile(
    rb"\x1b(?:\[[0-9;:?]{0,64}[@-~]|[()][AB012]|[=>78])"
    rb"|%[2-7][0-9A-Fa-f]"
    rb"|&(?:#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})|commat|period|plus|hyphen|dash|nbsp|lowbar|sol|equals|shy|zwj|zwnj);"
    rb"|\\+(?:u[0-9a-fA-F]{4}|x(?:[0-9a-fA-F]{2}){1,200}|[/nrt\"])?"
)
_BACKSLASH, _ESCAPE = b"\\\x1b"
#: What is met so often that nothing is worked out.
_COMMON: Final = (
    {b"\\n": b"\n", b"\\r": b"\r", b"\\t": b"\t", b"\\/": b"/", b'\\"': b'"'}
    | {f"%{high}{low}".encode(): bytes.fromhex(high + low) for high in "234567" for low in "0123456789ABCDEFabcdef"}
    | {
        char.encode(): plain
        for plain, chars in (
            (b"-", "\u2010\u2011\u2012\u2013\u2014\u2212"),
            (b" ", "\xa0\u2009\u202f\u3000"),
            (b"", "\xad\u200b\ufeff"),
        )
        for char in chars
    }
)
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "/": "/", '"': '"'}


class Folded:
    """Folded text, and the way back, which is worked out when somebody asks for it: most text holds nothing."""

    __slots__ = ("_original", "_pieces", "_plains", "_starts", "_strides", "data", "spans")

    def __init__(
        self, data: bytes, original: bytes, spans: list[tuple[int, int]], plains: list[bytes], strides: dict[int, int]
    ) -> None:
        """``plains`` are what ``spans`` stand for; ``strides`` how many bytes make one of those, where that is not all."""
        self.data = data
        self.spans = spans
        """Where the disguises are, in order."""
        self._original = original
        self._plains = plains
        self._strides = strides
        self._pieces: list[tuple[int, int, int, int]] = []
        self._starts: list[int] = []

    @property
    def pieces(self) -> list[tuple[int, int, int, int]]:
        """First folded byte, original start, original end, bytes per folded byte."""
        pieces = self._pieces
        if pieces:
            return pieces
        size = at = 0
        for place, ((start, end), plain) in enumerate(zip(self.spans, self._plains, strict=True)):
            if start > at:
                pieces.append((size, at, start, 1))
                size += start - at
            if plain:
                stride = self._strides.get(place)
                first = start if stride is None else end - len(plain) * stride
                pieces.append((size, first, end, end - start if stride is None else stride))
                size += len(plain)
            at = end
        pieces.append((size, at, len(self._original), 1))
        self._starts = [piece[0] for piece in pieces]
        return pieces

    def start(self, at: int) -> int:
        """Return where the folded byte ``at`` begins in the original."""
        pieces = self.pieces
        first, start, end, stride = pieces[bisect_right(self._starts, at) - 1]
        return min(start + (at - first) * stride, end)

    def end(self, at: int) -> int:
        """Return where the folded byte before ``at`` ends in the original."""
        pieces = self.pieces
        first, start, end, stride = pieces[bisect_right(self._starts, at - 1) - 1]
        return min(start + (at - first) * stride, end)

    def outside(self, original: int) -> int:
        """Return ``original``, or where the escape sequence ends that it lies inside of: its letters belong to no word."""
        place = bisect_right(self.spans, (original,)) - 1
        if place < 0:
            return original
        start, end = self.spans[place]
        if self._original[start] != _ESCAPE:
            return original
        return end if start < original < end else original

    def at(self, original: int) -> int:
        """Return the first folded byte that comes from ``original`` or behind it."""
        if original <= self.spans[0][0]:
            return original
        for first, start, end, stride in self.pieces:
            if original < end:
                return first + max(0, original - start + stride - 1) // stride
        return len(self.data)


def disguised(data: bytes) -> bool:
    """Return False where ``data`` cannot wear a disguise."""
    # Spelled out, because it is asked about every value: a loop takes longer than all that is asked.
    return not data.isascii() or b"%" in data or b"\\" in data or b"&" in data or b"\x1b" in data


def fold(data: bytes) -> Folded | None:
    """Return ``data`` without its disguises, or None if it wears none. Linear; the result is never longer than ``data``."""
    if not disguised(data):
        return None
    spans = list(_disguises(data))
    if not spans:
        return None
    out: list[bytes] = []
    strides: dict[int, int] = {}
    common = _COMMON.get
    at = 0
    for start, end in spans:
        disguise = data[start:end]
        plain = common(disguise)
        if plain is None:
            plain, stride = (b"", 0) if disguise[0] == _ESCAPE else _plain(disguise)
            if stride > 1:
                strides[len(out) // 2] = stride
        out += (data[at:start], plain)
        at = end
    plains = out[1::2]
    out.append(data[at:])
    return Folded(b"".join(out), data, spans, plains, strides)


def _disguises(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the disguises in ``data`` begin and end, in order."""
    if not data.isascii() and any(lead in data for lead in _FAR_LEADS):
        start, end = _SEEK(data, 0)
        while start >= 0:
            yield start, end
            start, end = _SEEK(data, end)
        return
    # To count one byte takes ten times as long as to see that there is none.
    leads = [lead for lead in _LEADS if lead in data]
    if sum(map(data.count, leads)) * _SPARSE > len(data):
        found: Iterable[re.Match[bytes]] = _ASCII.finditer(data)
    else:
        found = _at_leads(data, leads)
    for match in found:
        start, end = match.span()
        if data[end - 1] != _BACKSLASH or data[start] != _BACKSLASH:
            yield start, end


def _at_leads(data: bytes, leads: list[bytes]) -> Iterator[re.Match[bytes]]:
    places: list[int] = []
    for lead in leads:
        at = data.find(lead)
        while at >= 0:
            places.append(at)
            at = data.find(lead, at + 1)
    at = 0
    for place in sorted(places):
        if place >= at and (match := _ASCII.match(data, place)) is not None:
            yield match
            at = match.end()


def plain(data: bytes) -> bytes:
    """Return ``data`` without its disguises."""
    folded: Any = fold(data)
    return data if folded is None else folded.data


def _plain(disguise: bytes) -> tuple[bytes, int]:
    """Return what ``disguise`` stands for, and how many of its bytes make one of those if that is more than one (else 0)."""
    lead = disguise[0]
    if lead == 0x1B:
        return b"", 0
    if lead == 0x25:
        return bytes((int(disguise[1:], 16),)), 0
    if lead == 0x26:
        return _folded_text(html.unescape(disguise.decode())), 0
    if lead == 0x5C:
        rest = disguise.lstrip(b"\\")
        if rest[:1] == b"x":
            return bytes.fromhex(rest[1:].decode()), 2
        return _folded_text(chr(int(rest[1:], 16)) if rest[:1] == b"u" else _CONTROLS[rest.decode()]), 0
    return _folded_text(disguise.decode()), 0


def _folded_text(text: str) -> bytes:
    char = text[0]
    if char in _DASHES:
        return b"-"
    category = unicodedata.category(char)
    if category == "Nd":
        return b"%d" % unicodedata.decimal(char)
    if category in ("Cf", "Mn") or 0xD800 <= ord(char) <= 0xDFFF:
        return b""
    if category == "Zs":
        return b" "
    return _STOPS.get(char, unicodedata.normalize("NFKC", char)[:1] if ord(char) >= 0xFF00 else char).encode()
