"""The agent's clock, held to the control plane's: deadlines and tickets are in *its* time.

Between two replies, which may be hours apart, it goes on by itself: it counts from when the process started, sleep of the machine
included, and does not follow whoever sets the machine's clock meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

#: A correction larger than this is a broken Date header, not a clock that is off: ten years in milliseconds.
_ABSURD_MS: Final = 10 * 365 * 86_400_000


#: CLOCK_MONOTONIC stands still while a machine is suspended; what has no other is rarely suspended.
_elapsed_ns: Final[Callable[[], int]] = (
    partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns
)
_STARTED_NS: Final = time.time_ns() - _elapsed_ns()


def steady_ms() -> int:
    """This machine's Unix milliseconds, as its clock was set when the process started."""
    return (_STARTED_NS + _elapsed_ns()) // 1_000_000


class ServerClock:
    """Unix milliseconds, corrected by the ``Date`` of the control plane's replies."""

    def __init__(self, local_ms: Callable[[], int] = steady_ms) -> None:
        self._local_ms = local_ms
        self.offset_ms = 0

    def local_ms(self) -> int:
        """This machine's own Unix milliseconds."""
        return self._local_ms()

    def now_ms(self) -> int:
        """The control plane's Unix milliseconds, as far as they are known."""
        return self._local_ms() + self.offset_ms

    def correct(self, date: str, sent_ms: int) -> None:
        """Take the ``Date`` header (RFC 9110 §6.6.1) of a reply to a request that was sent at local ``sent_ms``.

        The header counts whole seconds, so it bounds the offset from both sides; an offset inside the bounds stays as it is,
        because moving it would only add noise. A header that is not a date is ignored.
        """
        try:
            server_ms = int(parsedate_to_datetime(date).timestamp()) * 1000
        except (ValueError, TypeError, OverflowError):
            return
        lowest = server_ms - self._local_ms()
        highest = server_ms + 1000 - sent_ms
        if abs(lowest) < _ABSURD_MS and lowest <= highest:
            self.offset_ms = min(max(self.offset_ms, lowest), highest)
