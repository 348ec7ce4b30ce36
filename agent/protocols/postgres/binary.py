"""PostgreSQL's binary forms as the text that the server itself would show. Pure.

Source: the ``*_send`` functions of PostgreSQL (``src/backend/utils/adt``), and pg_type.dat for the numbers.

Types of the database's own have numbers that mean nothing here. Arrays and rows say themselves what is in them, and an enum's
value is its label; whatever is neither stays bytes.
"""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import math
import struct
import uuid
from collections.abc import Callable
from typing import Final

import numpy as np

_EPOCH: Final = datetime.datetime(2000, 1, 1)  # noqa: DTZ001 - PostgreSQL's own, without a zone
_DATE_ENDS: Final = {2**31 - 1: "infinity", -(2**31): "-infinity"}
_MOMENT_ENDS: Final = {2**63 - 1: "infinity", -(2**63): "-infinity"}
_NUMERIC: Final = struct.Struct(">HhHH")
_NEGATIVE: Final = 0x4000
_SPECIAL: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_ARRAY: Final = struct.Struct(">iiI")
_BOUNDS: Final = struct.Struct(">ii")
_SIZE: Final = struct.Struct(">i")
_MEMBER: Final = struct.Struct(">Ii")
_INTERVAL: Final = struct.Struct(">qii")
#: What an element of an array, or a member of a row, is quoted for.
_QUOTED: Final = frozenset('{}",\\ \t\n\r\v\f')
_ROW_QUOTED: Final = frozenset('()",\\ \t\n\r\v\f')
#: Dimensions that an array has at most (MAXDIM).
_MOST_DIMENSIONS: Final = 6
#: The first number that a type of a database's own may have (FirstNormalObjectId).
OWN: Final = 16_384

Reader = Callable[[bytes], str]


def _number(form: str) -> Reader:
    read = struct.Struct(form)

    def decode(data: bytes) -> str:
        (value,) = read.unpack(data)
        return str(value)

    return decode


def _float(form: str) -> Reader:
    read = struct.Struct(form)

    def decode(data: bytes) -> str:
        (value,) = read.unpack(data)
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        # As many digits as tell it from its neighbours, which are fewer where it has four bytes; with an exponent from there on.
        exact = decimal.Decimal(str(np.float32(value)) if read.size == 4 else repr(value)).normalize()
        if -4 <= exact.adjusted() < (6 if read.size == 4 else 15):
            return f"{exact:f}"
        sign, digits, _ = exact.as_tuple()
        fraction = "".join(map(str, digits[1:]))
        return f"{'-' if sign else ''}{digits[0]}{'.' if fraction else ''}{fraction}e{exact.adjusted():+03}"

    return decode


def _text(data: bytes) -> str:
    return data.decode()


def _date(data: bytes) -> str:
    (days,) = struct.unpack(">i", data)
    return _DATE_ENDS.get(days) or str((_EPOCH + datetime.timedelta(days=days)).date())


def _moment(zone: str) -> Reader:
    def decode(data: bytes) -> str:
        (micros,) = struct.unpack(">q", data)
        if micros in _MOMENT_ENDS:
            return _MOMENT_ENDS[micros]
        days, rest = divmod(micros, 86_400_000_000)
        return f"{(_EPOCH + datetime.timedelta(days=days)).date()} {_clock(rest)}{zone}"

    return decode


def _clock(micros: int) -> str:
    """Hours may be more than 24, and midnight is 24:00:00 where it ends a day."""
    seconds, part = divmod(micros, 1_000_000)
    fraction = f".{part:06}".rstrip("0") if part else ""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def _time(data: bytes) -> str:
    (micros,) = struct.unpack(">q", data)
    if not 0 <= micros <= 86_400_000_000:
        raise ValueError("a time of day that there is not")
    return _clock(micros)


def _time_there(data: bytes) -> str:
    """The zone is seconds west of Greenwich."""
    (west,) = struct.unpack(">i", data[8:])
    east = abs(west)
    minutes, seconds = east // 60 % 60, east % 60
    zone = f"{east // 3600:02}" + (f":{minutes:02}" if minutes or seconds else "") + (f":{seconds:02}" if seconds else "")
    return f"{_time(data[:8])}{'-' if west > 0 else '+'}{zone}"


def _interval(data: bytes) -> str:
    """The style ``postgres``: what is positive behind something negative has its sign."""
    micros, days, months = _INTERVAL.unpack(data)
    parts: list[str] = []
    below = False
    years = int(months / 12)
    for count, unit in ((years, "year"), (months - 12 * years, "mon"), (days, "day")):
        if count:
            parts.append(f"{'+' if below and count > 0 else ''}{count} {unit}{'' if count == 1 else 's'}")
            below = count < 0
    if micros or not parts:
        sign = "-" if micros < 0 else "+" if below else ""
        parts.append(sign + _clock(abs(micros)))
    return " ".join(parts)


def _address(data: bytes) -> str:
    family, bits, network, size = data[:4]
    if size != len(data) - 4 or size != {2: 4, 3: 16}.get(family):
        raise ValueError("an address of another shape")
    shown = str(ipaddress.ip_address(data[4:]))
    return shown if bits == size * 8 and not network else f"{shown}/{bits}"


def _hardware(data: bytes) -> str:
    return data.hex(":")


def _bits(data: bytes) -> str:
    (count,) = _SIZE.unpack_from(data)
    if not 0 <= count <= (len(data) - 4) * 8:
        raise ValueError("fewer bits than there should be")
    return "".join(f"{byte:08b}" for byte in data[4:])[:count]


def _position(data: bytes) -> str:
    high, low = struct.unpack(">II", data)
    return f"{high:X}/{low:X}"


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
    """Any dimensions, of elements that can be read."""
    dimensions, flags, kind = _ARRAY.unpack_from(data)
    if dimensions == 0 and len(data) == _ARRAY.size:
        return "{}"
    if not 0 < dimensions <= _MOST_DIMENSIONS or flags not in (0, 1):
        raise ValueError("an array of another shape")
    at = _ARRAY.size
    sizes, bounds = [], []
    for _ in range(dimensions):
        size, first = _BOUNDS.unpack_from(data, at)
        at += _BOUNDS.size
        sizes.append(size)
        bounds.append((first, first + size - 1))
    if 0 in sizes and at == len(data):
        return "{}"
    if min(sizes) < 1 or math.prod(sizes) > len(data) // 4:
        raise ValueError("an array of another shape")
    shown: list[str] = []
    for _ in range(math.prod(sizes)):
        (size,) = _SIZE.unpack_from(data, at)
        at += 4
        shown.append("NULL" if size < 0 else _element(_inner(kind, data[at : at + size], size)))
        at += max(size, 0)
    if at != len(data):
        raise ValueError("an array of another shape")
    for size in reversed(sizes):
        shown = ["{" + ",".join(shown[place : place + size]) + "}" for place in range(0, len(shown), size)]
    usual = all(first == 1 for first, _ in bounds)
    return shown[0] if usual else "".join(f"[{first}:{last}]" for first, last in bounds) + "=" + shown[0]


def _inner(kind: int, data: bytes, size: int) -> str:
    read = BINARY.get(kind)
    if len(data) != size or (read is None and kind < OWN):
        raise ValueError("an element that cannot be read")
    return read(data) if read is not None else own(data)


def _element(shown: str) -> str:
    if shown and shown.upper() != "NULL" and _QUOTED.isdisjoint(shown):
        return shown
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _record(data: bytes) -> str:
    """A row, which names the types of its members."""
    (count,) = _SIZE.unpack_from(data)
    if not 0 < count <= len(data) // _MEMBER.size:
        raise ValueError("a row of another shape")
    shown, at = [], 4
    for _ in range(count):
        kind, size = _MEMBER.unpack_from(data, at)
        at += _MEMBER.size
        shown.append("" if size < 0 else _member(_inner(kind, data[at : at + size], size)))
        at += max(size, 0)
    if at != len(data):
        raise ValueError("a row of another shape")
    return "(" + ",".join(shown) + ")"


def _member(shown: str) -> str:
    if shown and _ROW_QUOTED.isdisjoint(shown):
        return shown
    return '"' + shown.replace("\\", "\\\\").replace('"', '""') + '"'


def _range(kind: int) -> Reader:
    def decode(data: bytes) -> str:
        flags, at = data[0], 1
        if flags & 1:
            return "empty"
        ends: list[str] = []
        for infinite in (flags & 8, flags & 16):
            if infinite:
                ends.append("")
                continue
            (size,) = _SIZE.unpack_from(data, at)
            at += 4
            ends.append(_member(_inner(kind, data[at : at + size], size)))
            at += size
        if at != len(data):
            raise ValueError("a range of another shape")
        return f"{'[' if flags & 2 else '('}{ends[0]},{ends[1]}{']' if flags & 4 else ')'}"

    return decode


def own(data: bytes) -> str:
    """Return a value of a type that only its database knows. Raises ValueError where it may be anything."""
    for read in (_array, _record):
        try:
            return read(data)
        except (ValueError, struct.error, IndexError, RecursionError):
            continue
    shown = data.decode()  # UnicodeDecodeError is a ValueError
    if not shown.isprintable() or not shown:
        raise ValueError("not the label of an enum")
    return shown


#: What reads the binary form of a type, by its OID.
BINARY: Final[dict[int, Reader]] = {
    16: lambda data: "t" if data == b"\1" else "f",
    17: lambda data: "\\x" + data.hex(),
    20: _number(">q"),
    21: _number(">h"),
    23: _number(">i"),
    650: _address,
    700: _float(">f"),
    701: _float(">d"),
    774: _hardware,
    829: _hardware,
    869: _address,
    1082: _date,
    1083: _time,
    1114: _moment(""),
    1184: _moment("+00"),
    1186: _interval,
    1266: _time_there,
    1560: _bits,
    1562: _bits,
    1700: _numeric,
    2249: _record,
    2950: lambda data: str(uuid.UUID(bytes=data)),
    3220: _position,
    3802: lambda data: data[1:].decode(),
    4072: lambda data: data[1:].decode(),
    5069: _number(">Q"),
    **dict.fromkeys((18, 19, 25, 114, 142, 705, 1042, 1043), _text),
    # Numbers of things: object, transaction, command, function, relation, type, role, schema, …
    **dict.fromkeys((24, 26, 28, 29, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191), _number(">I")),
    **{
        kind: _range(element)
        for kind, element in ((3904, 23), (3906, 1700), (3908, 1114), (3910, 1184), (3912, 1082), (3926, 20))
    },
    **dict.fromkeys(
        (
            143, 199, 651, 775, 1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1011, 1012, 1014, 1015, 1016, 1021, 1022, 1028,
            1040, 1041, 1115, 1182, 1183, 1185, 1187, 1231, 1270, 1561, 1563, 2207, 2208, 2209, 2210, 2211, 2287, 2951, 3221,
            3807, 3905, 3907, 3909, 3911, 3913, 3927, 4073, 4090, 4097, 4192, 271,
        ),
        _array,
    ),
}  # fmt: skip
