"""Signs of life on standard error: a spinner, or a bar where the end is known. Only on a terminal, and only after a moment.

The line is drawn by a thread of its own, because what takes long (a request, a download) blocks the one that waits for it.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Final, Self

from cli.plain import clean, shorten
from cli.screen import is_terminal, paint

_DELAY_S: Final = 0.6
_TICK_S: Final = 0.1
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR: Final = 24


class Progress:
    """A line that says what is being waited for; gone without a trace when the block ends."""

    def __init__(self, label: str, total: int = 0) -> None:
        self._label = clean(label)
        self._total = total
        self._done = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if is_terminal(sys.stderr):
            self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        self._done += amount

    def line(self, frame: int) -> str:
        """Return what the line reads now."""
        if not self._total:
            return f"{_FRAMES[frame % len(_FRAMES)]} {self._label}"
        part = min(self._done / self._total, 1.0)
        full = int(part * _BAR)
        return f"{'━' * full}{'╌' * (_BAR - full)} {part * 100:3.0f} %  {self._label}"

    def _draw(self) -> None:
        if self._over.wait(_DELAY_S):
            return
        frame = 0
        while True:
            sys.stderr.write(f"\r\x1b[K{paint(shorten(self.line(frame), 78), 'dim', stream=sys.stderr)}")
            sys.stderr.flush()
            if self._over.wait(_TICK_S):
                break
            frame += 1
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
