from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.plain import clean, clean_lines, shorten, width

HOSTILE = st.text(
    alphabet=st.one_of(st.characters(), st.sampled_from("\x1b\x9b\x9d[]0;m\x07\\\u202e\u2066\u200bab")), max_size=80
)


@given(HOSTILE)
def test_what_is_left_can_only_be_read(text: str) -> None:
    for character in clean(text):
        assert unicodedata.category(character)[0] != "C"
        assert unicodedata.category(character) not in ("Zl", "Zp")


@given(HOSTILE)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=80))
def test_readable_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"),
        ("a\x1bP1$r0m\x1b\\b", "ab"),
        ("a\x9b2Jb", "ab"),
        ("user\u202etxt.exe", "usertxt.exe"),
        ("one\r\ntwo\tthree", "one two three"),
        ("nul\x00bell\x07", "nulbell"),
        ("ends in esc\x1b", "ends in esc"),
        ("Grüße, 数据库", "Grüße, 数据库"),
    ],
)
def test_examples(text: str, seen: str) -> None:
    assert clean(text) == seen


def test_a_long_text_is_cut() -> None:
    assert clean("x" * 5_000) == "x" * 3_999 + "…"


def test_lines_stay_lines() -> None:
    assert clean_lines("a\x1b[1m\nb\u202e") == ["a", "b"]


def test_width_counts_cells() -> None:
    assert [width(text) for text in ("abc", "数据", "e\u0301")] == [3, 4, 1]


@given(st.text(alphabet="ab数e\u0301", max_size=20), st.integers(1, 20))
def test_shortened_text_fits(text: str, cells: int) -> None:
    short = shorten(text, cells)
    assert width(short) <= cells
    assert short == text or short.endswith("…")
