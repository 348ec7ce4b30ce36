"""Estimates of the path: RFC 6298's numbers, and what follows from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.tunnel import Limits
from chalicelib.contracts.tunnel.recovery import Allowance, RoundTrip

LIMITS = Limits(ack_delay=0.025, initial_rto=1.0, min_rto=0.2, max_rto=5.0, max_in_flight=32)


def test_the_estimate_follows_rfc_6298() -> None:
    trip = RoundTrip(LIMITS)
    assert trip.rto == 1.0
    trip.sample(0.4)  # SRTT = R, RTTVAR = R/2
    assert trip.rto == pytest.approx(0.4 + 4 * 0.2 + 0.025)
    trip.sample(0.8)  # RTTVAR = 3/4 * 0.2 + 1/4 * 0.4; SRTT = 7/8 * 0.4 + 1/8 * 0.8
    assert trip.rto == pytest.approx(0.45 + 4 * 0.25 + 0.025)


def test_timeouts_back_off_until_something_is_measured() -> None:
    trip = RoundTrip(LIMITS)
    trip.sample(0.1)
    first = trip.rto
    trip.timed_out()
    assert trip.rto == 2 * first
    for _ in range(100):
        trip.timed_out()
    assert trip.rto == LIMITS.max_rto
    trip.sample(0.1)
    assert trip.rto < first


def test_a_fast_steady_path_keeps_the_floor() -> None:
    trip = RoundTrip(LIMITS)
    for _ in range(100):
        trip.sample(0.001)
    assert trip.rto == LIMITS.min_rto
    assert 0.01 < trip.reordering < 0.05


def test_late_arrivals_widen_the_tolerance_and_a_new_carrier_resets_it() -> None:
    trip = RoundTrip(LIMITS)
    for _ in range(100):
        trip.sample(0.4)
    before = trip.reordering
    assert not trip.is_spurious(0.4)
    assert trip.reordering == before
    assert trip.is_spurious(0.1)
    assert trip.reordering == pytest.approx(before + 0.1)
    for _ in range(10):
        trip.is_spurious(0.1)
    assert trip.reordering == pytest.approx(before + 15 * 0.1)
    trip.restart()
    assert trip.reordering == before


def test_nothing_is_spurious_before_anything_is_known() -> None:
    assert not RoundTrip(LIMITS).is_spurious(0.0)


def test_the_allowance_grows_fast_then_slowly_and_halves() -> None:
    allowance = Allowance(LIMITS)
    start = allowance.frames
    for _ in range(start):
        allowance.acknowledged()
    assert allowance.frames == 2 * start
    allowance.lost()
    after = allowance.frames
    assert after == int(2 * start * 0.7)
    for _ in range(after):
        allowance.acknowledged()
    assert after <= allowance.frames <= after + 1
    allowance.timed_out()
    assert allowance.frames == 2
    allowance.restart()
    assert allowance.frames == start


@given(st.lists(st.sampled_from(["acknowledged", "lost", "timed_out", "restart"])), st.integers(2, 64))
def test_the_allowance_keeps_its_bounds(happenings: list[str], most: int) -> None:
    allowance = Allowance(Limits(max_in_flight=most))
    for name in happenings:
        getattr(allowance, name)()
        assert 2 <= allowance.frames <= most


@given(st.lists(st.floats(0, 100) | st.none()))
def test_timeouts_keep_their_bounds(happenings: list[float | None]) -> None:
    trip = RoundTrip(LIMITS)
    for elapsed in happenings:
        if elapsed is None:
            trip.timed_out()
        else:
            trip.sample(elapsed)
            trip.is_spurious(elapsed / 2)
        assert LIMITS.min_rto <= trip.rto <= LIMITS.max_rto
        assert trip.reordering > 0
