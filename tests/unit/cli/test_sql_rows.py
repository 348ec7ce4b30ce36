"""Rows of a transcript on a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.plain import visible, width
from cli.sql_rows import rows
from tests.unit.cli.readable import only_read


def told(**entry: Any) -> list[str]:
    return list(rows(entry))


def test_values_stand_under_their_names() -> None:
    assert told(columns=["id", "name"], values=[["1", "Ann"], ["22", None]], rows=2) == ["id  name", "1   Ann", "22  NULL"]


def test_a_text_that_reads_null_is_not_a_missing_value() -> None:
    assert told(columns=["a"], values=[["NULL"]], rows=1)[1] == "'NULL'"


def test_more_rows_are_counted() -> None:
    assert told(columns=["a"], values=[["1"]], rows=1_000)[-1] == "… 999 more"
    assert told(columns=["a"], values=[["1"]] * 100, rows=1_000)[-1] == "… 980 more, 100 of all are in the transcript"


def test_lines_of_a_copy() -> None:
    assert told(lines=["1\tann", "2\tbob"], rows=2) == ["1\\tann", "2\\tbob"]


def test_wide_characters_keep_the_table_straight() -> None:
    assert told(columns=["a", "b"], values=[["漢字", "x"], ["y", "z"]], rows=2) == ["a     b", "漢字  x", "y     z"]


@pytest.mark.parametrize(("text", "shown"), [
    ("\x1b[2Jgone", "\\x1b[2Jgone"),
    ("abc\u202edef", "abc\\u202edef"),
    ("a\nb", "a\\nb"),
    ("\U000e0041", "\\U000e0041"),
])  # fmt: skip
def test_what_would_move_or_reorder_text_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text, 40) == shown
    assert told(columns=[text], values=[[text]], rows=1) == [shown, shown]


@given(st.text(), st.integers(1, 50))
def test_a_value_is_one_line_of_bounded_width(text: str, cells: int) -> None:
    shown = visible(text, cells)
    assert width(shown) <= cells
    assert only_read(shown)


@given(st.dictionaries(st.sampled_from(["columns", "values", "lines", "rows"]), st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=5)), lambda inner: st.lists(inner, max_size=4)
)))  # fmt: skip
def test_a_transcript_may_hold_anything(entry: dict[str, Any]) -> None:
    assert all("\n" not in line for line in rows(entry))
