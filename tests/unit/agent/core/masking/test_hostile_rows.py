"""What a hostile table may hold: a batch shows exactly what its values would show one by one, or is refused like them."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.classes import MaskFault
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import FEW, Column, RowMasker
from tests.unit.agent.core.masking.test_rows import body, framed

DETECTORS = Detectors()
SECRETS = [
    b"alice@example.com",
    b"4111 1111 1111 1111",
    b"4111111111111111",
    b"123-45-6789",
    b"+49 170 1234567",
    b"AKIAIOSFODNN7EXAMPLE",
    b"DE89370400440532013000",
    b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    b"-----BEGIN PRIVATE KEY-----\nMIIE",
    "\uff14111 1111 1111 1111".encode(),
    b"alice%40example.com",
]
#: What may stand around a secret: nothing, what looks like a header, and what the scan writes between values.
AROUND = st.one_of(
    st.sampled_from(
        [b"", b"\0", b"\n", b"\r\n", b"\t", b"D\0\0\0\x0c\0\2", b"\0\0\0\x05", b"\xff\xff\xff\xff", b"\\N", b"\\", b"@", b"0"]
    ),
    st.binary(max_size=6),
    st.integers(1, 300).map(lambda size: b"x" * size),
    st.integers(1, 300).map(lambda size: b"." * size),
)
HOSTILE = st.one_of(st.none(), st.tuples(AROUND, st.sampled_from([b"", *SECRETS]), AROUND).map(b"".join))
TYPES = st.tuples(st.sampled_from([25, 1043, 17, 16_500]), st.sampled_from([None, None, None, "email", "card", "ssn", "phone"]))


@settings(max_examples=150, deadline=None)
@given(st.lists(TYPES, min_size=1, max_size=4), st.data())
def test_a_batch_shows_what_its_values_would(types: list[tuple[int, str | None]], data: st.DataObject) -> None:
    shape = [Column(oid, 1 if oid == 17 else 0, name) for oid, name in types]
    row = st.tuples(*[HOSTILE] * len(shape)).map(lambda values: body(*values))
    rows = data.draw(st.lists(row, min_size=FEW, max_size=FEW + 4))
    fast, slow = RowMasker(shape, DETECTORS), RowMasker(shape, DETECTORS)
    assert fast.mask(rows) == b"".join(slow.mask([one]) for one in rows)
    assert fast.report() == slow.report()


@settings(max_examples=60, deadline=None)
@given(st.lists(HOSTILE, min_size=FEW, max_size=FEW + 8), st.integers(-2, 400))
def test_lengths_that_lie_are_refused_by_both(values: list[bytes | None], lie: int) -> None:
    shape = [Column(25, 0, "ssn"), Column(25)]
    rows = [body(value, b"plain") for value in values]
    liar = struct.pack(">Hi", 2, lie) + b"123-45-6789" + struct.pack(">i", 5) + b"plain"
    rows.insert(len(rows) // 2, liar)

    def masked(batch: list[bytes]) -> bytes | None:
        try:
            return RowMasker(shape, DETECTORS).mask(batch)
        except MaskFault:
            return None

    one_by_one = [masked([row]) for row in rows]
    assert masked(rows) == (None if None in one_by_one else b"".join(each or b"" for each in one_by_one))


def test_sixteen_hundred_columns() -> None:
    shape = [Column(25, 0, "ssn" if at % 7 == 0 else None) for at in range(1_600)]
    values = [SECRETS[at % len(SECRETS)] if at % 5 == 0 else None if at % 11 == 0 else b"v%d" % at for at in range(1_600)]
    fast, slow = RowMasker(shape, DETECTORS), RowMasker(shape, DETECTORS)
    rows = [body(*values[at:], *values[:at]) for at in range(FEW)]
    assert fast.mask(rows) == b"".join(slow.mask([row]) for row in rows)
    assert fast.report() == slow.report()


def test_binary_numbers_that_read_as_text_are_neither_scanned_nor_in_the_way() -> None:
    moment = b"@a.co.uk"
    shape = [Column(1114, 1), Column(25), Column(1114, 1), Column(23, 1)]
    rows = [body(moment, b"bob", moment, struct.pack(">i", 0x31323334)) for _ in range(FEW)]
    assert RowMasker(shape, DETECTORS).mask(rows) == framed(*rows)
