"""The challenges that shells have drawn: one that comes twice was not drawn, and whoever knows it can answer for the gateway."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

#: Challenges that are remembered. One that comes again because chance wants it is not to be expected: each has 90 bits and more.
_KNOWN: Final = 64


class Drawn:
    """The last challenges of one terminal."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def take(self, challenge: bytes) -> None:
        """Remember ``challenge``. Raises ValueError if it has come before."""
        if challenge in self._known:
            raise ValueError("a challenge came twice")
        self._known[challenge] = None
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
