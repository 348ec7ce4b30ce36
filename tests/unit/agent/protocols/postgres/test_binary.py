"""Binary forms read as the server's own text."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.postgres.binary import BINARY
from agent.protocols.postgres.values import readable

_DAY = 86_400_000_000


@pytest.mark.parametrize(("kind", "data", "text"), [
    (1082, struct.pack(">i", 9_821), "2026-11-21"),
    (1082, struct.pack(">i", 2**31 - 1), "infinity"),
    (1083, struct.pack(">q", 3_661_000_000), "01:01:01"),
    (1114, struct.pack(">q", -_DAY), "1999-12-31 00:00:00"),
    (1184, struct.pack(">q", _DAY + 1), "2000-01-02 00:00:00.000001+00"),
    (1184, struct.pack(">q", -(2**63)), "-infinity"),
    (1700, struct.pack(">HhHH3H", 3, 1, 0, 2, 1, 2345, 6700), "12345.67"),
    (1700, struct.pack(">HhHH1H", 1, -1, 0x4000, 4, 42), "-0.0042"),
    (1700, struct.pack(">HhHH1H", 1, 2, 0, 0, 5), "500000000"),
    (1700, struct.pack(">HhHH", 0, 0, 0xC000, 0), "NaN"),
    (1007, struct.pack(">iiIii", 1, 1, 23, 2, 1) + struct.pack(">iii", 4, 7, -1), "{7,NULL}"),
    (1009, struct.pack(">iiIii", 1, 0, 25, 2, 1) + struct.pack(">i", 3) + b'a"b' + struct.pack(">i", 0), '{"a\\"b",""}'),
    (1007, struct.pack(">iiI", 0, 0, 23), "{}"),
    (1007, struct.pack(">iiIii", 1, 0, 23, 0, 1), "{}"),
    (1007, struct.pack(">iiIiiii", 2, 0, 23, 2, 1, 1, 1) + struct.pack(">iiii", 4, 1, 4, 2), "{{1},{2}}"),
    (1007, struct.pack(">iiIii", 1, 0, 23, 1, 5) + struct.pack(">ii", 4, 9), "[5:5]={9}"),
    (16, b"\1", "t"),
    (700, struct.pack(">f", 0.1), "0.1"),
    (701, struct.pack(">d", 0.1), "0.1"),
    (701, struct.pack(">d", -3), "-3"),
    (701, struct.pack(">d", float("-inf")), "-Infinity"),
    (700, struct.pack(">f", float("nan")), "NaN"),
    (1083, struct.pack(">q", _DAY), "24:00:00"),
    (1083, struct.pack(">q", 500_000), "00:00:00.5"),
    (1266, struct.pack(">qi", 0, -19_800), "00:00:00+05:30"),
    (1266, struct.pack(">qi", 0, 18_000), "00:00:00-05"),
    (1186, struct.pack(">qii", 0, 0, 0), "00:00:00"),
    (1186, struct.pack(">qii", -1_500_000, 1, -14), "-1 years -2 mons +1 day -00:00:01.5"),
    (1186, struct.pack(">qii", 360_000_000_000, 0, 12), "1 year 100:00:00"),
    (869, b"\2\x20\0\4\x0a\0\0\1", "10.0.0.1"),
    (869, b"\2\x08\0\4\x0a\0\0\1", "10.0.0.1/8"),
    (650, b"\3\x40\1\x10" + bytes(16), "::/64"),
    (829, bytes(range(6)), "00:01:02:03:04:05"),
    (1560, struct.pack(">i", 3) + b"\xa0", "101"),
    (3220, struct.pack(">II", 22, 0xB374D848), "16/B374D848"),
    (3904, b"\x02" + struct.pack(">iiii", 4, 1, 4, 5), "[1,5)"),
    (3904, b"\x01", "empty"),
    (3908, b"\x18", "(,)"),
    (3910, b"\x12" + struct.pack(">iq", 8, 0), '["2000-01-01 00:00:00+00",)'),
    (2249, struct.pack(">iIiiIi", 2, 23, 4, 7, 25, -1), "(7,)"),
    (17_000, b"glad", "glad (type 17000)"),
    (17_000, struct.pack(">iIiiIi", 2, 23, 4, 7, 25, 3) + b'a"b', '(7,"a""b") (type 17000)'),
    (17_001, struct.pack(">iiIii", 1, 0, 17_000, 1, 1) + struct.pack(">i", 5) + b"so so", '{"so so"} (type 17001)'),
    (17_000, struct.pack(">i", 7), "\\x00000007 (4 bytes, type 17000)"),
    (17_000, b"", "\\x (0 bytes, type 17000)"),
    (603, bytes(4), "\\x00000000 (4 bytes, type 603)"),
])  # fmt: skip
def test_a_value_reads_as_the_server_shows_it(kind: int, data: bytes, text: str) -> None:
    assert readable(data, 1, kind) == text


@pytest.mark.parametrize(("kind", "data"), [
    (1082, b"\0"),
    (1114, struct.pack(">q", 2**62)),
    (1700, struct.pack(">HhHH", 9, 0, 0, 0)),
    (1700, struct.pack(">HhHH", 0, 32_000, 0, 0)),
    (1007, struct.pack(">iiIii", 1, 0, 23, 2**30, 1)),
    (1007, struct.pack(">iiIii", 2, 0, 23, 1, 1)),
    (1007, struct.pack(">iiIii", 1, 2, 23, 1, 1) + struct.pack(">ii", 4, 1)),
    (1007, struct.pack(">iiIii", 1, 0, 23, 1, 1) + struct.pack(">ii", 4, 1) + b"x"),
    (1007, struct.pack(">iiIii", 1, 0, 603, 1, 1) + struct.pack(">ii", 4, 1)),
    (1083, struct.pack(">q", _DAY + 1)),
    (869, b"\2\x20\0\4\x0a"),
    (1560, struct.pack(">i", 9) + b"\xa0"),
    (2249, struct.pack(">iIii", 1, 23, 9, 7)),
    (3904, b"\x02" + struct.pack(">ii", 400, 1)),
    (3904, b""),
    (25, b"\xff"),
])  # fmt: skip
def test_what_cannot_be_read_is_shown_in_base_16(kind: int, data: bytes) -> None:
    assert readable(data, 1, kind) == f"\\x{data.hex()} (not readable as type {kind})"


@given(st.sampled_from([*BINARY, 17_000]), st.binary(max_size=200))
def test_any_bytes_are_readable_somehow(kind: int, data: bytes) -> None:
    assert isinstance(readable(data, 1, kind), str)
