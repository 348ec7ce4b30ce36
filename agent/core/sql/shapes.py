"""Texts that differ only in what they compare with: ``WHERE id = 7`` and ``WHERE id = 8``. Pure.

A fingerprint joins texts that mean different things (see `template`). A *shape* joins far fewer: it is the text itself, in which
a number or a quoted string is left out only where nothing that `analyse` looks at can depend on it. That is right behind a
comparison, in front of the end of a condition, in a single SELECT, INSERT, UPDATE or DELETE. A constant there is an ``A_Const``
below an ``A_Expr`` (or below the target of an UPDATE), of which the analysis reads no more than that it is one. A position in
ORDER BY, a LIMIT, an argument of a function, a cast, the value of a SET: all of them stay, and so tell two shapes apart.

Texts with anything else that is quoted or commented out have no shape: a lexer would be needed to know what is inside of what.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

Matches = Callable[[str], re.Match[str] | None]

#: Longest text that is worth a shape.
LONGEST: Final = 4_096

#: Quoted names, dollar quotes, escapes, comments, NUL.
_OTHERWISE_QUOTED: Final = re.compile(r"[\"$\\\0]|--|/\*")
_OPERATOR: Final = r"(?<![-+*/<>=~!@#%^&|`?:])(?:=|<>|!=|<=|>=|<|>)\s*"
_END: Final = r"(?=\s*(?:;\s*)?\Z|\s*\)|\s*,|\s+(?:and|or|where|order\s+by|group\s+by|limit|for\s+update|returning)\b)"
#: White space and letters are ASCII's: PostgreSQL's lexer takes every other character for part of a name.
#: A comparison with a constant, or a quoted string that stays: what it holds is not looked at.
_CONSTANT: Final = re.compile(rf"(?ai)({_OPERATOR})(?:[0-9]+|'[^']*'){_END}|'[^']*'")
_KINDS: Final = re.compile(r"(?ai)\s*(?:select|insert|update|delete)\b")


def shape(text: str) -> str | None:
    """Return what `text` has in common with others that are analysed alike, or None where nothing can be left out."""
    if len(text) > LONGEST or _OTHERWISE_QUOTED.search(text) or not _KINDS.match(text):
        return None
    found, count = _CONSTANT.subn(_left_out, text)
    # A quote that is still open, or NUL as a mark of its own, cannot be here: the first would not parse, the second was refused.
    return found if count and found != text else None


def alike(text: str) -> Matches | None:
    """Return what tells of the texts that are `text` but for the numbers in it that its shape leaves out.

    They have one shape, so that they need not be looked at closely. None where the shape leaves out something else, or nothing.
    """
    if shape(text) is None:
        return None
    parts, at = [], 0
    for found in _CONSTANT.finditer(text):
        if found[1] is None:
            continue
        if found[0].endswith("'"):
            return None
        parts.append(re.escape(text[at : found.end(1)]))
        at = found.end()
    return re.compile("[0-9]+".join([*parts, re.escape(text[at:])]), re.ASCII).fullmatch


def number(text: str) -> tuple[int, int] | None:
    """Return where the one number stands that is all that the shape of `text` leaves out; None where it leaves out anything else.

    What stands in front of it is a comparison's operator, and behind it what ends a condition.
    """
    found = [each for each in _CONSTANT.finditer(text) if each[1] is not None] if shape(text) is not None else []
    if len(found) != 1 or found[0][0].endswith("'"):
        return None
    return found[0].end(1), found[0].end()


def _left_out(match: re.Match[str]) -> str:
    operator = match[1]
    return match[0] if operator is None else f"{operator}\0"
