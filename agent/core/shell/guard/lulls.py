"""When Ctrl-C is pressed once more: moments in which nothing came are counted, and it takes twice as many each time. Pure.

A shell that is only slow starts again with each Ctrl-C, so pressing it at an even pace might never let it come to its prompt.
"""

from __future__ import annotations

from typing import Final

#: Moments before the first time. Whoever counts them says how long one is.
FIRST: Final = 8
_MOST: Final = 256


class Lulls:
    """Counts moments in which nothing came."""

    __slots__ = ("_left", "_next")

    def __init__(self) -> None:
        self.over()

    def over(self) -> None:
        """Something has come."""
        self._left = self._next = FIRST

    def come(self) -> bool:
        """Count one more. True where it is time."""
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self._next = min(_MOST, 2 * self._next)
        return True
