"""How many columns of a terminal a character takes (UAX #11, UAX #44), and how what cannot be seen is shown."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

#: What changes how other characters are read and is nothing itself: a line must look like what it is.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@lru_cache(maxsize=4096)
def shown(char: str) -> str:
    """Return what stands on the screen for ``char``: itself, or its name where it would act instead of showing."""
    if char < " " or char == "\x7f":
        return "^" + chr(ord(char) ^ 0x40)
    return f"<{ord(char):04X}>" if unicodedata.category(char) in _UNSEEN else char


@lru_cache(maxsize=4096)
def width(char: str) -> int:
    """Return the columns that ``shown(char)`` takes. A line feed is the layout's business."""
    if " " <= char <= "~":
        return 1
    seen = shown(char)
    if len(seen) > 1:
        return len(seen)
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
