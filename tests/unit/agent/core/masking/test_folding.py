"""Folding decodes disguises and knows the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.folding import _COMMON, _FAR_LEADS, _FOLD, _disguises, _plain, fold, plain


@pytest.mark.parametrize(
    ("disguised", "folded"),
    [
        ("４１", b"41"),
        ("٤१", b"41"),
        ("4\u200b1\u00ad2", b"412"),
        ("\ufeff4", b"4"),
        ("a＠b．c", b"a@b.c"),
        ("1\u20132\u22123", b"1-2-3"),
        ("1\u00a02", b"1 2"),
        ("a%40b%2ec", b"a@b.c"),
        ("a&#64;b&#x2e;c&commat;", b"a@b.c@"),
        (r"a\u0040b\\u002e", b"a@b."),
        (r"\x616263", b"abc"),
        (r"\\x6162", b"ab"),
        ("4\x1b[31m1\x1b[0;1m2", b"412"),
        (r"a\/b\nc", b"a/b\nc"),
        (r"\ud83d\u0041", b"A"),
    ],
)
def test_a_disguise_is_read_through(disguised: str, folded: bytes) -> None:
    assert plain(disguised.encode()) == folded


def test_what_wears_none_is_left_alone() -> None:
    assert fold(b"plain text, 100% of it, C:/x & y") is None
    assert fold("größe 漢字".encode()) is None


def test_the_way_back() -> None:
    data = b"x \x1b[1malice\x1b[0m%40b \\x616263"
    folded = fold(data)
    assert folded is not None
    at = folded.data.index(b"alice@")
    assert data[folded.start(at) : folded.end(at + 6)] == b"alice\x1b[0m%40"
    at = folded.data.index(b"bc")
    assert data[folded.start(at) : folded.end(at + 1)] == b"62"
    assert folded.at(folded.start(at)) == at


FRAGMENTS = st.sampled_from(
    [b"a", b"4", b"%40", b"\\u0040", b"\\x6162", b"\x1b[0m", "\u200b".encode(), "４".encode(), b"&#64;", b"\xff", b"\\"]
)


@given(st.lists(FRAGMENTS, max_size=20).map(b"".join) | st.binary(max_size=80))
def test_positions_stay_in_order_and_inside(data: bytes) -> None:
    folded = fold(data)
    if folded is None:
        return
    assert len(folded.data) <= len(data)
    starts = [folded.start(at) for at in range(len(folded.data))]
    ends = [folded.end(at + 1) for at in range(len(folded.data))]
    assert starts == sorted(starts)
    assert all(0 <= start <= end <= len(data) for start, end in zip(starts, ends, strict=True))


#: One of the disguises beyond ASCII, letters of which no disguise consists, and bytes that are no UTF-8.
LETTERS = ["–".encode(), "é".encode(), "я".encode(), "漢".encode(), b"\xc3", b"\xff", b"\x80"]
_LITTLE = st.sampled_from(
    rb"a x u n 4 [ ; 0 m f ( B = # commat 41 0041 / \ \\ \n \u00 \x6 % %4 & &# &#x".split() + LETTERS
) | st.sampled_from([b"\x1b", b"\x1b[", b"\x1b[\\", b"x41" * 150])


@pytest.mark.parametrize("room", [0, 20_000])
@given(pieces=st.lists(_LITTLE, max_size=24))
def test_in_ascii_and_among_letters_the_same_is_found_however_it_is_looked_for(room: int, pieces: list[bytes]) -> None:
    data = b"".join(pieces) + b"." * room
    assert list(_disguises(data)) == [match.span() for match in _FOLD.finditer(data)]


def test_every_disguise_beyond_ascii_begins_with_a_byte_that_is_looked_for() -> None:
    every = "".join(map(chr, (*range(0x80, 0xD800), *range(0xE000, 0x110000)))).encode()
    found = {every[match.start()] for match in _FOLD.finditer(every)}
    assert found == {lead[0] for lead in _FAR_LEADS}


def test_what_is_met_often_reads_as_it_would_be_worked_out() -> None:
    far = [disguise for disguise in _COMMON if not disguise.isascii()]
    assert len(far) == 13
    assert {disguise: _plain(disguise) for disguise in far} == {disguise: (_COMMON[disguise], 0) for disguise in far}


def test_backslashes_in_a_row_are_looked_at_once() -> None:
    # Once for each would take hours.
    assert fold(b"\\" * 1_000_000) is None
    assert fold(b"." * 1_000_000 + b"\\" * 3_000) is None
