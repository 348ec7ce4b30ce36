"""The control plane's time, from whole seconds in its replies."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.clock import ServerClock

NOW_MS = 1_700_000_000_500


@given(st.integers(-86_400_000, 86_400_000), st.integers(0, 999), st.lists(st.integers(0, 5_000), min_size=1, max_size=5))
def test_the_true_offset_is_never_missed_by_more_than_the_headers_second(off_ms: int, phase: int, trips: list[int]) -> None:
    local = NOW_MS + phase
    clock = ServerClock(lambda: local)
    for trip in trips:
        sent, local = local, local + trip
        server = sent + trip // 2 + off_ms
        clock.correct(formatdate(server // 1000, usegmt=True), sent)
    assert abs(clock.offset_ms - off_ms) <= 1_000 + max(trips)


def test_a_good_clock_is_left_alone() -> None:
    clock = ServerClock(lambda: NOW_MS)
    clock.correct(formatdate(NOW_MS // 1000, usegmt=True), NOW_MS - 20)
    assert clock.now_ms() == NOW_MS


def test_setting_the_machines_clock_moves_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock()
    before = clock.now_ms()
    assert abs(before - time.time_ns() // 1_000_000) < 60_000
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert 0 <= clock.now_ms() - before < 60_000


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Nov 2023 22:13:20 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_date_that_makes_no_sense_is_ignored(date: str) -> None:
    clock = ServerClock(lambda: NOW_MS)
    clock.correct(date, NOW_MS)
    assert clock.offset_ms == 0
