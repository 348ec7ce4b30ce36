"""Where zsh and fish read a line in another way than the grammar that it was classified by.

The classifier reads bash. What the others refuse, or read as a program that nobody knows, is of no concern: it is unknown, or
does not run. This is about text that means one thing to the classifier and another to the shell that runs it.
"""

from __future__ import annotations

import re
from typing import Final

#: Behind a backslash that is not quoted these stand for other characters: ``\x2d`` is a dash.
_FISH_ESCAPES: Final = frozenset("abefnrtvcuUxX01234567")
#: ``> ! f`` writes over f; to the classifier it writes to ``!``.
_ZSH_CLOBBER: Final = re.compile(r">&?!")


def differs(shell: str, line: str) -> bool:
    """Return True where ``shell`` may read ``line`` in another way than it was classified."""
    if shell == "fish":
        return _fish(line)
    return shell == "zsh" and _ZSH_CLOBBER.search(line) is not None


def _fish(line: str) -> bool:
    r"""fish, "Quotes" and "Escaping characters": in single quotes, ``\'`` and ``\\`` are one character; unquoted, more are."""
    quote, at = "", 0
    while at < len(line):
        char, following = line[at], line[at + 1 : at + 2]
        if char == "\\":
            if (quote == "'" and following in {"'", "\\"}) or (not quote and following in _FISH_ESCAPES):
                return True
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        at += 1
    return False
