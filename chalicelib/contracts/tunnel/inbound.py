"""The receiving half of a stream: puts frames in order, once, and decides when to acknowledge.

Frames arrive in any order and any number of times. Those ahead of their turn wait in `_early`, which is bounded twice: by
`SPREAD` in number and by the advertised limit in bytes. An honest peer reaches neither bound, so going beyond one is a fault.
The limit that is advertised moves in steps, or a slow reader would tempt the peer into ever smaller frames (the silly window
syndrome, RFC 9293, 3.8.6.2).
"""

from __future__ import annotations

import msgspec

from chalicelib.contracts.tunnel.frames import SEQUENCED, SPREAD, Frame, FrameFault, Kind
from chalicelib.contracts.tunnel.limits import Limits


class Opened(msgspec.Struct, frozen=True):
    """The peer's first frame: its opaque opening payload. Comes before everything else, once."""

    payload: bytes


class Received(msgspec.Struct, frozen=True):
    """The next bytes of the stream. `Stream.consume` tells when they have been taken."""

    data: bytes


class PeerEof(msgspec.Struct, frozen=True):
    """The peer has written its last byte."""


Arrival = Opened | Received | PeerEof

_QUICK = 32
"""Frames at the start of a stream that are acknowledged in pairs, so that the sender's allowance grows without waiting."""


class Inbound:
    """What has arrived, what has been delivered, what has been told to the peer."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._step = max(1, min(limits.window // 4, 64 * 1024))
        self._early: dict[int, Frame] = {}
        self._early_bytes = 0
        self._eof_seq: int | None = None
        self._unacknowledged = 0
        self._received = 0
        self._consumed = 0
        self.next = 0
        """The sequence number expected next: everything below it was delivered."""
        self.sack = 0
        """Bit i: frame next + 1 + i waits in the reorder buffer."""
        self.limit = limits.window
        """Payload bytes, from the start, that the peer may send."""
        self.ended = False
        self.ack_at: float | None = None
        """When an acknowledgement must leave, at the latest; `-inf` for at once, None for not at all."""

    @property
    def held(self) -> int:
        """Payload bytes in memory: waiting for their turn, or delivered and not consumed."""
        return self._early_bytes + self._received - self._consumed

    def check(self, frame: Frame) -> None:
        """Raise FrameFault if no honest peer sends this. Changes nothing."""
        if frame.kind not in SEQUENCED or frame.seq < self.next or frame.seq in self._early:
            return
        if frame.seq >= self.next + SPREAD:
            raise FrameFault("a frame is too far ahead")
        if self._received + self._early_bytes + _credit(frame) > self.limit:
            raise FrameFault("the peer sent more than it was allowed to")
        if self._eof_seq is not None and frame.seq > self._eof_seq:
            raise FrameFault("a frame after the end of the stream")
        if frame.kind is Kind.EOF and any(seq > frame.seq for seq in self._early):
            raise FrameFault("an end before frames that had arrived")

    def accept(self, frame: Frame, now: float) -> list[Arrival]:
        """Take a frame that `check` let pass; return what can be delivered by it, in order."""
        if frame.seq < self.next or frame.seq in self._early:
            self.ack_now()  # the peer would not repeat what it knows we have
            return []
        self._early[frame.seq] = frame
        self._early_bytes += _credit(frame)
        if frame.seq > self.next:
            self.sack |= 1 << (frame.seq - self.next - 1)
        if frame.kind is Kind.EOF:
            self._eof_seq = frame.seq
        self._schedule_ack(frame, now)
        return self._deliver()

    def consume(self, count: int) -> None:
        """The reader took ``count`` of the delivered bytes. Raises ValueError if there were not so many."""
        if not 0 <= count <= self._received - self._consumed:
            raise ValueError(f"{count} bytes consumed, {self._received - self._consumed} delivered")
        self._consumed += count
        limit = self._consumed + self._limits.window
        if self.ended or limit - self.limit < self._step:
            return
        starving = self.limit - self._received < self._limits.window // 2
        self.limit = limit
        if starving:
            self.ack_now()

    def ack_now(self) -> None:
        """The next frame must leave at once, if only to acknowledge."""
        self.ack_at = float("-inf")

    def acknowledged(self) -> None:
        """A frame is leaving, and it carries `next`, `sack` and `limit`."""
        self.ack_at = None
        self._unacknowledged = 0

    def forget(self) -> None:
        """Free what waits: nobody will read it."""
        self._early.clear()
        self._early_bytes = self.sack = 0
        self.ack_at = None

    def _deliver(self) -> list[Arrival]:
        arrivals: list[Arrival] = []
        while (frame := self._early.pop(self.next, None)) is not None:
            self.next += 1
            self.sack >>= 1
            size = _credit(frame)
            self._early_bytes -= size
            self._received += size
            match frame.kind:
                case Kind.DATA:
                    arrivals.append(Received(frame.payload))
                case Kind.OPEN:
                    arrivals.append(Opened(frame.payload))
                case _:
                    self.ended = True
                    arrivals.append(PeerEof())
        return arrivals

    def _schedule_ack(self, frame: Frame, now: float) -> None:
        """RFC 1122, 4.2.3.2: an acknowledgement may wait, but neither for long nor for many frames."""
        self._unacknowledged += 1
        every = 2 if self.next < _QUICK else self._limits.ack_every
        if frame.kind is not Kind.DATA or self._unacknowledged >= every:
            self.ack_now()
        elif self.ack_at is None:
            self.ack_at = now + self._limits.ack_delay


def _credit(frame: Frame) -> int:
    """Bytes that count against the limit: the opening payload has a bound of its own."""
    return len(frame.payload) if frame.kind is Kind.DATA else 0
