"""When the catalogue is read again for a name that it does not have. Pure.

Others make tables too, through the gateway and beside it. A statement about one waits for another reading, so that it is decided
by what is there; one that is mistyped costs a reading as well, and so does a function that no reading will ever show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: Milliseconds after a reading before a name is worth another one. Doubled for each that helped nobody.
REST_MS: Final = 2_000
_MOST_DOUBLINGS: Final = 5


class Missing:
    """What one connection's statements have missed. Whoever drives its engine reads the catalogue, and says when it last did."""

    def __init__(self) -> None:
        self.age_ms: Callable[[], int] = lambda: 0
        """Milliseconds since the catalogue was read, or could not be."""
        self.wanted = False
        """A statement waits for the catalogue to be read again."""
        self._looked = False
        self._fruitless = 0

    def miss(self) -> bool:
        """A statement names what is not known. Return whether it waits for another reading."""
        self._looked = self.wanted = self.age_ms() > REST_MS << min(self._fruitless, _MOST_DOUBLINGS)
        if self.wanted:
            self._fruitless += 1  # until it has been found
        return self.wanted

    def known(self) -> None:
        """A statement names nothing that is not known."""
        if self._looked:
            self._looked, self._fruitless = False, 0
