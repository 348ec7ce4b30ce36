"""Values that are replaced where they stand read as their class says, whatever their shape."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.classes import BUILT_IN, MaskFault, data_class
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import FEW, Column, RowMasker
from tests.unit.agent.core.masking.test_rows import body, framed

PLAIN = Detectors(built_in=False)
SHAPED = st.one_of(
    st.from_regex(rb"[a-z0-9.]{1,12}@[a-z.]{1,12}\.[a-zA-Z]{1,26}", fullmatch=True),
    st.from_regex(rb"(?:[0-9*]{1,4}[ .()/+-]){2,6}[0-9]{0,4}", fullmatch=True),
    st.from_regex(rb"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9*]{4}){3,7}", fullmatch=True),
    st.text("a1@. é-*\0\n", max_size=40).map(str.encode),
    st.binary(max_size=40),
    st.just(b"4111 1111 1111 1111"),
    st.none(),
)


@settings(deadline=None)
@given(st.sampled_from(sorted(BUILT_IN)), st.lists(SHAPED, min_size=FEW, max_size=3 * FEW))
def test_a_column_reads_as_its_class_says(name: str, values: list[bytes | None]) -> None:
    masker = RowMasker([Column(25, 0, name), Column(25)], PLAIN)
    shown = masker.mask([body(value, b"next") for value in values])
    want = [None if value is None else data_class(name).replace(value) for value in values]
    assert shown == framed(*[body(each, b"next") for each in want])
    assert sum(masker.report().hits.values()) == sum(value is not None for value in values)


@pytest.mark.parametrize(
    ("oid", "form", "value", "want"),
    [
        (23, 0, b"120345", b"0"),
        (23, 1, struct.pack(">i", 77), bytes(4)),
        (1082, 0, b"1970-02-03", b"2000-01-01"),
        (1082, 0, b"infinity", b"2000-01-01"),
        (16_500, 0, b"happy", None),
        (3802, 0, b'{"a":"b"}', b'{"a":"****"}'),
    ],
)
def test_what_is_no_text_becomes_the_constant_of_its_type(oid: int, form: int, value: bytes, want: bytes | None) -> None:
    masker = RowMasker([Column(oid, form, "personal")], PLAIN)
    assert masker.mask([body(value)] * FEW) == framed(*[body(want)] * FEW)


def test_a_binary_value_of_another_size_is_a_fault() -> None:
    masker = RowMasker([Column(23, 1, "personal")], PLAIN)
    with pytest.raises(MaskFault):
        masker.mask([*[body(bytes(4))] * FEW, body(bytes(5))])


@pytest.mark.parametrize("name", sorted(BUILT_IN))
@pytest.mark.parametrize("last", [b"", b"@", b"a@b.co", None])
def test_a_column_may_end_with_anything(name: str, last: bytes | None) -> None:
    mails = [b"alice@example.com", b"see bob@example.org", b"4111 1111 1111 1111", b"", None, b"a.b@c", b"x@y.verylonglabel"]
    for values in ([None] * FEW, [b"alice@example.com"] * FEW, mails * FEW):
        masker = RowMasker([Column(25), Column(25, 0, name)], PLAIN)
        all_of_them = [*values, last]
        want = [None if value is None else data_class(name).replace(value) for value in all_of_them]
        shown = masker.mask([body(b"@" if at == len(values) else b"n", value) for at, value in enumerate(all_of_them)])
        assert shown == framed(*[body(b"@" if at == len(values) else b"n", value) for at, value in enumerate(want)])
