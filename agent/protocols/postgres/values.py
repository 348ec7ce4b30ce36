"""Bound values as a record can hold them: decoded where the type is known, shortened where they are long. Pure.

Whatever is shortened keeps the SHA-256 of the whole, so that the operation's digest still names exactly these values.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from typing import Final

from agent.protocols.postgres.binary import BINARY, OWN, own
from agent.protocols.postgres.messages import Bind

#: Longest value that a record holds whole, and the most that all values of one statement take, in characters.
VALUE_LIMIT: Final = 1_024
VALUES_LIMIT: Final = 64 * 1024
_SHOWN: Final = 256

#: Days and microseconds between 1970-01-01 and PostgreSQL's own epoch.
_EPOCH_DAYS: Final = 10_957


def _text(data: bytes) -> str:
    return data.decode()


def arguments(bind: Bind, types: tuple[int, ...]) -> tuple[str, ...]:
    """Return the values of ``bind`` for the record, with ``types`` as far as they are known."""
    formats = bind.formats if len(bind.formats) > 1 else (bind.formats or (0,)) * len(bind.values)
    found = tuple(
        "NULL" if value is None else _value(value, form, types[place] if place < len(types) else 0)
        for place, (value, form) in enumerate(zip(bind.values, formats, strict=True))
    )
    if sum(map(len, found)) <= VALUES_LIMIT:
        return found
    whole = hashlib.sha256()
    for value in bind.values:
        whole.update(b"-" if value is None else struct.pack(">I", len(value)) + value)
    return (f"{len(found)} values (sha256 {whole.hexdigest()})",)


def _value(data: bytes, form: int, kind: int) -> str:
    shown = readable(data, form, kind)
    # Quotes tell a text that reads NULL from the absence of a value.
    return "'NULL'" if shown == "NULL" else shown


def readable(data: bytes, form: int, kind: int) -> str:
    """Return a value of the type ``kind`` as text, from its text (``form`` 0) or binary form (1), cut where it is long."""
    if len(data) > VALUE_LIMIT:
        shown = data[:_SHOWN].decode(errors="replace") if form == 0 else "\\x" + data[: _SHOWN // 2].hex()
        return f"{shown}… ({len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()})"
    decode = BINARY.get(kind) if form else _text
    try:
        if decode is not None:
            return decode(data)
    except (UnicodeDecodeError, struct.error, ValueError, OverflowError, IndexError, RecursionError):
        return f"\\x{data.hex()} (not readable as type {kind})"
    if kind >= OWN:
        # What it says of itself, with its number: an auditor can look that up, and it may be a domain of something else.
        with contextlib.suppress(ValueError):
            return f"{own(data)} (type {kind})"
    return f"\\x{data.hex()} ({len(data)} bytes, type {kind})"
