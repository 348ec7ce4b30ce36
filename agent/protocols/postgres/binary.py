"""PostgreSQL's binary forms as the text that the server itself would show. Pure.

Source: the ``*_send`` functions of PostgreSQL (``src/backend/utils/adt``), and pg_type.dat for the numbers.
"""

from __future__ import annotations

import datetime
import struct
import uuid
from collections.abc import Callable
from typing import Final

_EPOCH: Final = datetime.datetime(2000, 1, 1)  # noqa: DTZ001 - PostgreSQL's own, without a zone
_DATE_ENDS: Final = {2**31 - 1: "infinity", -(2**31): "-infinity"}
_MOMENT_ENDS: Final = {2**63 - 1: "infinity", -(2**63): "-infinity"}
_NUMERIC: Final = struct.Struct(">HhHH")
_NEGATIVE: Final = 0x4000
_SPECIAL: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_ARRAY: Final = struct.Struct(">iiIii")
_SIZE: Final = struct.Struct(">i")
#: What an element of an array is quoted for.
_QUOTED: Final = frozenset('{}",\\ \t\n\r\v\f')

Reader = Callable[[bytes], str]


def _number(form: str) -> Reader:
    read = struct.Struct(form)

    def decode(data: bytes) -> str:
        (value,) = read.unpack(data)
        return str(value)

    return decode


def _text(data: bytes) -> str:
    return data.decode()


def _date(data: bytes) -> str:
    (days,) = struct.unpack(">i", data)
    return _DATE_ENDS.get(days) or str((_EPOCH + datetime.timedelta(days=days)).date())


def _moment(zone: str) -> Reader:
    def decode(data: bytes) -> str:
        (micros,) = struct.unpack(">q", data)
        return _MOMENT_ENDS.get(micros) or f"{_EPOCH + datetime.timedelta(microseconds=micros)}{zone}"

    return decode


def _time(data: bytes) -> str:
    (micros,) = struct.unpack(">q", data)
    return str((_EPOCH + datetime.timedelta(microseconds=micros)).time())


def _numeric(data: bytes) -> str:
    """Groups of four digits, the first of them worth 10000 to the ``weight``; ``scale`` digits are shown behind the point."""
    count, weight, sign, scale = _NUMERIC.unpack_from(data)
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    groups = struct.unpack_from(f">{count}H", data, 8)
    if not -2_000 < weight < 2_000 or scale > 2_000:
        raise ValueError("a numeric of impossible size")
    whole = "".join(f"{groups[at] if at < count else 0:04}" for at in range(weight + 1)).lstrip("0") or "0"
    rest = "".join(f"{groups[at] if 0 <= at < count else 0:04}" for at in range(weight + 1, weight + 2 + scale // 4))
    return ("-" if sign == _NEGATIVE else "") + whole + (f".{rest[:scale]}" if scale else "")


def _array(data: bytes) -> str:
    """One dimension, of elements that can be read."""
    if data[:4] == b"\0\0\0\0":
        return "{}"
    dimensions, _, kind, count, _ = _ARRAY.unpack_from(data)
    read = BINARY.get(kind)
    if dimensions != 1 or read is None or not 0 <= count <= len(data) // 4:
        raise ValueError("an array of another shape")
    shown, at = [], _ARRAY.size
    for _ in range(count):
        (size,) = _SIZE.unpack_from(data, at)
        at += 4
        shown.append("NULL" if size < 0 else _element(read(data[at : at + size])))
        at += max(size, 0)
    return "{" + ",".join(shown) + "}"


def _element(shown: str) -> str:
    if shown and shown.upper() != "NULL" and _QUOTED.isdisjoint(shown):
        return shown
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


#: What reads the binary form of a type, by its OID.
BINARY: Final[dict[int, Reader]] = {
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
    1082: _date,
    1083: _time,
    1114: _moment(""),
    1184: _moment("+00"),
    1700: _numeric,
    2950: lambda data: str(uuid.UUID(bytes=data)),
    3802: lambda data: data[1:].decode(),
    **dict.fromkeys((1000, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1028, 1115, 1182, 1185, 1231, 2951), _array),
}
