"""The sending half of a stream: cuts what was written into frames, keeps them until they are acknowledged, sends again what
was lost.

A frame is cut once and never again: a retransmission is the same bytes under the same sequence number. `_flight` holds every
frame that is not acknowledged, in order; each is either *under way* or *lost*, and a lost one goes before anything new. So while
something is cut nothing is lost, and the allowance for what is under way bounds the whole flight.

    timer       armed while                               when it fires
    rto         a frame is under way                      all under way are lost; the allowance shrinks; back off
    reordering  a frame under way is older than an        it is lost
                acknowledged one, by transmission
    probe       there is something to send, nothing       PROBE leaves; back off
                under way, and no credit
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from chalicelib.contracts.tunnel.frames import INITIAL_CREDIT, SPREAD, Frame, FrameFault, Kind
from chalicelib.contracts.tunnel.limits import Limits
from chalicelib.contracts.tunnel.recovery import Allowance, RoundTrip


class Segment:
    """A frame in flight. ``order`` numbers transmissions, so that "sent after" is exact where two times are equal."""

    __slots__ = ("first_order", "kind", "lost", "order", "payload", "sent_at", "seq")

    def __init__(self, seq: int, kind: Kind, payload: bytes) -> None:
        self.seq = seq
        self.kind = kind
        self.payload = payload
        self.sent_at = 0.0
        self.order = 0
        self.first_order = 0
        self.lost = False


class Ending(Enum):
    """How far the end of our side has come."""

    OPEN = "open"
    WRITTEN = "written"
    SENT = "sent"


class Outbound:
    """What was written, what is in flight, what the peer is prepared to take."""

    def __init__(self, limits: Limits, opening: bytes) -> None:
        self._limits = limits
        self._round_trip = RoundTrip(limits)
        self._allowance = Allowance(limits)
        self._unsent = bytearray()
        self._opening: bytes | None = opening
        self._flight: dict[int, Segment] = {}
        self._flight_bytes = 0
        self._lost: deque[Segment] = deque()
        self._under_way = 0
        self._next_seq = 0
        self._sent_bytes = 0
        self._credit = INITIAL_CREDIT
        self._order = 0
        self._newest_arrived = 0
        self._recovery_order = 0
        self._rto_start = 0.0
        self._reordering_at: float | None = None
        self._probe_at: float | None = None
        self._probes = 0
        self.probe_due = False
        self.ending = Ending.OPEN

    # -- what the writer sees

    @property
    def writable(self) -> int:
        """Bytes that `write` would accept now."""
        return 0 if self.ending is not Ending.OPEN else max(0, self._limits.send_buffer - len(self._unsent))

    @property
    def held(self) -> int:
        """Payload bytes in memory: unsent, or sent and not acknowledged."""
        return len(self._unsent) + self._flight_bytes

    @property
    def finished(self) -> bool:
        """Whether the peer has everything, the end included. (It may have the end before what precedes it.)"""
        return self.ending is Ending.SENT and not self._flight

    @property
    def rto(self) -> float:
        return self._round_trip.rto

    @property
    def waits_for_peer(self) -> bool:
        """Whether the peer owes an answer: an acknowledgement, or credit."""
        return bool(self._flight) or self._probe_at is not None

    @property
    def probing(self) -> bool:
        """Whether all that the peer owes is credit."""
        return not self._flight and self._probe_at is not None

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take as much of ``data`` as fits; return how much."""
        count = min(len(data), self.writable)
        self._unsent += data if count == len(data) else memoryview(data)[:count]
        return count

    def write_eof(self) -> None:
        if self.ending is Ending.OPEN:
            self.ending = Ending.WRITTEN

    # -- what the peer says

    def check(self, frame: Frame) -> None:
        """Raise FrameFault for an acknowledgement of what was never sent. Changes nothing."""
        if frame.ack > self._next_seq or (frame.sack and frame.ack + 1 + frame.sack.bit_length() > self._next_seq):
            raise FrameFault("an acknowledgement of a frame that was not sent")
        if frame.complete and not (self.ending is Ending.SENT and frame.ack == self._next_seq):
            raise FrameFault("the peer is complete before we have ended")

    def acknowledge(self, frame: Frame, now: float) -> bool:
        """Take the acknowledgement and credit of a frame that `check` let pass. True if anything new was acknowledged."""
        if frame.limit > self._credit:
            self._credit = frame.limit
            self._probe_at, self._probes, self.probe_due = None, 0, False
        arrived = [s for s in self._flight.values() if s.seq < frame.ack or _is_selected(frame, s.seq)]
        for segment in arrived:
            self._arrive(segment, now)
        if arrived:
            self._rto_start = now
            self._find_lost(now)
        return bool(arrived)

    # -- time

    def deadline(self) -> float | None:
        """When `tick` has something to do, if a carrier is up."""
        times = [t for t in (self._reordering_at, self._probe_at) if t is not None]
        if self._under_way:
            times.append(self._rto_start + self._round_trip.rto)
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Fire the timers that are due."""
        if self._under_way and now >= self._rto_start + self._round_trip.rto:
            self._round_trip.timed_out()
            self._allowance.timed_out()
            self._lose(list(self._flight.values()))
        if self._reordering_at is not None and now >= self._reordering_at:
            self._find_lost(now)
        if self._probe_at is not None and now >= self._probe_at:
            self.probe_due = True
            self._probes = min(self._probes + 1, 16)
            self._probe_at = now + self._probe_interval()

    def restart(self) -> None:
        """A new carrier: whatever was under way is taken for lost."""
        self._round_trip.restart()
        self._allowance.restart()
        self._lose(list(self._flight.values()))
        if self._probe_at is not None:
            self.probe_due = True

    # -- what leaves

    def next_segment(self, now: float) -> Segment | None:
        """The next frame to send, lost ones first; None if there is none or it may not leave yet."""
        segment = self._take_lost() or self._cut()
        if segment is None:
            self._arm_probe(now)
            return None
        if self._under_way == 0:
            self._rto_start = now
        self._order += 1
        self._under_way += 1
        segment.sent_at, segment.order = now, self._order
        segment.first_order = segment.first_order or self._order
        return segment

    def forget(self) -> None:
        """Free everything: nobody will hear it."""
        self._unsent.clear()
        self._flight.clear()
        self._lost.clear()
        self._flight_bytes = self._under_way = 0
        self._reordering_at = self._probe_at = None
        self.probe_due = False

    def _take_lost(self) -> Segment | None:
        while self._lost and self._under_way < self._allowance.frames:
            segment = self._lost.popleft()
            if segment.lost and segment.seq in self._flight:
                segment.lost = False
                return segment
        return None

    def _cut(self) -> Segment | None:
        """Make a frame of what was written, if one may leave."""
        if self._under_way >= self._allowance.frames:
            return None
        if self._flight and self._next_seq - next(iter(self._flight)) >= SPREAD:
            return None
        if self._opening is not None:
            payload, self._opening = self._opening, None
            return self._launch(Kind.OPEN, payload)
        size = min(len(self._unsent), self._limits.payload, self._credit - self._sent_bytes)
        if size > 0:
            # Small writes leave at once, until so many are under way that each would cost more than it hastens.
            if size < self._limits.payload and len(self._flight) >= max(2, self._limits.max_in_flight // 2):
                return None
            with memoryview(self._unsent) as view:
                payload = bytes(view[:size])
            del self._unsent[:size]
            self._sent_bytes += size
            return self._launch(Kind.DATA, payload)
        if self.ending is Ending.WRITTEN and not self._unsent:
            self.ending = Ending.SENT
            return self._launch(Kind.EOF, b"")
        return None

    def _launch(self, kind: Kind, payload: bytes) -> Segment:
        segment = Segment(self._next_seq, kind, payload)
        self._flight[segment.seq] = segment
        self._flight_bytes += len(payload)
        self._next_seq += 1
        return segment

    def _arrive(self, segment: Segment, now: float) -> None:
        del self._flight[segment.seq]
        self._flight_bytes -= len(segment.payload)
        self._under_way -= not segment.lost
        elapsed = now - segment.sent_at
        if segment.order == segment.first_order:
            self._round_trip.sample(elapsed)
        elif self._round_trip.is_spurious(elapsed):
            return
        self._allowance.acknowledged()
        self._newest_arrived = max(self._newest_arrived, segment.order)

    def _find_lost(self, now: float) -> None:
        """RFC 8985, 6.2: lost is what was sent before something that has arrived, long enough ago."""
        patience = self._round_trip.reordering
        overtaken = [s for s in self._flight.values() if not s.lost and s.order < self._newest_arrived]
        late = [s for s in overtaken if now >= s.sent_at + patience]
        if any(s.order > self._recovery_order for s in late):
            self._allowance.lost()
            self._recovery_order = self._order
        self._lose(late)
        self._reordering_at = min((s.sent_at + patience for s in overtaken if not s.lost), default=None)

    def _lose(self, segments: list[Segment]) -> None:
        for segment in segments:
            if not segment.lost:
                segment.lost = True
                self._under_way -= 1
                self._lost.append(segment)
        self._reordering_at = None

    def _arm_probe(self, now: float) -> None:
        starved = bool(self._unsent) and not self._flight and self._credit <= self._sent_bytes
        if not starved:
            self._probe_at, self._probes, self.probe_due = None, 0, False
        elif self._probe_at is None:
            self._probe_at = now + self._probe_interval()

    def _probe_interval(self) -> float:
        """RFC 9293, 3.8.6.1: the first after one timeout, then ever rarer."""
        return min(self._round_trip.rto * 2.0**self._probes, self._limits.max_rto)


def _is_selected(frame: Frame, seq: int) -> bool:
    return seq > frame.ack and bool(frame.sack >> (seq - frame.ack - 1) & 1)
