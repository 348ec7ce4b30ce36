"""Chaos is reproducible: the seed decides, not the threads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.chaos import CALM, UNHARMED, Chaos, SocketView

seeds = st.integers(0, 2**31)
directions = st.sampled_from(["up", "down"])
counts = st.integers(0, 10_000)


@given(seeds, directions, counts, counts)
def test_calm_touches_nothing(seed: int, direction: str, ordinal: int, index: int) -> None:
    assert Chaos(seed=seed).fate(direction, ordinal, index) is UNHARMED  # type: ignore[arg-type]
    assert CALM.calm


@given(seeds, directions, counts, counts)
def test_the_same_message_has_the_same_fate(seed: int, direction: str, ordinal: int, index: int) -> None:
    first = Chaos(seed=seed, delay_s=(0.01, 0.2), reorder=0.3, drop=0.2)
    again = Chaos(seed=seed, delay_s=(0.01, 0.2), reorder=0.3, drop=0.2)
    assert first.fate(direction, ordinal, index) == again.fate(direction, ordinal, index)  # type: ignore[arg-type]


@given(seeds, directions, counts, counts)
def test_delays_stay_in_their_range(seed: int, direction: str, ordinal: int, index: int) -> None:
    fate = Chaos(seed=seed, delay_s=(0.5, 0.75)).fate(direction, ordinal, index)  # type: ignore[arg-type]
    assert 0.5 <= fate.delay_s <= 0.75
    assert not fate.dropped


def test_seed_direction_connection_and_message_all_matter() -> None:
    def pattern(seed: int, direction: str, ordinal: int) -> list[bool]:
        chaos = Chaos(seed=seed, drop=0.5)
        return [chaos.fate(direction, ordinal, at).dropped for at in range(64)]  # type: ignore[arg-type]

    patterns = [pattern(1, "up", 0), pattern(2, "up", 0), pattern(1, "down", 0), pattern(1, "up", 1)]
    assert len({tuple(p) for p in patterns}) == 4


def test_shares_are_about_what_was_asked_for() -> None:
    chaos = Chaos(seed=7, drop=0.1, reorder=0.25, hold_s=5.0)
    fates = [chaos.fate("up", 0, at) for at in range(4000)]
    kept = [fate for fate in fates if not fate.dropped]
    assert 320 < len(fates) - len(kept) < 480
    assert 0.22 < sum(fate.delay_s >= 5.0 for fate in kept) / len(kept) < 0.28


def test_everything_or_nothing() -> None:
    assert all(Chaos(drop=1.0).fate("down", 0, at).dropped for at in range(100))
    assert all(Chaos(reorder=1.0, hold_s=2.0).fate("down", 0, at).delay_s == 2.0 for at in range(100))


def test_the_predicate_chooses_whom_to_kill() -> None:
    first = SocketView("a", 0, "/api", {}, 0)
    second = SocketView("b", 1, "/api", {"x-side": "agent"}, 0)
    agents = Chaos(kill_every_s=1, kill_if=lambda socket: socket.headers.get("x-side") == "agent")
    assert [agents.kills(first), agents.kills(second)] == [False, True]
    assert Chaos(kill_every_s=1).kills(first)


@pytest.mark.parametrize(
    "wrong",
    [{"delay_s": (0.2, 0.1)}, {"delay_s": (-1.0, 0.0)}, {"drop": 1.1}, {"reorder": -0.1}, {"kill_every_s": 0.0}],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Chaos(**wrong)  # type: ignore[arg-type]
