"""Bound values as a record can hold them: decoded where the type is known, shortened where they are long. Pure.

Whatever is shortened keeps the SHA-256 of the whole, so that the operation's digest still names exactly these values.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Callable
from typing import Final

from agent.protocols.postgres.messages import Bind

#: Longest value that a record holds whole, and the most that all values of one statement take, in characters.
VALUE_LIMIT: Final = 1_024
VALUES_LIMIT: Final = 64 * 1024
_SHOWN: Final = 256

#: Days and microseconds between 1970-01-01 and PostgreSQL's own epoch.
_EPOCH_DAYS: Final = 10_957


def _number(form: str) -> Callable[[bytes], str]:
    read = struct.Struct(form)

    def decode(data: bytes) -> str:
        (value,) = read.unpack(data)
        return str(value)

    return decode


def _text(data: bytes) -> str:
    return data.decode()


#: Binary forms by type OID (pg_type.dat): bool, bytea, char, name, int8, int2, int4, text, oid, json, xml, float4, float8, …
_BINARY: Final[dict[int, Callable[[bytes], str]]] = {
    16: lambda data: "t" if data == b"\1" else "f",
    17: lambda data: "\\x" + data.hex(),
    18: _text,
    19: _text,
    20: _number(">q"),
    21: _number(">h"),
    23: _number(">i"),
    25: _text,
    26: _number(">I"),
    114: _text,
    142: _text,
    700: _number(">f"),
    701: _number(">d"),
    1042: _text,
    1043: _text,
    2950: lambda data: str(uuid.UUID(bytes=data)),
    3802: lambda data: data[1:].decode(),
}


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
    if len(data) > VALUE_LIMIT:
        shown = data[:_SHOWN].decode(errors="replace") if form == 0 else "\\x" + data[: _SHOWN // 2].hex()
        return f"{shown}… ({len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()})"
    decode = _BINARY.get(kind) if form else _text
    try:
        # Quotes tell a text that reads NULL from the absence of a value.
        shown = decode(data) if decode else f"\\x{data.hex()} (binary, type {kind})"
    except (UnicodeDecodeError, struct.error, ValueError):
        shown = f"\\x{data.hex()} (not readable as type {kind})"
    return "'NULL'" if shown == "NULL" else shown
