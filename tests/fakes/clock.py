"""Time that stands still until a test moves it, and chance that is different every time but the same in every run."""

from __future__ import annotations

import hashlib
import itertools


class FakeClock:
    """Implements ``chalicelib.ports.Clock``."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.now = now_ms
        self._draws = itertools.count(1)

    def now_ms(self) -> int:
        return self.now

    def entropy(self, count: int) -> bytes:
        return hashlib.shake_128(f"chance {next(self._draws)}".encode()).digest(count)

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)
