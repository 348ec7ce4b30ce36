"""Limits: every bound of a stream in one place, as an argument."""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts.tunnel.frames import INITIAL_CREDIT, PAYLOAD_LIMIT, SPREAD

_MIB: Final = 1024 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one side of a stream. Sizes are bytes, times are seconds. Raises ValueError for bounds that cannot work."""

    window: int = 4 * _MIB
    """Received but not yet consumed, at most; `INITIAL_CREDIT` at least."""
    send_buffer: int = 1 * _MIB
    """Written but not yet sent, at most."""
    payload: int = 90_000
    """Payload of one frame when there is a backlog. 90,000 is four billed units of 32 KB as base64 in JSON."""
    max_in_flight: int = 32
    """Frames sent but not yet acknowledged, at most."""
    patience: float = 120.0
    """Without a carrier, or without an acknowledgement, for this long: the peer is lost."""
    linger: float = 2.0
    """How long a finished or aborted stream still answers, so that the peer learns of it."""
    ack_delay: float = 0.025
    """How long an acknowledgement waits for something to travel with."""
    ack_every: int = 4
    """Frames received before an acknowledgement no longer waits."""
    initial_rto: float = 1.0
    """Retransmission timeout before the first measurement (RFC 6298, 2.1)."""
    min_rto: float = 0.2
    max_rto: float = 5.0

    def __post_init__(self) -> None:
        if self.window < INITIAL_CREDIT:
            raise ValueError(f"the window is at least {INITIAL_CREDIT} bytes, which the peer may send unasked")
        if not 1 <= self.payload <= PAYLOAD_LIMIT:
            raise ValueError(f"a payload is 1 to {PAYLOAD_LIMIT} bytes")
        if not 2 <= self.max_in_flight < SPREAD:
            raise ValueError(f"2 to {SPREAD - 1} frames may be in flight")
        if self.send_buffer < 1 or self.ack_every < 1:
            raise ValueError("send_buffer and ack_every are at least 1")
        if min(self.patience, self.linger, self.ack_delay, self.initial_rto, self.min_rto) <= 0 or self.max_rto < self.min_rto:
            raise ValueError("times are positive, and max_rto is no less than min_rto")
