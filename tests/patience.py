"""How long tests wait for what must come: longer than any machine stalls, so that only a hang is longer.

What must *not* come is not waited for at all: tests ask for something that comes after it (a verdict, a marker, a line in a log).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

#: Seconds until something that must come is given up. Nobody waits that long but for a fault.
HANG_S: Final = 120.0
_LOOK_S: Final = 0.05

T = TypeVar("T")


def until(condition: Callable[[], T], what: str) -> T:
    """Return what ``condition`` returns once that is true. Raises AssertionError if ``what`` never happens."""
    deadline = time.monotonic() + HANG_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(_LOOK_S)
    return found
