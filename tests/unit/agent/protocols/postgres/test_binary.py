"""Binary forms read as the server's own text."""

from __future__ import annotations

import struct

import pytest

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
    (25, b"\xff"),
])  # fmt: skip
def test_what_cannot_be_read_is_shown_in_base_16(kind: int, data: bytes) -> None:
    assert readable(data, 1, kind) == f"\\x{data.hex()} (not readable as type {kind})"
