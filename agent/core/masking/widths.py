"""How wide bytes are on a terminal, and replacements that are exactly as wide as what they replace.

What a program has counted stays where the program believes it is: columns of a table, the lines of an editor, the cursor behind
a prompt. Escape sequences and control characters inside a value keep their places, so a colour that begins in the middle of a
secret still ends behind it. The price is that a screen shows how long a secret was, which a file or a pipe does not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from agent.core.masking.detectors import Detectors
from agent.core.masking.patterns import bytewise

#: What takes no room: control sequences, strings and other escapes (ECMA-48 §5), and C0 controls.
SILENT: Final = (
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]"
    rb"|\x1b\[?[0-?]*[ -/]*|[\x00-\x1a\x1c-\x1f\x7f]"
)
_TOKEN: Final = re.compile(rb"[ -~]+|[\xc2-\xf4][\x80-\xbf]{1,3}|[\x80-\xff]|" + SILENT)
_ELSEWHERE: Final = bytewise(rb"\x1b(?:\[[0-9;:?]*[A-JLMSTZade-gr-u`]|[78DEMc])")
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_STAR: Final = b"*"
_BLANK: Final = bytes(byte if chr(byte).isspace() else 0x2A for byte in range(256))


def tokens(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield every part of ``data`` with its place and its width in cells; controls have none."""
    for match in _TOKEN.finditer(data):
        part = match.group()
        yield match.start(), part, _cells(part)


def width(data: bytes) -> int:
    """Return how many cells ``data`` fills."""
    if not data.translate(None, _PRINTABLE):
        return len(data)
    return sum(cells for _, _, cells in tokens(data))


class SameWidth:
    """The form of replacements on a terminal."""

    def __init__(self, detectors: Detectors) -> None:
        self._detectors = detectors

    def instead(self, name: str, value: bytes, seen: int) -> bytes:
        """Return what covers ``value[seen:]``, cell by cell."""
        if seen:
            # A replacement may keep what tells values apart (the last digits of a card): not beside the rest, which was shown.
            return stars(value[seen:])
        replacement = self._detectors.replacement(name, value)
        if not value.translate(None, _PRINTABLE):
            return sized(replacement, len(value))
        glyphs = sized(replacement, width(value))
        out: list[bytes] = []
        at = 0
        for _, part, cells in tokens(value):
            out.append(glyphs[at : at + cells] if cells or part[0] >= 0x80 else part)
            at += cells
        return b"".join(out)

    def more(self, data: bytes) -> bytes:
        """Return stars for what is visible of ``data``."""
        return stars(data)

    def reach(self, data: bytes) -> int:
        """Return where the cursor goes elsewhere: what follows stands beside something else, as the screen tells."""
        move = _ELSEWHERE.search(data) if b"\x1b" in data else None
        return len(data) if move is None else int(move.start())


def sized(replacement: bytes, cells: int) -> bytes:
    """Return ``replacement`` (ASCII) in exactly ``cells`` cells: with more stars, or with nothing but stars."""
    missing = cells - len(replacement)
    if missing < 0:
        return _STAR * cells
    dot = replacement.rfind(b"*.")
    cut = dot + 1 if dot >= 0 else len(replacement)
    return replacement[:cut] + _STAR * missing + replacement[cut:]


def stars(data: bytes) -> bytes:
    """Return ``data`` with a star in each cell that is not blank."""
    if not data.translate(None, _PRINTABLE):
        return data.translate(_BLANK)
    out: list[bytes] = []
    for _, part, cells in tokens(data):
        if part[0] >= 0x80:
            out.append(_STAR * cells)
        else:
            out.append(part.translate(_BLANK) if cells else part)
    return b"".join(out)


def _cells(part: bytes) -> int:
    first = part[0]
    if first < 0x20 or first == 0x7F:
        return 0
    if first < 0x80:
        return len(part)
    try:
        char = part.decode()
    except UnicodeDecodeError:
        return len(part)
    return sum(char_cells(each) for each in char)


def char_cells(char: str) -> int:
    """Return how many cells a terminal gives to one character (UAX 11; marks and format characters have none)."""
    if unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
