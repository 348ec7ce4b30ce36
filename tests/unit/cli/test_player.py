from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from cli.cast import Event
from cli.player import Pace, Player, as_text
from cli.terminal_filter import RESET


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


def played(events: list[Event], pace: Pace | None = None, *, colours: bool = True) -> tuple[str, list[float]]:
    out, time = io.StringIO(), Time()
    Player(out, pace or Pace(), colours=colours, clock=lambda: time.now, sleep=time.sleep).play(events)
    return out.getvalue(), time.slept


def test_intervals_are_kept() -> None:
    assert played([Event(0.0, "o", "a"), Event(1.5, "o", "b")]) == ("ab" + RESET + "\r\n", [1.5])


@pytest.mark.parametrize(("pace", "slept"), [(Pace(speed=2), 2.5), (Pace(idle_limit=2), 2.0), (Pace(speed=4, idle_limit=2), 0.5)])
def test_speed_and_idle_limit(pace: Pace, slept: float) -> None:
    assert played([Event(5.0, "o", "a\n")], pace) == ("a\n" + RESET, [slept])


def test_a_slow_terminal_does_not_add_up() -> None:
    out, time = io.StringIO(), Time()

    def slow(events: list[Event]) -> Iterator[Event]:
        for event in events:
            yield event
            time.now += 0.4

    Player(out, Pace(), clock=lambda: time.now, sleep=time.sleep).play(slow([Event(1.0, "o", "a\n")] * 3))
    assert time.slept == [1.0, 0.6, 0.6]


def test_markers_are_lines_of_their_own() -> None:
    text, _ = played([Event(0, "o", "$ rm x"), Event(0, "m", "denied: rm x (no-rm)"), Event(0, "o", "\r\n$ ")])
    assert text == "$ rm x\r\n\x1b[0;31m▸ denied: rm x (no-rm)\x1b[0m\r\n$ " + RESET + "\r\n"
    assert played([Event(0, "m", "allowed: ls\x1b]52;x\x07")], colours=False)[0] == "▸ allowed: ls\r\n" + RESET


def test_markers_do_not_tear_a_full_screen_program() -> None:
    assert "note" not in played([Event(0, "o", "\x1b[?1049h"), Event(0, "m", "note")])[0]


def test_input_and_unknown_events_are_not_shown() -> None:
    assert played([Event(0, "i", "password"), Event(0, "z", "x"), Event(0, "r", "100x30"), Event(0, "x", "0")])[0] == RESET


def test_the_terminal_is_put_back_when_it_is_interrupted() -> None:
    out = io.StringIO()

    def interrupted() -> Iterator[Event]:
        yield Event(0, "o", "\x1b[?1049h\x1b[?25l")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Player(out, Pace()).play(interrupted())
    assert out.getvalue().endswith("\x1b[?1049l" + RESET + "\r\n")


def test_text() -> None:
    events = [
        Event(0, "o", "$ uname"),
        Event(1, "m", "allowed: uname"),
        Event(0, "o", "\r\nLin"),
        Event(9, "o", "ux\r\n"),
        Event(0, "x", "0"),
    ]
    assert list(as_text(events)) == ["$ uname", "▸ allowed: uname", "Linux", "▸ exit status 0"]
