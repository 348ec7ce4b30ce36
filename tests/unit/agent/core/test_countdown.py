"""Warnings before a session ends: each once, in time, with the time that is really left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.countdown import WARN_S, Countdown

END_MS = 1_700_000_000_000


def at(seconds_before: float) -> int:
    return END_MS - round(seconds_before * 1000)


def test_five_minutes_and_one_minute_before_the_end() -> None:
    countdown = Countdown(END_MS)
    assert [countdown.due(at(left)) for left in (3600, 301)] == ["", ""]
    assert countdown.due(at(300)) == "This session ends at 22:13:20 UTC, in 5 minutes: its time was granted until then."
    assert [countdown.due(at(left)) for left in (299, 61)] == ["", ""]
    assert countdown.due(at(60)) == "This session ends at 22:13:20 UTC, in 1 minute: its time was granted until then."
    assert [countdown.due(at(left)) for left in (59, 1, 0)] == ["", "", ""]


@pytest.mark.parametrize(
    ("left", "words"), [(240, "in 4 minutes"), (42, "in 42 seconds"), (0.4, "in 1 second:"), (59.5, "in 1 minute:")]
)
def test_a_session_that_begins_late_is_warned_once_with_what_is_left(left: float, words: str) -> None:
    countdown = Countdown(END_MS)
    assert words in countdown.due(at(left))
    assert countdown.due(at(left - 0.1)) == ""
    assert bool(countdown.due(at(0.2))) == (left > WARN_S[-1])


def test_what_is_over_is_not_warned_of() -> None:
    assert Countdown(END_MS).due(at(0)) == ""
    assert Countdown(END_MS).due(at(-5)) == ""


@given(st.lists(st.floats(0.001, 4000), min_size=1, max_size=20))
def test_whenever_it_is_looked_at_each_warning_is_said_at_most_once_and_none_is_missed(moments: list[float]) -> None:
    countdown = Countdown(END_MS)
    looked = sorted(moments, reverse=True)
    said = [left for left in looked if countdown.due(at(left))]
    assert len(said) <= len(WARN_S)
    assert bool(said) == (round(looked[-1] * 1000) <= WARN_S[0] * 1000)


@given(st.integers(1, 4_000_000))
def test_who_waits_that_long_misses_no_warning(left_ms: int) -> None:
    countdown = Countdown(END_MS)
    countdown.due(END_MS - left_ms)
    wait_ms = round(countdown.wait_s(END_MS - left_ms) * 1000, 3)
    assert 0 < wait_ms <= left_ms
    assert not any(left_ms - wait_ms + 0.001 < each * 1000 < left_ms for each in WARN_S)


def test_there_is_nothing_to_wait_for_once_it_is_over() -> None:
    assert Countdown(END_MS).wait_s(END_MS) == Countdown(END_MS).wait_s(END_MS + 1) == 0
