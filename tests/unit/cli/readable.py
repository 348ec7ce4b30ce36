"""What a terminal does nothing with but show it, said without the code that makes it so."""

from __future__ import annotations

import unicodedata


def only_read(text: str) -> bool:
    """True where no control, format, surrogate, private or unassigned character and no line break is in ``text``."""
    kinds = {unicodedata.category(character) for character in text}
    return not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
