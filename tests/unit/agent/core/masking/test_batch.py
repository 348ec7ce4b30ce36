"""A batch is masked in place exactly as its values would be one by one."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.classes import data_class
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import FEW, Column, RowMasker

PLAIN = Detectors(built_in=False)
ADDRESSES = st.one_of(
    st.from_regex(rb"[a-z0-9.]{1,12}@[a-z.]{1,12}\.[a-z]{2,5}", fullmatch=True),
    st.text("a1@. é-", max_size=24).map(str.encode),
    st.none(),
)
NUMBERS = st.one_of(st.text("0123456789 -", max_size=24).map(str.encode), st.none())


def body(*values: bytes | None) -> bytes:
    packed = (struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values)
    return struct.pack(">H", len(values)) + b"".join(packed)


def framed(*rows: bytes) -> bytes:
    return b"".join(b"D" + struct.pack(">I", len(row) + 4) + row for row in rows)


@given(st.lists(st.tuples(ADDRESSES, NUMBERS, NUMBERS), min_size=FEW, max_size=30))
def test_columns_are_masked_as_their_class_says(rows: list[tuple[bytes | None, ...]]) -> None:
    names = ("email", "card", "ssn")
    masker = RowMasker([Column(25, 0, name) for name in names], PLAIN)
    want = [
        body(*(None if value is None else data_class(name).replace(value) for name, value in zip(names, row, strict=True)))
        for row in rows
    ]
    raw = framed(*(body(*row) for row in rows))
    starts = [0]
    for row in rows[:-1]:
        starts.append(starts[-1] + 5 + len(body(*row)))
    assert masker.mask_framed(raw, starts) == framed(*want)
    assert masker.mask([body(*row) for row in rows]) == framed(*want)


def test_what_needs_nothing_is_the_same_object() -> None:
    rows = [body(b"1", b"plain")] * 10
    whole = framed(*rows)
    starts = [at * (len(whole) // 10) for at in range(10)]
    assert RowMasker([Column(23), Column(25)], Detectors()).mask_framed(whole, starts) is whole
