"""Playing a terminal recording: in real time on a terminal, or as text."""

from __future__ import annotations

import termios
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

import msgspec

from cli.cast import Event
from cli.plain import clean
from cli.screen import is_terminal
from cli.terminal_filter import TerminalFilter
from cli.terminal_text import TerminalText

_REFUSED: Final = ("denied", "held")


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast to play. ``idle_limit`` is the longest pause in recorded seconds, 0 for none."""

    speed: float = 1.0
    idle_limit: float = 0.0

    def wait(self, interval: float) -> float:
        """Return the seconds that a recorded ``interval`` takes."""
        return (min(interval, self.idle_limit) if self.idle_limit else interval) / self.speed


class Player:
    """Writes recorded output to a terminal, filtered and paced. ``clock`` and ``sleep`` count seconds."""

    def __init__(
        self, out: TextIO, pace: Pace, *, colours: bool = True, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._out = out
        self._pace = pace
        self._colours = colours
        self._clock = clock
        self._sleep = sleep
        self._filter = TerminalFilter()
        self._line_is_open = False
        self._line_was_broken = False

    def play(self, events: Iterable[Event]) -> None:
        """Play to the end. However it ends, the terminal is put back as it was."""
        due = self._clock()
        try:
            for event in events:
                due += self._pace.wait(event.interval)
                # Sleeping until a moment instead of for a time keeps the pace however slow the terminal is.
                if (left := due - self._clock()) > 0:
                    self._out.flush()
                    self._sleep(left)
                self._show(event)
        finally:
            self._write(self._filter.reset())
            if self._line_is_open:
                self._write("\r\n")
            self._out.flush()

    def _show(self, event: Event) -> None:
        if event.code == "o":
            text = self._filter.feed(event.data)
            self._write(text.lstrip("\r").removeprefix("\n") if self._line_was_broken else text)
            if text:
                self._line_is_open = not text.endswith("\n")
                self._line_was_broken = False
        elif event.code == "m" and not self._filter.alternate:
            self._write(("\r\n" if self._line_is_open else "") + self._marker(event.data) + "\r\n")
            # The command line's own newline comes after the marker, and would leave an empty line.
            self._line_was_broken |= self._line_is_open
            self._line_is_open = False

    def _marker(self, label: str) -> str:
        text = f"▸ {clean(label)}"
        if not self._colours:
            return text
        return f"\x1b[0;{'31' if label.startswith(_REFUSED) else '2'}m{text}\x1b[0m"

    def _write(self, text: str) -> None:
        self._out.write(text)


@contextmanager
def silent_keys(keyboard: TextIO) -> Iterator[None]:
    """Keep keys from being written into the picture, and from reaching the shell afterwards. Ctrl-C still works."""
    if not is_terminal(keyboard):
        yield
        return
    before = termios.tcgetattr(keyboard)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(keyboard, termios.TCSANOW, silent)
    try:
        yield
    finally:
        # TCSAFLUSH also drops what was typed meanwhile.
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


def as_text(events: Iterable[Event]) -> Iterator[str]:
    """Yield a recording as lines of plain text, markers on lines of their own."""
    screen = TerminalText()
    broken = False
    for event in events:
        if event.code == "o":
            lines = screen.feed(event.data)
            yield from lines[1:] if broken and lines and not lines[0] else lines
            broken = broken and not lines
        elif event.code == "m":
            broken |= bool(unfinished := screen.flush())
            yield from unfinished
            yield f"▸ {clean(event.data)}"
        elif event.code == "x":
            yield from screen.flush()
            yield f"▸ exit status {clean(event.data)}"
    yield from screen.flush()
