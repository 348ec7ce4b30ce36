"""PostgreSQL's types as masking needs them: what kind of value an OID is, and the constant that stands for a masked one.

A constant is valid for the type's input function (text) and receive function (binary), so that a driver decodes it and a cast
accepts it. OIDs of built-in types are fixed (``pg_type.dat``); those of extensions and user types differ per database, so an
engine that has looked them up passes a catalog. A type that nobody knows, and an enum, cannot be masked validly: their constant
is NULL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Shape = Literal["text", "char", "json", "jsonb", "bytea", "number", "integer", "numeric", "float", "record", "constant", "opaque"]


class Kind(msgspec.Struct, frozen=True):
    """``text`` and ``binary`` are the constants of the two formats (None is NULL); ``size`` is a binary value's fixed length."""

    shape: Shape
    text: bytes | None = None
    binary: bytes | None = None
    size: int = 0


def _fixed(shape: Shape, text: bytes, binary: bytes) -> Kind:
    return Kind(shape, text, binary, len(binary))


TEXT: Final = Kind("text")
OPAQUE: Final = Kind("opaque")
_RANGE: Final = Kind("constant", b"empty", b"\x01")
_MULTIRANGE: Final = Kind("constant", b"{}", bytes(4))
_UUID: Final = b"00000000-0000-4000-8000-000000000000"

KINDS: Final[Mapping[int, Kind]] = {
    16: _fixed("constant", b"f", b"\x00"),  # bool
    17: Kind("bytea", b"\\x", b""),
    18: Kind("char", b"*", b"*"),
    **dict.fromkeys((19, 25, 705, 1042, 1043), TEXT),  # name, text, unknown, bpchar, varchar
    20: _fixed("integer", b"0", bytes(8)),
    21: _fixed("constant", b"0", bytes(2)),
    23: _fixed("constant", b"0", bytes(4)),
    26: _fixed("constant", b"0", bytes(4)),  # oid
    114: Kind("json"),
    142: Kind("text", b"<masked/>", b"<masked/>"),  # xml
    650: Kind("constant", b"0.0.0.0/32", b"\x02\x20\x01\x04\x00\x00\x00\x00"),  # cidr
    700: _fixed("constant", b"0", bytes(4)),
    701: _fixed("float", b"0", bytes(8)),
    774: _fixed("constant", b"00:00:00:00:00:00:00:00", bytes(8)),  # macaddr8
    790: _fixed("constant", b"$0.00", bytes(8)),  # money
    829: _fixed("constant", b"00:00:00:00:00:00", bytes(6)),  # macaddr
    869: Kind("constant", b"0.0.0.0", b"\x02\x20\x00\x04\x00\x00\x00\x00"),  # inet
    1082: _fixed("constant", b"2000-01-01", bytes(4)),  # date
    1083: _fixed("constant", b"00:00:00", bytes(8)),  # time
    1114: _fixed("constant", b"2000-01-01 00:00:00", bytes(8)),  # timestamp
    1184: _fixed("constant", b"2000-01-01 00:00:00+00", bytes(8)),  # timestamptz
    1186: _fixed("constant", b"00:00:00", bytes(16)),  # interval
    1266: _fixed("constant", b"00:00:00+00", bytes(12)),  # timetz
    1560: Kind("constant", b"0", b"\x00\x00\x00\x01\x00"),  # bit
    1562: Kind("constant", b"0", b"\x00\x00\x00\x01\x00"),  # varbit
    1700: Kind("numeric", b"0", bytes(8)),
    2249: Kind("record"),
    2950: _fixed("constant", _UUID, bytes.fromhex(_UUID.replace(b"-", b"").decode())),
    3614: Kind("constant", b"", bytes(4)),  # tsvector
    3802: Kind("jsonb"),
    **dict.fromkeys((3904, 3906, 3908, 3910, 3912, 3926), _RANGE),
    **dict.fromkeys((4451, 4532, 4533, 4534, 4535, 4536), _MULTIRANGE),
}

#: Array types and the type of their elements.
ELEMENTS: Final[Mapping[int, int]] = {
    1000: 16, 1001: 17, 1002: 18, 1003: 19, 1005: 21, 1007: 23, 1009: 25, 1014: 1042, 1015: 1043, 1016: 20, 1021: 700, 1022: 701,
    1028: 26, 1040: 829, 1041: 869, 651: 650, 1115: 1114, 1182: 1082, 1183: 1083, 1185: 1184, 1187: 1186, 1231: 1700, 1270: 1266,
    2951: 2950, 199: 114, 3807: 3802, 143: 142, 791: 790, 775: 774, 1561: 1560, 1563: 1562, 2287: 2249, 3643: 3614,
    3905: 3904, 3907: 3906, 3909: 3908, 3911: 3910, 3913: 3912, 3927: 3926,
}  # fmt: skip

#: Types whose values hold nothing that a detector looks for, in either format.
HARMLESS: Final = frozenset(oid for oid, kind in KINDS.items() if kind.shape == "constant" and oid != 3614) | frozenset(
    array for array, element in ELEMENTS.items() if KINDS[element].shape == "constant" and element != 3614
)


class Catalog(msgspec.Struct, frozen=True):
    """What one database says about its own types: which are text (citext, and domains over text), arrays, and composites."""

    texts: frozenset[int] = frozenset()
    arrays: Mapping[int, int] = {}
    records: frozenset[int] = frozenset()

    def kind(self, oid: int) -> Kind:
        """Return the kind of the type ``oid``; what is not known is opaque."""
        known = KINDS.get(oid)
        if known is not None:
            return known
        if oid in self.texts:
            return TEXT
        return KINDS[2249] if oid in self.records else OPAQUE

    def element(self, oid: int) -> int | None:
        """Return the element type of the array type ``oid``, or None if it is no array."""
        return ELEMENTS.get(oid) or self.arrays.get(oid)


BUILT_IN: Final = Catalog()
