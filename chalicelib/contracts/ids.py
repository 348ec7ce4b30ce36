"""Identifiers: a kind, an underscore and a ULID, such as ``ses_01JD8QZ6T3N0V9C4K2M7X5B1HR``.

Only the control plane mints them (design, invariant 7). A ULID sorts by the millisecond in which it was minted, so that a listing
by identifier is a listing by time. The text is Crockford's base 32 (https://github.com/ulid/spec), upper case.
"""

from __future__ import annotations

import re
from typing import Final

SESSION: Final = "ses"
AGENT: Final = "agt"
EVENT: Final = "evt"
LOGIN: Final = "lgn"
OPERATION: Final = "opr"
REQUEST: Final = "req"
NOTICE: Final = "ntc"
WATCH: Final = "wat"

KINDS: Final = frozenset({SESSION, AGENT, EVENT, LOGIN, OPERATION, REQUEST, NOTICE, WATCH})
ENTROPY_BYTES: Final = 10

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHAPE: Final = re.compile(r"([a-z]{3})_([0-7][0-9A-HJKMNP-TV-Z]{25})")


def mint(kind: str, now_ms: int, entropy: bytes) -> str:
    """Return a new identifier of ``kind`` for the millisecond ``now_ms`` (Unix) and 10 bytes of ``entropy``.

    Raises ValueError for an unknown kind, entropy of another length, or a time outside 48 bits.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of identifier: {kind!r}")
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"an identifier takes {ENTROPY_BYTES} bytes of entropy")
    if not 0 <= now_ms < 1 << 48:
        raise ValueError("an identifier's time is 48 bits of milliseconds")
    number = now_ms << 80 | int.from_bytes(entropy, "big")
    text = "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
    return f"{kind}_{text}"


def is_id(kind: str, text: str) -> bool:
    """Tell whether ``text`` is a well-formed identifier of ``kind``. Says nothing about whether it was ever minted."""
    match = _SHAPE.fullmatch(text)
    return match is not None and match[1] == kind


def minted_ms(identifier: str) -> int:
    """Return the Unix millisecond in which ``identifier`` was minted. Raises ValueError if it is not well-formed."""
    match = _SHAPE.fullmatch(identifier)
    if match is None:
        raise ValueError(f"not an identifier: {identifier!r}")
    number = 0
    for character in match[2]:
        number = number << 5 | _ALPHABET.index(character)
    return number >> 80
