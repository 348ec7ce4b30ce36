"""Waiting for what must come, for as long as the demo does.

What must *not* come is not waited for: tests ask for something that comes after it (a verdict, a marker, a line in a log).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from infra.demo.patience import HANG_S

__all__ = ["HANG_S", "until"]

_LOOK_S: Final = 0.05

T = TypeVar("T")


def until(condition: Callable[[], T], what: str) -> T:
    """Return what ``condition`` returns once that is true. Raises AssertionError if ``what`` never happens."""
    deadline = time.monotonic() + HANG_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(_LOOK_S)
    return found
