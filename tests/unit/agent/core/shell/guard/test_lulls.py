"""When Ctrl-C is pressed once more."""

from agent.core.shell.guard.lulls import FIRST, Lulls


def test_it_takes_twice_as_long_each_time_up_to_a_bound() -> None:
    lulls = Lulls()
    at = [moment for moment in range(1, 2000) if lulls.come()]
    gaps = [after - before for before, after in zip([0, *at], at, strict=False)]
    assert gaps == [8, 16, 32, 64, 128, 256, 256, 256, 256, 256, 256]


def test_what_comes_begins_it_again() -> None:
    lulls = Lulls()
    for _ in range(FIRST):
        lulls.come()
    lulls.over()
    assert [lulls.come() for _ in range(FIRST)] == [False] * (FIRST - 1) + [True]
