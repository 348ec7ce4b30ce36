"""How often a shell may ask: as often as somebody presses Enter, and a little more.

A loop in somebody's start-up file, or a program that has learned a nonce, could ask for ever. Every question costs a decision and
a write to the disk, so questions are paid for: by keys, which are many in a paste, and slowly by time.
"""

from __future__ import annotations

from typing import Final

#: Questions and prompts that nobody typed for, at once.
BURST: Final = 1000
#: Such as come back each second.
PER_SECOND: Final = 20
#: What one Enter may lead to: a question and a prompt.
PER_ENTER: Final = 2
_MOST: Final = 200_000


class Pace:
    """Counts. Time is told."""

    def __init__(self) -> None:
        self._left: float = BURST
        self._since_ms: int | None = None

    def grant(self, questions: int) -> None:
        """Something was done that may lead to so many questions."""
        self._left = min(_MOST, self._left + questions)

    def spend(self, now_ms: int) -> bool:
        """Count one. False where there were too many."""
        if self._since_ms is not None and self._left < BURST:
            self._left = min(BURST, self._left + max(0, now_ms - self._since_ms) * PER_SECOND / 1000)
        self._since_ms = now_ms
        self._left -= 1
        return self._left >= 0
