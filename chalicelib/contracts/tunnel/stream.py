"""A reliable byte stream over messages that may be lost, doubled, delayed and reordered. Sans-io.

Strategy. API Gateway relays our messages one by one, each by a function of its own: in no order, and gone if a connection dies
under them. A connection lives two hours at most; the session inside must not notice. So the stream belongs to the two ends, and
a connection is only a *carrier* that comes and goes:

- What is written is cut into frames with sequence numbers. A frame is kept until it is acknowledged, cumulatively or
  selectively, and sent again when time says that it is lost (`recovery.py`): never because of order alone.
- The receiver puts frames in order (`inbound.py`), once each, in a buffer bounded by the window that it advertises. The window
  opens when the application says `consume`, so a slow reader stops the writer at the other end and nobody's memory grows.
- Small writes leave at once. While as many frames are under way as the path bears, what is written gathers and leaves in
  frames of about 90 KB (`outbound.py`). Acknowledgements travel with data and alone only when there is none.
- The first frame of each side opens it: a version and an opaque payload, in which the client's side sends its ticket. Data may
  follow at once; the peer delivers it after the opening.
- When a carrier comes up, all that was under way leaves again. When there is none, or no answer,
  for `patience`, the peer is lost.

Time is an argument (seconds of any monotonic clock), and a deadline is an answer. After every verb the caller performs
`frames_to_send`, and calls `tick` at `next_deadline`. A fault in what the peer sends raises `FrameFault` and changes nothing.

    phase     entered when                      write  receive                  frames_to_send        ends
    LIVE      at first                          yes    every frame              every frame           by one of the four below
    COMPLETE  our end is acknowledged and the   no     acknowledges             ACK, marked complete  DONE when the peer is so
              peer's is delivered                      repetitions                                    too, or after linger
    ABORTING  `abort`                           no     only ABORT counts        ABORT, once per rto   DONE when confirmed, or
                                                                                                      after linger
    ABORTED   the peer's ABORT (event Aborted)  no     nothing                  one confirmation      DONE when it has left, or
                                                                                                      at carrier_down
    DONE      see above; or LIVE without        no     nothing                  nothing               never
              carrier or answer (event Lost)

The carrier (up or down) is independent of the phase: while it is down nothing leaves and only `patience` and `linger` count.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from chalicelib.contracts.tunnel.frames import OPEN_LIMIT, SEQUENCED, Frame, FrameFault, Kind, decode, encode, is_code
from chalicelib.contracts.tunnel.inbound import Arrival, Inbound
from chalicelib.contracts.tunnel.limits import Limits
from chalicelib.contracts.tunnel.outbound import Ending, Outbound, Segment

DEFAULTS: Final = Limits()


class Phase(Enum):
    """See the table above."""

    LIVE = "live"
    COMPLETE = "complete"
    ABORTING = "aborting"
    ABORTED = "aborted"
    DONE = "done"


class Aborted(msgspec.Struct, frozen=True):
    """The peer ended the stream, now and for a reason. What was not delivered never will be."""

    code: str
    message: str


class Lost(msgspec.Struct, frozen=True):
    """No carrier, or no answer, for longer than the patience allows."""

    message: str


Event = Arrival | Aborted | Lost


class Stream:
    """One side of a full-duplex stream. ``opening`` is what the peer's `Opened` will hold, at most 8 KB."""

    def __init__(self, limits: Limits = DEFAULTS, opening: bytes = b"") -> None:
        if len(opening) > OPEN_LIMIT:
            raise ValueError(f"an opening payload is at most {OPEN_LIMIT} bytes")
        self._limits = limits
        self._inbound = Inbound(limits)
        self._outbound = Outbound(limits, bytes(opening))
        self._phase = Phase.LIVE
        self._carrier = False
        self._waiting_since: float | None = None
        self._linger_until: float | None = None
        self._abort: Aborted | None = None
        self._abort_at: float | None = None
        self._peer_complete = False

    # -- what the caller may ask

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def done(self) -> bool:
        """Nothing will happen any more."""
        return self._phase is Phase.DONE

    @property
    def carrier(self) -> bool:
        """Whether frames can leave."""
        return self._carrier

    @property
    def waiting_since(self) -> float | None:
        """Since when the peer owes us something, or there has been no carrier; None if all is well. `patience` counts from it."""
        return self._waiting_since

    @property
    def held(self) -> tuple[int, int]:
        """Payload bytes in memory: received and not consumed, written and not acknowledged."""
        return self._inbound.held, self._outbound.held

    def writable(self) -> int:
        """Return how many bytes `write` would accept now."""
        return self._outbound.writable if self._phase is Phase.LIVE else 0

    def next_deadline(self) -> float | None:
        """Return when `tick` is due, None if never. After `tick` and `frames_to_send` at one time it is later than that time."""
        times: list[float | None] = [self._linger_until]
        if self._phase is Phase.LIVE and self._waiting_since is not None:
            times.append(self._waiting_since + self._limits.patience)
        if self._carrier and self._phase in (Phase.LIVE, Phase.COMPLETE):
            times += [self._outbound.deadline(), self._inbound.ack_at]
        if self._carrier and self._phase is Phase.ABORTING:
            times.append(self._abort_at)
        return min((t for t in times if t is not None), default=None)

    # -- verbs of the application

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take the first bytes of ``data``, as many as fit; return how many. 0 once the stream is over.

        Raises ValueError after `write_eof`: that is the caller's mistake, not the peer's doing."""
        if self._phase is not Phase.LIVE:
            return 0
        if self._outbound.ending is not Ending.OPEN:
            raise ValueError("write after write_eof")
        return self._outbound.write(data)

    def write_eof(self) -> None:
        """Nothing more will be written. The peer's `PeerEof` comes after the last byte."""
        if self._phase is Phase.LIVE:
            self._outbound.write_eof()

    def consume(self, count: int) -> None:
        """The application took ``count`` bytes of what `Received` brought: the peer may send as many more.

        Raises ValueError for more bytes than were delivered."""
        self._inbound.consume(count)

    def abort(self, code: str, message: str) -> None:
        """End the stream now, and tell the peer why if it can be told. ``code`` is 1 to 64 of ``a-z 0-9 _``."""
        if not is_code(code):
            raise ValueError(f"not a code: {code!r}")
        if self._phase in (Phase.LIVE, Phase.COMPLETE):
            self._abort = Aborted(code, message)
            self._abort_at = float("-inf")
            self._close(Phase.ABORTING)

    # -- verbs of the carrier

    def receive(self, frame: bytes, now: float) -> list[Event]:
        """Take one frame from the carrier; return what it caused, in order. Raises FrameFault, and then nothing has changed."""
        if self._phase in (Phase.ABORTED, Phase.DONE):
            return []
        parsed = decode(frame)
        if parsed.kind is Kind.ABORT:
            return self._receive_abort(parsed)
        if self._phase is Phase.ABORTING:
            return []
        self._outbound.check(parsed)
        self._inbound.check(parsed)
        if parsed.complete and not self._inbound.ended:
            raise FrameFault("the peer is complete, but we have not had its end")
        progress = self._outbound.acknowledge(parsed, now)
        events: list[Event] = []
        if parsed.kind in SEQUENCED:
            events += self._inbound.accept(parsed, now)
        elif parsed.kind is Kind.PROBE:
            self._inbound.ack_now()
        if progress or self._outbound.probing:
            self._waiting_since = None
        self._peer_complete |= parsed.complete
        self._settle(now)
        return events

    def carrier_up(self, now: float) -> None:
        """Frames can leave. Also to be called when one carrier replaced another: what was under way leaves again."""
        self._carrier = True
        self._outbound.restart()
        if self._inbound.next and self._phase in (Phase.LIVE, Phase.COMPLETE):
            self._inbound.ack_now()
        if self._phase is Phase.ABORTING:
            self._abort_at = now
        self._settle(now)

    def carrier_down(self, now: float) -> None:
        """Frames cannot leave."""
        self._carrier = False
        if self._phase is Phase.ABORTED:
            self._phase = Phase.DONE
        self._settle(now)

    def frames_to_send(self, now: float, at_most: int | None = None) -> list[bytes]:
        """Return what must leave now, ``at_most`` frames of it. They count as sent: what cannot be sent after all is lost."""
        frames: list[bytes] = []
        while self._carrier and (at_most is None or len(frames) < at_most):
            frame = self._next_frame(now)
            if frame is None:
                break
            frames.append(encode(frame))
        self._settle(now)
        return frames

    def tick(self, now: float) -> list[Event]:
        """Let time pass. Early and late calls do no harm."""
        if self._linger_until is not None and now >= self._linger_until:
            self._close(Phase.DONE)
        if self._phase is Phase.LIVE and self._waiting_since is not None and now >= self._waiting_since + self._limits.patience:
            self._close(Phase.DONE)
            missing = "answer from the other side" if self._carrier else "connection to the other side"
            return [Lost(f"no {missing} for {self._limits.patience:g} seconds")]
        if self._carrier and self._phase in (Phase.LIVE, Phase.COMPLETE):
            self._outbound.tick(now)
        self._settle(now)
        return []

    # -- inside

    def _next_frame(self, now: float) -> Frame | None:
        match self._phase:
            case Phase.LIVE | Phase.COMPLETE:
                segment = self._outbound.next_segment(now)
                if segment is not None:
                    return self._frame(segment.kind, segment)
                if self._outbound.probe_due:
                    self._outbound.probe_due = False
                    return self._frame(Kind.PROBE)
                if self._inbound.ack_at is not None and now >= self._inbound.ack_at:
                    return self._frame(Kind.ACK)
                return None
            case Phase.ABORTING if self._abort_at is not None and now >= self._abort_at:
                self._abort_at = now + self._outbound.rto
                return self._frame(Kind.ABORT)
            case Phase.ABORTED:
                self._phase = Phase.DONE
                return self._frame(Kind.ABORT, confirm=True)
            case _:
                return None

    def _frame(self, kind: Kind, segment: Segment | None = None, confirm: bool = False) -> Frame:
        inbound = self._inbound
        inbound.acknowledged()
        return Frame(
            kind=kind,
            ack=inbound.next,
            limit=inbound.limit,
            sack=inbound.sack,
            complete=self._phase is Phase.COMPLETE,
            seq=segment.seq if segment else 0,
            payload=segment.payload if segment else b"",
            code=self._abort.code if self._abort else "",
            message=self._abort.message if self._abort else "",
            confirm=confirm,
        )

    def _receive_abort(self, frame: Frame) -> list[Event]:
        if self._phase is Phase.ABORTING:
            self._close(Phase.DONE)
            return []
        if frame.confirm:
            raise FrameFault("a confirmation of an ABORT that was not sent")
        self._abort = Aborted(frame.code, frame.message)
        self._close(Phase.ABORTED if self._carrier else Phase.DONE)
        return [self._abort]

    def _close(self, phase: Phase) -> None:
        self._phase = phase
        self._waiting_since = self._linger_until = None
        self._outbound.forget()
        self._inbound.forget()

    def _settle(self, now: float) -> None:
        """Follow the table: what has just happened may end a phase, start a wait, or end one."""
        match self._phase:
            case Phase.LIVE:
                if self._outbound.finished and self._inbound.ended:
                    self._phase = Phase.COMPLETE
                    self._waiting_since = None
                    self._linger_until = now + self._limits.linger
                    self._inbound.ack_now()
                elif self._carrier and not self._outbound.waits_for_peer:
                    self._waiting_since = None
                elif self._waiting_since is None:
                    self._waiting_since = now
            case Phase.ABORTING if self._linger_until is None:
                self._linger_until = now + self._limits.linger
            case _:
                pass
        if self._phase is Phase.COMPLETE and self._peer_complete and self._inbound.ack_at is None:  # so it has been told
            self._close(Phase.DONE)
