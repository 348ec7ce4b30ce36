"""How often a shell may ask."""

from agent.core.shell.guard.pace import BURST, PER_SECOND, Pace


def spent(pace: Pace, now_ms: int) -> int:
    """Ask until it is too often; return how often that was."""
    count = 0
    while pace.spend(now_ms):
        count += 1
    return count


def test_a_burst_is_bounded_and_comes_back_slowly() -> None:
    pace = Pace()
    assert spent(pace, 0) == BURST
    assert PER_SECOND - 2 <= spent(pace, 1000) <= PER_SECOND
    assert spent(pace, 10_000_000) == BURST


def test_what_somebody_typed_for_is_not_counted() -> None:
    pace = Pace()
    pace.grant(5000)
    assert spent(pace, 0) == BURST + 5000


def test_a_clock_that_goes_back_gives_nothing() -> None:
    pace = Pace()
    spent(pace, 1000)
    assert spent(pace, 0) == 0


def test_keys_without_end_are_not_saved_up_without_end() -> None:
    pace = Pace()
    for _ in range(10):
        pace.grant(100_000)
    assert spent(pace, 0) == 200_000
