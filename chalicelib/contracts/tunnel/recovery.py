"""What the sender has learned of its path: how long an answer takes, when silence means loss, how much may be under way.

The path is odd: it reorders half of what it carries, because each message is relayed by a function of its own, and it loses
almost nothing but what was under way when a connection died. So order says little and time says much: duplicate
acknowledgements (RFC 5681) are useless here, and loss is judged by elapsed time alone, as in RACK (RFC 8985).
"""

from __future__ import annotations

from typing import Final

from chalicelib.contracts.tunnel.limits import Limits

_GRANULARITY: Final = 0.010
"""Seconds that a scheduler may be late without it meaning anything."""
_WIDEST: Final = 16
_FIRST_ALLOWANCE: Final = 8.0
_LEAST_AFTER_LOSS: Final = 4.0
_LEAST: Final = 2.0


class RoundTrip:
    """Round-trip time as RFC 6298 estimates it, and the two timeouts that follow. Seconds throughout."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._smoothed: float | None = None
        self._variation = 0.0
        self._least = float("inf")
        self._backoff = 0
        self._tolerance = 1

    @property
    def rto(self) -> float:
        """Silence for this long after sending: everything under way is taken for lost."""
        if self._smoothed is None:
            timeout = self._limits.initial_rto
        else:
            timeout = self._smoothed + max(4 * self._variation, _GRANULARITY) + self._limits.ack_delay
        return min(max(timeout, self._limits.min_rto) * 2.0**self._backoff, self._limits.max_rto)

    @property
    def reordering(self) -> float:
        """A frame this old is lost if one that was sent after it has arrived (RFC 8985, 6.2, with the variation added to the
        reordering window: here a path's jitter *is* its reordering)."""
        if self._smoothed is None:
            return self.rto
        return (
            self._smoothed + max(4 * self._variation, self._smoothed / 4 * self._tolerance, _GRANULARITY) + self._limits.ack_delay
        )

    def sample(self, elapsed: float) -> None:
        """A frame that was sent once was acknowledged after ``elapsed`` (Karn: only such frames measure anything)."""
        self._least = min(self._least, elapsed)
        self._backoff = 0
        if self._smoothed is None:
            self._smoothed, self._variation = elapsed, elapsed / 2
            return
        self._variation += (abs(self._smoothed - elapsed) - self._variation) / 4
        self._smoothed += (elapsed - self._smoothed) / 8

    def is_spurious(self, elapsed: float) -> bool:
        """Whether a retransmission was acknowledged too soon for the acknowledgement to be its own: the frame was late, not
        lost. Each one widens `reordering`."""
        if elapsed >= self._least or self._least == float("inf"):
            return False
        self._tolerance = min(self._tolerance * 2, _WIDEST)
        return True

    def timed_out(self) -> None:
        """Nothing came within `rto`: wait twice as long next time."""
        self._backoff = min(self._backoff + 1, 16)

    def restart(self) -> None:
        """A new carrier: the estimate is the best guess there is, its extremes are not."""
        self._least = float("inf")
        self._backoff = 0
        self._tolerance = 1


class Allowance:
    """How many frames may be under way (RFC 5681, counted in messages): doubles per round trip until the first loss, then grows
    by one. TCP guards the links on both sides; this guards what lies between, and keeps a slow link's queue short."""

    def __init__(self, limits: Limits) -> None:
        self._most = float(limits.max_in_flight)
        self._frames = min(_FIRST_ALLOWANCE, self._most)
        self._threshold = self._most

    @property
    def frames(self) -> int:
        """Frames that may be under way at once, two at least."""
        return int(self._frames)

    def acknowledged(self) -> None:
        """One frame arrived."""
        growth = 1.0 if self._frames < self._threshold else 1 / self._frames
        self._frames = min(self._frames + growth, self._most)

    def lost(self) -> None:
        """Frames are missing while others arrive. Called once per round trip, however many they are."""
        self._threshold = self._frames = min(max(self._frames * 0.7, _LEAST_AFTER_LOSS), self._most)

    def timed_out(self) -> None:
        """Nothing arrives."""
        self._threshold = max(self._frames / 2, _LEAST)
        self._frames = _LEAST

    def restart(self) -> None:
        """A new carrier."""
        self._frames = min(max(self._frames, _FIRST_ALLOWANCE), self._most)
        self._threshold = self._most
