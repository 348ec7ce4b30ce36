"""Numbers that are passed over many at a time are those in which one look finds nothing."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.classes import MaskFault
from agent.core.masking.detectors import Custom, Detectors
from agent.core.masking.numbers import SUSPECTS
from agent.core.masking.pgtypes import KINDS
from agent.core.masking.rows import FEW, Column, RowMasker
from agent.core.masking.values import Scrubber
from tests.unit.agent.core.masking.test_rows import body, framed

DETECTORS = Detectors()
INT8, FLOAT8, NUMERIC = 20, 701, 1700
CARD = 4111111111111111


def numeric(digits: str, *, sign: int = 0, scale: int = 0) -> bytes:
    """A whole number as PostgreSQL sends it, with trailing groups of zeros left out."""
    padded = digits.rjust(-(-len(digits) // 4) * 4, "0")
    groups = [int(padded[at : at + 4]) for at in range(0, len(padded), 4)]
    weight = len(groups) - 1
    while groups and not groups[-1]:
        groups.pop()
    return struct.pack(f">HhHH{len(groups)}H", len(groups), weight, sign, scale, *groups)


WHOLE = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(10**14), 10**14),
    st.sampled_from([0, CARD, -CARD, 36000000000008, 10**13, 10**13 - 1, -(10**13), 2**63 - 1, -(2**63), 378282246310005]),
)
FRACTIONS = st.one_of(st.floats(), st.floats(-1e13, 1e13), WHOLE.map(float), st.floats(0, 1).map(lambda one: one + 41111111111))
VALUES = {
    INT8: WHOLE.map(lambda value: struct.pack(">q", value)),
    FLOAT8: FRACTIONS.map(lambda value: struct.pack(">d", value)),
    NUMERIC: st.one_of(
        WHOLE.map(lambda value: numeric(str(abs(value)), sign=0x4000 if value < 0 else 0)),
        st.integers(-10, 10).flatmap(lambda weight: st.just(struct.pack(">HhHHH", 1, weight, 0, 4, 4111))),
        st.sampled_from([struct.pack(">HhHH", 0, 0, sign, 0) for sign in (0xC000, 0xD000, 0xF000)]),
    ),
}


@pytest.mark.parametrize("oid", VALUES)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_what_is_passed_over_is_shown_as_it_came(oid: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[oid], min_size=1, max_size=30))
    sizes = np.array(list(map(len, values)), np.int64)
    found = SUSPECTS[KINDS[oid].shape](b"".join(values), np.cumsum(sizes) - sizes, sizes)
    scrubber = Scrubber(DETECTORS)
    for value, suspect in zip(values, found.tolist(), strict=True):
        assert suspect or scrubber.scrub_value(oid, 1, value) == value


@pytest.mark.parametrize(
    ("oid", "card"), [(INT8, struct.pack(">q", CARD)), (FLOAT8, struct.pack(">d", CARD)), (NUMERIC, numeric(str(CARD)))]
)
def test_a_card_is_found_among_others(oid: int, card: bytes) -> None:
    plain = {INT8: struct.pack(">q", 7), FLOAT8: struct.pack(">d", 0.5), NUMERIC: numeric("12345678")}[oid]
    values = [plain, None, card] * FEW
    masker = RowMasker([Column(oid, 1), Column(25)], DETECTORS)
    want = [KINDS[oid].binary if value == card else value for value in values]
    assert masker.mask([body(value, b"x") for value in values]) == framed(*[body(value, b"x") for value in want])
    assert masker.report().hits == {"card": FEW}


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (INT8, bytes(4)),
        (FLOAT8, bytes(9)),
        (NUMERIC, bytes(7)),
        (NUMERIC, struct.pack(">HhHH", 1, 0, 0, 0)),
        (NUMERIC, struct.pack(">HhHHH", 0xFFFF, 0, 0, 0, 1)),
    ],
)
def test_a_value_of_another_size_is_a_fault(oid: int, value: bytes) -> None:
    masker = RowMasker([Column(oid, 1)], DETECTORS)
    plain = bytes(8)
    with pytest.raises(MaskFault):
        masker.mask([*[body(plain)] * FEW, body(value)])


def test_custom_patterns_see_every_number() -> None:
    masker = RowMasker([Column(INT8, 1)], Detectors([Custom("badge", r"\b7\b")]))
    assert masker.mask([body(struct.pack(">q", 7))] * FEW) == framed(*[body(bytes(8))] * FEW)


TEXTS = st.one_of(
    st.floats(allow_nan=False).map(repr),
    FRACTIONS.map(lambda value: f"{value:.17g}"),
    WHOLE.map(str),
    st.sampled_from(["4.111111111111111e+15", "4.111111111111111E15", "4111111111111111", "-4.111111111111111e+15"]),
    st.sampled_from(["NaN", "Infinity", "1e-05", ""]),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.none() | TEXTS.map(str.encode), min_size=FEW, max_size=3 * FEW))
def test_float8_as_text_reads_in_a_batch_as_one_by_one(values: list[bytes | None]) -> None:
    masker, scrubber = RowMasker([Column(FLOAT8), Column(25)], DETECTORS), Scrubber(DETECTORS)
    want = [scrubber.scrub_value(FLOAT8, 0, value) for value in values]
    assert masker.mask([body(value, b"see you") for value in values]) == framed(*[body(value, b"see you") for value in want])
    assert masker.report() == scrubber.tally.take()
