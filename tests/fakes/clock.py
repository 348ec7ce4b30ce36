"""Time that stands still until a test moves it, and chance that is different every time but the same in every run."""

from __future__ import annotations

import hashlib


class FakeClock:
    """Implements ``chalicelib.ports.Clock``."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.now = now_ms
        self._drawn = 0

    def now_ms(self) -> int:
        return self.now

    def entropy(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_128(f"chance {self._drawn}".encode()).digest(count)

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)
