"""Other people's text, made safe to look at: what cannot be seen, or changes how the rest is seen, is named instead of obeyed.

Escaping keeps markup from being markup. It does not help against characters that a browser obeys or leaves out: terminal
commands, overrides of the writing direction (Unicode TR36 and "Trojan Source", CVE-2021-42574), zero-width letters, spaces that
are no spaces, and marks that pile up on one letter until they cover its neighbours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

import msgspec

#: How much is shown before somebody asks for all of it, in characters and in lines.
FIRST: Final = 2_000
LINES: Final = 30
#: Marks on one letter that are shown; Vietnamese and Hebrew need two or three.
_MARKS: Final = 4
#: Letters that have no ink: Hangul fillers, the combining grapheme joiner, the blank Braille pattern, Khmer inherent vowels,
#: Mongolian variation selectors, Khitan's filler, and a note without a head.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u034f\u2800\u17b4\u17b5\u180b\u180c\u180d\u180f\U00016fe4\U0001d159")
_NAMED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_KEPT: Final = frozenset("\n\t")


class Piece(msgspec.Struct, frozen=True):
    """A run of text that may be shown, or the name of one character that may not (``U+202E``, with what Unicode calls it)."""

    text: str
    label: str = ""


class Shown(msgspec.Struct, frozen=True):
    """A text's beginning, its rest, and how long it is altogether."""

    first: list[Piece]
    rest: list[Piece]
    length: int
    hidden: int
    """How many characters of it are named instead of shown."""


def shown(text: str, first: int = FIRST, lines: int = LINES) -> Shown:
    """Return ``text`` for display, cut in two where it is long."""
    cut = _cut(text, first, lines)
    begin, rest = list(pieces(text[:cut])), list(pieces(text[cut:]))
    return Shown(begin, rest, len(text), sum(1 for piece in [*begin, *rest] if piece.label))


def one_line(text: str, limit: int) -> str:
    """Return ``text`` as one bounded line of visible characters, for messages and tables."""
    flat = " ".join(visible(text[: limit * 4]).split())
    return flat if len(flat) <= limit and len(text) <= limit * 4 else f"{flat[: limit - 1]}…"


def visible(text: str) -> str:
    """Return all of ``text``, in which what cannot be seen stands as its name in brackets."""
    return "".join(f"[{piece.text}]" if piece.label else piece.text for piece in pieces(text))


def pieces(text: str) -> Iterator[Piece]:
    """Yield ``text`` in runs."""
    run: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if _visible(character, category) and marks <= _MARKS:
            run.append(character)
            continue
        if run:
            yield Piece("".join(run))
            run = []
        yield Piece(f"U+{ord(character):04X}", unicodedata.name(character, "control character"))
    if run:
        yield Piece("".join(run))


def _visible(character: str, category: str) -> bool:
    if character in _KEPT or character == " ":
        return True
    if category in _NAMED or character in _BLANK or category == "Zs":
        return False
    # Variation selectors carry data that nobody sees.
    return not ("\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef")


def _cut(text: str, first: int, lines: int) -> int:
    end = -1
    for _ in range(lines):
        end = text.find("\n", end + 1, first)
        if end < 0:
            return min(len(text), first)
    return end
