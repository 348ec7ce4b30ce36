"""Patience that can be lost: how whoever waits in one thread learns from another that nobody wants the answer any more."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Patience:
    """Belongs to one wait. Lost once and for all, from any thread."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._told: list[Callable[[], None]] = []
        self._lost = False

    @property
    def lost(self) -> bool:
        """True once nobody wants the answer any more."""
        return self._lost

    def lose(self) -> None:
        """Have every wait end."""
        with self._changing:
            self._lost = True
            told, self._told = self._told, []
        for each in told:
            each()

    def on_loss(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called once when it is lost, in the thread that loses it; at once where it is lost already."""
        with self._changing:
            if not self._lost:
                self._told.append(tell)
                return
        tell()
