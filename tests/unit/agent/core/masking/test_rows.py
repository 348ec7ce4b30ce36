"""Rows: the fast way of batches says what the slow way of single rows says, and both refuse what is malformed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.classes import MaskFault
from agent.core.masking.detectors import Custom, Detectors
from agent.core.masking.rows import FEW, Column, RowMasker

DETECTORS = Detectors()


def body(*values: bytes | None) -> bytes:
    packed = (struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values)
    return struct.pack(">H", len(values)) + b"".join(packed)


def framed(*rows: bytes) -> bytes:
    return b"".join(b"D" + struct.pack(">I", len(row) + 4) + row for row in rows)


def test_rows_that_need_nothing_are_copied() -> None:
    masker = RowMasker([Column(25), Column(23, 1), Column(1114)], DETECTORS)
    rows = [body(b"plain %d" % at, struct.pack(">i", at), None if at % 3 else b"2024-05-01 12:00:00") for at in range(20)]
    assert masker.mask(rows) == framed(*rows)
    assert masker.mask(rows[:2]) == framed(*rows[:2])
    assert masker.mask([]) == b""
    assert masker.report().hits == {}


def test_tagged_columns_and_hits() -> None:
    masker = RowMasker(
        [Column(25, 0, "email"), Column(25, 0, "ssn"), Column(1043, 0, "card"), Column(25), Column(23, 1, "personal")], DETECTORS
    )
    number = struct.pack(">i", 7)
    rows = [
        body(b"user%d@example.com" % at, b"123-45-%04d" % at, b"4111 1111 1111 %04d" % at, b"see bob@example.org", number)
        for at in range(10)
    ]
    rows[3] = body(None, b"", b"n/a", None, None)
    want = [body(b"u***@***.com", b"***-**-****", b"**** **** **** %04d" % at, b"see b***@***.org", bytes(4)) for at in range(10)]
    want[3] = body(None, b"***-**-****", b"****", None, None)
    assert masker.mask([memoryview(row) for row in rows]) == framed(*want)
    assert masker.report().hits == {"email": 18, "ssn": 10, "card": 10, "personal": 9}


def test_revealed_classes_pass_by_tag_and_by_detector() -> None:
    masker = RowMasker([Column(25, 0, "email"), Column(25)], DETECTORS, frozenset({"email"}))
    rows = [body(b"alice@example.com 123-45-6789", b"bob@example.com")] * FEW
    assert masker.mask(rows) == framed(*[body(b"alice@example.com ***-**-****", b"bob@example.com")] * FEW)


def test_a_key_block_in_one_value_hides_nothing_in_the_next() -> None:
    masker = RowMasker([Column(25), Column(25)], DETECTORS)
    rows = [body(b"-----BEGIN PRIVATE KEY-----\nMIIE", b"123-45-6789")] * FEW
    assert masker.mask(rows) == framed(*[body(b"[masked secret]", b"***-**-****")] * FEW)


def test_a_length_that_reads_as_a_letter_hides_nothing() -> None:
    for size in (48, 65, 97):
        value = (b"4111111111111111,").ljust(size, b".")
        masker = RowMasker([Column(25)], DETECTORS)
        assert b"4111111111111111" not in masker.mask([body(value)] * FEW)


def test_custom_detectors_do_not_reach_across_values() -> None:
    masker = RowMasker([Column(25), Column(25)], Detectors([Custom("odd", "BEGIN[^x]*END")]))
    rows = [body(b"BEGIN", b"alice@example.com END")] * FEW
    assert masker.mask(rows) == framed(*[body(b"BEGIN", b"a***@***.com END")] * FEW)


VALUES = {
    25: [
        b"plain",
        b"",
        b"alice@example.com",
        b"x 123-45-6789 y",
        b"4111 1111 1111 1111",
        b"n/a",
        b"user@",
        b"-----BEGIN PRIVATE KEY-----",
        "größe".encode(),
        b"4" * 65,
    ],
    23: [b"7", b"-1"],
    20: [b"4111111111111111", b"12"],
    1700: [b"4111111111111111", b"1.50"],
    3802: [b'{"a":"alice@example.com"}', b'{"a":"\\u0061lice\\u0040example.com"}', b"[]"],
    17: [b"\\x" + b"alice@example.com".hex().encode(), b"\\x00"],
    1009: [b"{}", b"{alice@example.com,b}"],
    1082: [b"2024-05-01"],
    16_500: [b"happy", b"alice@example.com"],
}
COLUMNS = st.lists(
    st.tuples(st.sampled_from(sorted(VALUES)), st.sampled_from([None, None, "email", "card", "ssn", "phone", "secret", "badge"])),
    min_size=1,
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(COLUMNS, st.data(), st.sets(st.sampled_from(["email", "card", "secret"])))
def test_the_fast_way_says_what_the_slow_way_says(
    columns: list[tuple[int, str | None]], data: st.DataObject, reveal: set[str]
) -> None:
    shape = [Column(oid, 0, name) for oid, name in columns]
    row = st.tuples(*(st.none() | st.sampled_from(VALUES[oid]) for oid, _ in columns)).map(lambda values: body(*values))
    rows = data.draw(st.lists(row, min_size=FEW, max_size=FEW + 6))
    fast = RowMasker(shape, DETECTORS, frozenset(reveal))
    slow = RowMasker(shape, DETECTORS, frozenset(reveal))
    assert fast.mask(rows) == b"".join(slow.mask([one]) for one in rows)
    assert fast.report() == slow.report()


BAD = [
    b"",
    b"\x00",
    struct.pack(">H", 1),
    body(b"a"),
    body(b"a", b"b", b"c"),
    body(b"a", b"b") + b"x",
    body(b"a", b"b")[:-1],
    struct.pack(">Hi", 2, -2) + struct.pack(">i", -1),
    struct.pack(">Hi", 2, 2**31 - 1) + b"x" * 8,
    struct.pack(">Hi", 2, -(2**31)) + b"x" * 8,
    struct.pack(">Hi", 2, 4) + b"abcd",
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("count", [0, FEW])
def test_a_malformed_row_is_a_fault(bad: bytes, count: int) -> None:
    masker = RowMasker([Column(25, 0, "ssn"), Column(25)], DETECTORS)
    with pytest.raises(MaskFault):
        masker.mask([*[body(b"a", b"b")] * count, bad])
    with pytest.raises(MaskFault):
        masker.mask([bad, *[body(b"a", b"b")] * count])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=12))
def test_garbage_is_a_fault_and_nothing_else(rows: list[bytes]) -> None:
    masker = RowMasker([Column(25), Column(20, 1, "card")], DETECTORS)
    try:
        masker.mask(rows)
    except MaskFault:
        return


def test_binary_values() -> None:
    masker = RowMasker([Column(25, 1), Column(20, 1), Column(3802, 1), Column(1009, 1), Column(17, 1)], DETECTORS)
    array = struct.pack(">iiIii", 1, 0, 25, 1, 1) + struct.pack(">i", 10) + b"alice@b.co"
    masked = struct.pack(">iiIii", 1, 0, 25, 1, 1) + struct.pack(">i", 11) + b"a***@***.co"
    rows = [body(b"alice@b.co", struct.pack(">q", 4111111111111111), b'\x01"alice@b.co"', array, b"\x00alice@b.co")] * FEW
    assert masker.mask(rows) == framed(*[body(b"a***@***.co", bytes(8), b'\x01"a***@***.co"', masked, b"\x00a***@***.co")] * FEW)
