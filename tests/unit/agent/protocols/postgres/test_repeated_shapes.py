"""The short road for texts that differ in their constants, as the real analysis reads them: the same as the long one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.sql import Session, analyse
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis
from tests.bypass.sql.database import CATALOGUE
from tests.unit.agent.protocols.postgres.conversation import (
    ALLOW,
    IDLE,
    SYNC,
    Conversation,
    bind,
    columns,
    complete,
    describe,
    execute,
    parse,
    query,
)
from tests.unit.agent.protocols.postgres.two_roads import HOW, read_twice, state


def _read(text: str, catalogue: Catalogue, session: Session) -> Analysis:
    return analyse(text, catalogue, session=session)


def with_sql(*rules: str, originals: bool = False) -> Conversation:
    return Conversation(*rules, read=_read, catalogue=CATALOGUE, originals=originals)


def sealed() -> Conversation:
    return with_sql(originals=True)


def seen_by_text() -> Conversation:
    return with_sql(ALLOW, 'forbid(principal, action, resource) when { context.text like "*= 7*" };')


def seen_by_clock() -> Conversation:
    return with_sql(ALLOW, "forbid(principal, action, resource) when { context.hour == 25 };")


_SHAPED = [
    "SELECT name FROM customers WHERE id = {}",
    "SELECT name FROM customers WHERE id = {};",
    "SELECT name FROM customers WHERE id = {} AND id > {} ;",
    "SELECT name FROM customers WHERE name = 'hunter2' AND id = {}",
    "SELECT name FROM customers WHERE name = '{}'",
    "SELECT id + {} FROM customers",
    "UPDATE customers SET name = 'x' WHERE id = {}",
    "DELETE FROM customers WHERE id = {}",
    "SELECT name FROM nowhere WHERE id = {}",
    "SELECT name FROM customers WHERE id = {}; SELECT 1",
    "SELECT name FROM customers WHERE id = {} AND name = 'names'",
    "SELECT name FROM customers WHERE id = {} AND name = 'client_encoding'",
    "SELECT name FROM customers WHERE id = {} and",
]
_NUMBERS = st.sampled_from([0, 7, 12, 123456, 4111111111111111, 10**30])
_ASKED = st.builds(lambda text, one, two: query(text.format(one, two)), st.sampled_from(_SHAPED), _NUMBERS, _NUMBERS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(_ASKED, HOW, st.integers(0, 400)), max_size=16),
    st.sampled_from([with_sql, sealed, seen_by_text, seen_by_clock]),
    st.sampled_from([(), (ALLOW,), ("forbid(principal, action, resource);",)]),
)
def test_both_roads_lead_to_the_same_with_texts_of_one_shape(
    steps: list[tuple[bytes, str, int]], talks: Callable[[], Conversation], later: tuple[str, ...]
) -> None:
    short, long, _ = read_twice(steps, later=later, talks=talks)
    assert state(short) == state(long)
    assert short.fault == long.fault  # type: ignore[attr-defined]


_PREPARED = st.builds(
    lambda number, asks: bind("", "s", b"%d" % number) + (describe("P") if asks else b"") + execute() + SYNC,
    _NUMBERS,
    st.booleans(),
)


@st.composite
def _cut(draw: st.DrawFn) -> list[tuple[bytes, str, int]]:
    """One statement said often enough to be known, then a pipeline of it and others, cut at any places."""
    again = draw(st.one_of(_ASKED, _PREPARED))
    others = st.sampled_from([query("BEGIN"), query("END"), execute() + SYNC])
    said = b"".join(draw(st.lists(st.one_of(st.just(again), _ASKED, _PREPARED, others), min_size=1, max_size=6)))
    cuts = sorted(draw(st.sets(st.integers(1, len(said)), max_size=4)))
    reads = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True) if start < end]
    known = [parse("s", "SELECT name FROM customers WHERE id = $1") + describe("S", "s") + SYNC, again, again, again]
    known += [query("BEGIN"), again] if draw(st.booleans()) else []
    return [(each, "whole", 0) for each in known] + [(each, draw(HOW), draw(st.integers(0, 400))) for each in [*reads, again]]


@settings(max_examples=150, deadline=None)
@given(_cut(), st.sampled_from([with_sql, sealed, seen_by_text, seen_by_clock]))
def test_both_roads_lead_to_the_same_for_pipelines_cut_anywhere(
    steps: list[tuple[bytes, str, int]], talks: Callable[[], Conversation]
) -> None:
    short, long, _ = read_twice(steps, talks=talks)
    assert state(short) == state(long)
    assert short.fault == long.fault  # type: ignore[attr-defined]


def test_numbers_too_long_to_be_of_no_kind_are_looked_at() -> None:
    """A number of nine digits and more goes by the text's own way: as a card would, it may have to be left out."""
    steps = [
        (query(f"SELECT name FROM customers WHERE id = {number}"), "whole", 0) for number in (1, 2, 3, 12345678, 123456789, 4)
    ]
    short, long, taken = read_twice(steps, talks=with_sql)
    assert taken == 4
    known = [each for each in short.engine.repeats._numbered.values() if each is not None]
    assert [each.lead for each in known] == [b"SELECT name FROM customers WHERE id = "]
    assert state(short) == state(long)


@pytest.mark.parametrize("talks", [with_sql, seen_by_text, seen_by_clock])
@pytest.mark.parametrize("text", [_SHAPED[0], _SHAPED[2], _SHAPED[3], _SHAPED[4], _SHAPED[6]])
def test_texts_that_differ_in_numbers_go_the_short_road(text: str, talks: Callable[[], Conversation]) -> None:
    steps = [(query(text.format(number, number)), "whole", 0) for number in (1, 22, 333, 4, 5)]
    short, long, taken = read_twice(steps, talks=talks)
    assert taken == 3
    assert state(short) == state(long)
    kept = [each["text"] for each in short.record if each["event"] == "operation"]
    assert [each.count("333") for each in kept] == [0, 0, text.count("{}"), 0, 0]


def test_a_number_that_policy_looks_for_is_found_on_the_short_road() -> None:
    steps = [(query(f"SELECT name FROM customers WHERE id = {number}"), "whole", 0) for number in (1, 2, 3, 7, 4)]
    short, long, taken = read_twice(steps, talks=seen_by_text)
    assert taken == 2
    assert short.denied == 1
    assert state(short) == state(long)


def test_a_newer_catalogue_is_read_before_anything_is_repeated() -> None:
    talk = with_sql()
    said = query("SELECT name FROM customers WHERE id = 1")
    answer = columns("a", "secret") + complete("SELECT 0") + IDLE
    for _ in range(3):
        talk.says(said)
        talk.answers(answer)
    talk.classifier.adopt(CATALOGUE)
    talk.says(said)
    assert not talk.engine.repeats.under_way
