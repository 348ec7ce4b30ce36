"""What nobody can see is named, and nothing is lost."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.plain_text import FIRST, LINES, one_line, pieces, shown


@pytest.mark.parametrize(
    "letter",
    [
        *"\x00\x07\x08\x1b\x7f\x85\r\u00a0\u00ad\u034f\u061c\u115f\u200b\u200e\u202e\u2028\u2066\u2800\u3164\ufe0f\ufeff\ufffe",
        *("\U000e0041", "\ud800", "\U000f0000", "\u2003"),
    ],
)
def test_what_cannot_be_seen_is_named(letter: str) -> None:
    found = list(pieces(f"a{letter}b"))
    assert [each.text for each in found] == ["a", f"U+{ord(letter):04X}", "b"]
    assert found[1].label


@pytest.mark.parametrize("text", ["SELECT 1;\n\tFROM t", "Grüße, Łódź", "שלום", "日本語", "e\u0301", "ệ", "🚀"])
def test_what_can_be_seen_is_left_alone(text: str) -> None:
    assert "".join(each.text for each in pieces(text)) == text
    assert shown(text).hidden == 0


def test_marks_do_not_pile_up() -> None:
    found = list(pieces("a" + "\u0301" * 50 + "b"))
    assert len([each for each in found if each.label]) == 46


@given(st.text())
def test_nothing_is_lost_and_nothing_unseen_is_left(text: str) -> None:
    back = "".join(chr(int(each.text[2:], 16)) if each.label else each.text for each in pieces(text))
    assert back == text
    for each in pieces(text):
        assert each.label or all(letter in "\n\t" or unicodedata.category(letter)[0] not in "C" for letter in each.text)


def test_long_text_is_cut_by_letters_and_by_lines() -> None:
    assert shown("x" * FIRST).rest == []
    long = shown("x" * (FIRST + 1))
    assert (len(long.first[0].text), len(long.rest[0].text), long.length) == (FIRST, 1, FIRST + 1)
    tall = shown("\n" * 500 + "; DROP TABLE b")
    assert (len(tall.first[0].text), tall.rest[0].text[-1]) == (LINES - 1, "b")


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_short_line(text: str, limit: int) -> None:
    found = one_line(text, limit)
    assert len(found) <= limit
    assert "\n" not in found
