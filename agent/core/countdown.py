"""The last minutes of a session: what its owner is told, and when. Pure; the clock is somebody else's.

A warning that is late (the machine slept, the session began with less time than that) is said once, as soon as there is somebody
to hear it, with the time that is really left.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

#: Seconds before the end at which its owner is warned, longest first.
WARN_S: Final = (300, 60)


class Countdown:
    """One session's end, at ``deadline_ms`` (Unix milliseconds)."""

    def __init__(self, deadline_ms: int) -> None:
        self._deadline_ms = deadline_ms
        self._left = list(WARN_S)

    def due(self, now_ms: int) -> str:
        """Return what has to be said now; empty most of the time. Says each warning once, and of several late ones the last."""
        left_ms = self._deadline_ms - now_ms
        passed = [each for each in self._left if left_ms <= each * 1000]
        self._left = self._left[len(passed) :]
        return self._words(left_ms) if passed and left_ms > 0 else ""

    def wait_s(self, now_ms: int) -> float:
        """Seconds until the next warning or the end, whichever comes first; 0 once it has ended."""
        left_s = (self._deadline_ms - now_ms) / 1000
        return max(0.0, left_s - (self._left[0] if self._left and left_s > self._left[0] else 0))

    def _words(self, left_ms: int) -> str:
        end = dt.datetime.fromtimestamp(self._deadline_ms / 1000, dt.UTC).strftime("%H:%M:%S")
        seconds = -(-left_ms // 1000)
        much, unit = (seconds, "second") if seconds < 60 else (round(seconds / 60), "minute")
        return f"This session ends at {end} UTC, in {much} {unit}{'s' if much != 1 else ''}: its time was granted until then."
