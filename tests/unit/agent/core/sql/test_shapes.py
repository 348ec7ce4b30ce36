"""Shapes: texts of one shape are analysed alike, and everything that could tell them apart keeps them apart."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sql import Analysis, analyse
from agent.core.sql.shapes import alike, shape
from tests.bypass.sql.database import CATALOGUE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = 22"),
        ("SELECT a FROM t WHERE id = 1;", "SELECT a FROM t WHERE id = 22;"),
        ("select a from t where id=1 and b <> 'x' limit 5", "select a from t where id=2 and b <> 'yy' limit 5"),
        ("UPDATE t SET a = 1, b = 'x' WHERE id = 3", "UPDATE t SET a = 4, b = 'y' WHERE id = 9"),
        ("DELETE FROM t WHERE (id >= 1)", "DELETE FROM t WHERE (id >= 2)"),
    ],
)
def test_constants_that_are_compared_with_do_not_count(one: str, other: str) -> None:
    assert shape(one) is not None
    assert shape(one) == shape(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SET ROLE a", "SET ROLE b"),
        ("SET work_mem = 1", "SET work_mem = 2"),
        ("SELECT pg_read_file('/a') WHERE 1 = 1", "SELECT pg_read_file('/b') WHERE 1 = 1"),
        ("SELECT a, b FROM t WHERE id = 1 ORDER BY 1", "SELECT a, b FROM t WHERE id = 1 ORDER BY 2"),
        ("SELECT a FROM t WHERE id = 1 LIMIT 10", "SELECT a FROM t WHERE id = 1 LIMIT 20"),
        ("SELECT a FROM t WHERE id = '1'::int", "SELECT a FROM t WHERE id = '2'::int"),
        ("SELECT a FROM t WHERE id = 'a'::regclass", "SELECT a FROM t WHERE id = 'b'::regclass"),
        ("SELECT f(x => 1)", "SELECT f(x => 2)"),
        ("SELECT f(x := 1)", "SELECT f(x := 2)"),
        ("SELECT a FROM t WHERE id =\u00a05", "SELECT a FROM t WHERE id =\u00a06"),
        ("SELECT a FROM t WHERE b = 'it''s' AND c = 'x'", "SELECT a FROM t WHERE b = 'it''z' AND c = 'x'"),
        ("SELECT a FROM t WHERE id = 1.5", "SELECT a FROM t WHERE id = 2.5"),
        ("SELECT a FROM t WHERE id = 1 OFFSET 2", "SELECT a FROM t WHERE id = 1 OFFSET 3"),
        ("SELECT 'x = 1 ' FROM t WHERE id = 1", "SELECT 'x = 2 ' FROM t WHERE id = 1"),
        ("SELECT set_config('a', 'b', true) = 'x'", "SELECT set_config('c', 'b', true) = 'x'"),
    ],
)
def test_everything_else_does(one: str, other: str) -> None:
    assert shape(one) is None or shape(one) != shape(other)


@pytest.mark.parametrize(
    "text",
    [
        'SELECT "id = 1" FROM t',
        "SELECT a FROM t WHERE id = $1",
        "SELECT $$ = 1 $$",
        "SELECT E'\\' = 1 '",
        "SELECT a -- = 1\nFROM t",
        "SELECT a /* = 1 */ FROM t",
        "SELECT a FROM t WHERE b = '\0'",
        "MERGE INTO t USING s ON t.id = 1",
        "WITH x AS (SELECT 1) SELECT a FROM t WHERE id = 1",
        "SELECT a FROM t",
        "SELECT a FROM t WHERE id = 1" + " " * 5_000,
    ],
)
def test_what_would_need_a_lexer_has_no_shape(text: str) -> None:
    assert shape(text) is None


def _facts(analysis: Analysis) -> object:
    return [msgspec.structs.replace(each, text="", position=0) for each in analysis.statements], analysis.session


_PIECES = st.sampled_from(
    "id ssn orders = < >= <> => := ( ) , ; and or :: int f order by limit group select where from ' '' 1 23 x' e' set update "
    "returning in between . \n".split(" ")
)
_CONSTANTS = st.one_of(st.integers(0, 10**12).map(str), st.text("abc =1;)(", max_size=8).map(lambda text: f"'{text}'"))


def test_the_property_below_is_about_something() -> None:
    one, other = (analyse(f"select name, ssn from customers where id = {value} order by 2", CATALOGUE) for value in ("1", "'x'"))
    assert _facts(one) == _facts(other)
    assert one.statements[0].probed


@given(st.lists(_PIECES, max_size=14), _CONSTANTS, _CONSTANTS, st.lists(_PIECES, max_size=8))
def test_texts_of_one_shape_are_analysed_alike(before: list[str], one: str, other: str, behind: list[str]) -> None:
    head, tail = "select name, ssn from customers where " + " ".join(before), " ".join(behind)
    first, second = f"{head} = {one} {tail}", f"{head} = {other} {tail}"
    if shape(first) is not None and shape(first) == shape(second):
        assert _facts(analyse(first, CATALOGUE)) == _facts(analyse(second, CATALOGUE))


@given(st.lists(_PIECES, max_size=14), st.integers(0, 10**12), st.lists(_PIECES, max_size=8), st.lists(st.integers(0, 10**20)))
def test_texts_that_are_alike_have_one_shape(before: list[str], one: int, behind: list[str], others: list[int]) -> None:
    text = f"select name from customers where {' '.join(before)} = {one} {' '.join(behind)}"
    matches = alike(text)
    if matches is None:
        return
    assert shape(text) is not None
    assert matches(text)
    left = iter(others)
    other = re.sub("[0-9]+", lambda found: str(next(left, found[0])), text)
    if matches(other):
        assert shape(other) == shape(text)


@pytest.mark.parametrize(
    ("text", "other", "are"),
    [
        ("select a from t where id = 12", "select a from t where id = 7", True),
        ("select a from t where id = 12 and b>3;", "select a from t where id = 7 and b>44;", True),
        ("select a from t where id = 12", "select a from t where id = -7", False),
        ("select a from t where id = 12", "select a from t where id = \u0663", False),
        ("select a from t where id = 12 limit 5", "select a from t where id = 12 limit 6", False),
        ("select a1 from t where id = 12", "select a2 from t where id = 12", False),
        ("select ' = 5 ' from t where id = 12", "select ' = 6 ' from t where id = 12", False),
    ],
)
def test_what_is_alike(text: str, other: str, are: bool) -> None:
    matches = alike(text)
    assert matches is not None
    assert bool(matches(other)) is are


@pytest.mark.parametrize(
    "text", ["select 1", "select a from t where b = 'x'", "select a from t where b = 'x' and c = 1", "begin"]
)
def test_what_nothing_is_alike_to(text: str) -> None:
    assert alike(text) is None
