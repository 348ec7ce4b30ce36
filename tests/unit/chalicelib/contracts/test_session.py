from __future__ import annotations

from chalicelib.contracts.session import NEXT, OVER, State, may_follow


def test_the_table_speaks_of_every_state() -> None:
    assert set(NEXT) == set(State)


def test_what_is_over_never_runs_again() -> None:
    for state in OVER:
        assert not may_follow(state, State.LIVE)
        assert not may_follow(state, State.OFFERED)


def test_only_an_offer_becomes_live() -> None:
    assert [state for state in State if may_follow(state, State.LIVE)] == [State.OFFERED]


def test_a_denied_session_stays_denied() -> None:
    assert not NEXT[State.DENIED]
