"""Text from elsewhere, made safe to print.

Names, messages and reasons come from a server and, behind it, from other people. On a terminal a text can move the cursor,
rewrite what was printed before, or reorder letters, so only what is visible survives: escape sequences go first, whole, then
every control, format, surrogate, private and separator character that is left (Unicode categories C*, Zl and Zp).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: The longest text from elsewhere that is printed in one piece, in characters.
TEXT_LIMIT: Final = 4_000

#: ECMA-48 control strings (OSC, DCS, SOS, PM, APC), control sequences, and two-character escapes.
_SEQUENCE: Final = re.compile(
    r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_SPELLED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: Hangul fillers, the combining grapheme joiner, Khmer inherent vowels, Mongolian and other variation selectors, the blank
#: Braille pattern, Khitan's filler, and a note without a head.
_WITHOUT_INK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
#: Marks on one letter that can be read; Vietnamese and Hebrew need two or three.
_MARKS: Final = 4
_BLANK: Final = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return ``text`` as one line that can only be read: no controls, no escape sequences, no reordering."""
    if text.isascii() and text.isprintable():
        return _cut(text, limit)
    text = _BLANK.sub(" ", _SEQUENCE.sub("", text))
    return _cut("".join(character for character in text if _visible(character)), limit)


def visible(text: str, cells: int) -> str:
    """Return ``text`` as data on one line, cut to ``cells``: what :func:`clean` leaves out stands there as an escape to read."""
    text = text[: cells + 1]
    if not (text.isascii() and text.isprintable()):
        text = "".join(_SPELLED.get(each) or (each if _stands(each) else _spelled(each)) for each in text)
    return shorten(text, cells)


def reads_as_it_is(text: str) -> bool:
    """Tell whether ``text``, line by line as :func:`clean_lines` shows it, looks like nothing but what it is.

    Not so where something is left out, where a line ends by anything but a line feed, and where something has no ink: a space
    that is none, a letter without a shape, a variation selector, or marks that pile up on one letter.
    """
    if text.isascii():
        return text.replace("\n", "").replace("\t", "").isprintable()
    return all(each in "\n\t" or _stands(each) for each in text) and _WITHOUT_INK.search(text) is None and not _piled(text)


def clean_lines(text: str, limit: int = TEXT_LIMIT) -> list[str]:
    """Return ``text`` as lines, each one clean. Line breaks are the only layout that survives."""
    return [clean(line, limit) for line in text.splitlines()]


def counted(number: int, what: str) -> str:
    """Return ``1 chunk`` or ``2 chunks``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def width(text: str) -> int:
    """Return how many terminal cells a clean ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def shorten(text: str, cells: int) -> str:
    """Return ``text`` cut to ``cells`` terminal cells, with an ellipsis where something is missing."""
    if width(text) <= cells:
        return text
    kept: list[str] = []
    room = cells - 1
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…" if cells > 0 else ""


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _piled(text: str) -> bool:
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks > _MARKS:
            return True
    return False


def _stands(character: str) -> bool:
    # A mark without a letter, or a space of another width, would be seen as something else.
    return character == " " or unicodedata.category(character)[0] not in "CZ"


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _visible(character: str) -> bool:
    # Co (private use) may be drawn as anything by a patched font; Cn is not a character yet.
    return unicodedata.category(character)[0] != "C"


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
