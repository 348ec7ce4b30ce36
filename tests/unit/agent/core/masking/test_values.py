"""Values: every type has a valid replacement, and malformed ones are faults."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.classes import BUILT_IN as CLASSES
from agent.core.masking.classes import MaskFault
from agent.core.masking.containers import array_text
from agent.core.masking.detectors import Detectors
from agent.core.masking.pgtypes import ELEMENTS, KINDS, Catalog
from agent.core.masking.values import Scrubber, mask_value

DETECTORS = Detectors()
OIDS = sorted({*KINDS, *ELEMENTS, 600, 16_500})


def scrub(oid: int, form: int, value: bytes | None) -> bytes | None:
    return Scrubber(DETECTORS).scrub_value(oid, form, value)


def test_null_stays() -> None:
    assert mask_value("email", 25, 0, None) is None
    assert scrub(25, 0, None) is None


@pytest.mark.parametrize("oid", sorted(oid for oid, kind in KINDS.items() if kind.size))
def test_a_fixed_type_has_a_constant_of_its_size(oid: int) -> None:
    size = KINDS[oid].size
    shown = mask_value("personal", oid, 1, b"\x01" * size)
    assert shown is not None
    assert len(shown) == size
    with pytest.raises(MaskFault):
        mask_value("personal", oid, 1, bytes(size + 1))
    with pytest.raises(MaskFault):
        mask_value("personal", oid, 1, b"")


def test_text_shows_the_declared_remainder() -> None:
    assert mask_value("card", 1043, 1, b"4111111111111111") == b"************1111"
    assert mask_value("email", 1009, 0, b"{a@b.co,NULL}") == b'{"a***@***.co",NULL}'
    assert mask_value("x" * 80, 19, 0, b"a") == (b"[masked " + b"x" * 80)[:63]


def test_json_leaves_are_masked_and_members_whose_names_are_no_values_keep_them() -> None:
    value = b'\x01{"a": [1.5, true, "x", null], "b": {"c": "d"}, "123-45-6789": 1}'
    shown = mask_value("ssn", 3802, 1, value, members=lambda name: len(name) == 1)
    assert shown is not None
    assert json.loads(shown[1:]) == {"a": [0, False, "***-**-****", None], "b": {"c": "***-**-****"}, "***-**-****": 0}
    assert mask_value("ssn", 114, 0, b'{"a": 1}') == b'{"***-**-****": 0}'
    with pytest.raises(MaskFault):
        mask_value("ssn", 3802, 1, b"\x02{}")


def test_unknown_types_are_null_unless_the_catalog_knows_them() -> None:
    assert mask_value("email", 16_500, 0, b"a@b.co") is None
    catalog = Catalog(texts=frozenset({16_500}), arrays={16_501: 16_500}, records=frozenset({16_502}))
    assert mask_value("email", 16_500, 0, b"a@b.co", catalog) == b"a***@***.co"
    assert mask_value("email", 16_501, 0, b"{a@b.co}", catalog) == b'{"a***@***.co"}'
    assert mask_value("email", 16_502, 0, b"(1,a@b.co)", catalog) == b"(,)"
    assert scrub(16_500, 0, b"harmless") == b"harmless"
    assert scrub(16_500, 0, b"mail alice@example.com") is None


@pytest.mark.parametrize(
    ("oid", "form", "value", "shown"),
    [
        (25, 0, b"mail alice@example.com", b"mail a***@***.com"),
        (114, 0, b'{"a":"alice@example.com\\nx","n":4111111111111111}', b'{"a":"a***@***.com\\nx","n":0}'),
        (114, 0, b'"\\u0061lice\\u0040example.com"', b'"a***@***.com"'),
        (3802, 1, b'\x01{"alice@example.com":1}', b'\x01{"a***@***.com":1}'),
        (17, 0, b"\\x" + b"alice@b.co".hex().encode(), b"\\x" + b"a***@***.co".hex().encode()),
        (17, 0, b"alice@b.co\\000", b"\\x" + b"a***@***.co\x00".hex().encode()),
        (17, 1, b"\x00alice@b.co", b"\x00a***@***.co"),
        (20, 0, b"4111111111111111", b"0"),
        (20, 1, struct.pack(">q", 4111111111111111), bytes(8)),
        (20, 1, struct.pack(">q", -4111111111111111), bytes(8)),
        (20, 1, struct.pack(">q", -4111111111111112), struct.pack(">q", -4111111111111112)),
        (701, 1, struct.pack(">d", 4111111111111111.0), bytes(8)),
        (701, 0, b"4.111111111111111e+15", b"0"),
        (701, 0, b"NaN", b"NaN"),
        (1700, 1, struct.pack(">HhHHHHHH", 4, 3, 0, 0, 4111, 1111, 1111, 1111), bytes(8)),
        (1700, 1, struct.pack(">HhHHH", 1, 0, 0, 0, 7), struct.pack(">HhHHH", 1, 0, 0, 0, 7)),
        (1009, 0, b'{"x, 123-45-6789",NULL}', b'{"x, ***-**-****",NULL}'),
        (2249, 0, b'(1,"x ""a@b.co""",,4111111111111111)', b'(1,"x \\"a***@***.co\\"",,"0")'),
        (1082, 0, b"2024-05-01", b"2024-05-01"),
    ],
)
def test_what_a_detector_finds_in_a_value(oid: int, form: int, value: bytes, shown: bytes) -> None:
    assert scrub(oid, form, value) == shown
    assert scrub(oid, form, shown) == shown


@pytest.mark.parametrize(
    ("oid", "form", "value"),
    [
        (25, 2, b"x"),
        (17, 0, b"\\xzz"),
        (17, 0, b"\\x1"),
        (20, 1, bytes(7)),
        (701, 1, bytes(9)),
        (1700, 1, bytes(7)),
        (1700, 1, struct.pack(">HhHH", 9, 0, 0, 0)),
        (3802, 1, b""),
        (1009, 1, bytes(11)),
    ],
)
def test_what_cannot_be_is_a_fault(oid: int, form: int, value: bytes) -> None:
    with pytest.raises(MaskFault) as caught:
        scrub(oid, form, value)
    assert repr(value) not in str(caught.value)


def test_nesting_is_bounded() -> None:
    value = b""
    for _ in range(20):
        value = struct.pack(">iIi", 1, 2249, len(value)) + value
    with pytest.raises(MaskFault, match="nested"):
        scrub(2249, 1, value)


WORDS = st.sampled_from(
    [
        b"{",
        b"}",
        b'"',
        b"\\",
        b",",
        b"(",
        b")",
        b"a@b.co",
        b"4111111111111111",
        b"NULL",
        b"\x00\x00\x00\x01",
        b"\x01",
        b"\\x61",
        b"[0:1]=",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(OIDS),
    st.integers(0, 1),
    st.binary(max_size=40) | st.lists(WORDS, max_size=10).map(b"".join),
    st.sampled_from(sorted(CLASSES)),
)
def test_nothing_else_is_ever_raised_and_masking_twice_is_masking_once(oid: int, form: int, value: bytes, name: str) -> None:
    try:
        masked = mask_value(name, oid, form, value)
    except MaskFault:
        masked = None
    if masked is not None:
        assert mask_value(name, oid, form, masked) == masked
    try:
        shown = scrub(oid, form, value)
    except MaskFault:
        return
    assert shown is None or isinstance(shown, bytes)


_ITEMS = st.sampled_from(
    ["plain", "two words", "a,b", "{x}", "", "NULL", "alice@example.com", "see bob@example.com, ok", "4111 1111 1111 1111",
     "123-45-6789", "git", "@x.co", "AKIAIOSFODNN7EXAMPLE", "-", "caf%40x.co", "é", "1111"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.lists(_ITEMS | st.text("a@.1-{}, ", max_size=8), max_size=4), min_size=1, max_size=3))
def test_an_array_of_texts_is_its_elements(rows: list[list[str]]) -> None:
    def written(item: str) -> str:
        bare = item and item.upper() != "NULL" and not set(item) & set('{},"\\ ')
        return item if bare else f'"{item}"'

    value = ("{" + ",".join("{" + ",".join(map(written, row)) + "}" for row in rows) + "}").encode()
    quick, slow = Scrubber(DETECTORS), Scrubber(DETECTORS)
    want = array_text(value, lambda item: slow.scrub_text(item))
    assert quick.scrub_value(1009, 0, value) == want
    assert quick.tally.take() == slow.tally.take()
