"""The sending half: what leaves, when it leaves again, and what stays within bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from chalicelib.contracts.tunnel import INITIAL_CREDIT, SPREAD, Frame, FrameFault, Kind, Limits
from chalicelib.contracts.tunnel.outbound import Outbound, Segment

LIMITS = Limits(payload=1000, max_in_flight=32, send_buffer=100_000)
PLENTY = 2**40


def ack(number: int, sack: int = 0, limit: int = PLENTY, complete: bool = False) -> Frame:
    return Frame(kind=Kind.ACK, ack=number, limit=limit, sack=sack, complete=complete)


def hear(outbound: Outbound, frame: Frame, now: float) -> bool:
    outbound.check(frame)
    return outbound.acknowledge(frame, now)


def drain(outbound: Outbound, now: float) -> list[Segment]:
    segments = []
    while (segment := outbound.next_segment(now)) is not None:
        segments.append(segment)
    return segments


def opened(limits: Limits = LIMITS, limit: int = PLENTY, rtt: float = 0.1) -> Outbound:
    """One whose opening is acknowledged at time 0, with a measured round trip and a full allowance."""
    outbound = Outbound(limits, b"hi")
    assert [s.kind for s in drain(outbound, -100.0)] == [Kind.OPEN]
    hear(outbound, ack(1, limit=limit), -100.0 + rtt)
    for _ in range(limits.max_in_flight):
        outbound._allowance.acknowledged()
        outbound._round_trip.sample(rtt)
    return outbound


def seqs(segments: list[Segment]) -> list[int]:
    return [segment.seq for segment in segments]


def test_the_opening_leaves_first_and_data_with_it() -> None:
    outbound = Outbound(LIMITS, b"hi")
    outbound.write(b"early")
    outbound.write_eof()
    left = drain(outbound, 0.0)
    assert [(s.seq, s.kind, s.payload) for s in left] == [(0, Kind.OPEN, b"hi"), (1, Kind.DATA, b"early"), (2, Kind.EOF, b"")]


def test_a_small_write_leaves_at_once_and_a_backlog_in_full_frames() -> None:
    outbound = opened()
    outbound.write(b"l")
    assert [s.payload for s in drain(outbound, 0.0)] == [b"l"]
    outbound.write(b"s")
    assert [s.payload for s in drain(outbound, 0.0)] == [b"s"]
    outbound.write(bytes(2500))
    assert [len(s.payload) for s in drain(outbound, 0.0)] == [1000, 1000, 500]


def test_many_small_writes_gather_while_half_the_flight_is_under_way() -> None:
    outbound = opened()
    for _ in range(40):
        outbound.write(b"x" * 10)
        drain(outbound, 0.0)
    assert outbound._next_seq == 1 + 16
    hear(outbound, ack(2), 0.1)
    assert [len(s.payload) for s in drain(outbound, 0.1)] == [240]


def test_write_takes_what_fits() -> None:
    outbound = Outbound(LIMITS, b"")
    assert outbound.write(bytearray(99_999)) == 99_999
    assert outbound.writable == 1
    assert outbound.write(memoryview(b"ab")) == 1
    assert outbound.write(b"c") == 0
    outbound.write_eof()
    assert outbound.writable == 0


def test_frames_in_flight_are_bounded_whatever_the_peer_does() -> None:
    outbound = opened(Limits(payload=1000, max_in_flight=5))
    outbound.write(bytes(100_000))
    assert len(drain(outbound, 0.0)) == 5
    hear(outbound, ack(2, sack=0b10), 0.1)
    assert len(drain(outbound, 0.1)) == 2
    assert outbound.held == 100_000 - 2 * 1000


def test_one_missing_frame_holds_the_sequence_numbers_back() -> None:
    outbound = opened()
    outbound.write(bytes(20_000))
    drain(outbound, 0.0)
    sent, newest = 20, 20
    for step in range(2 * SPREAD):
        hear(outbound, ack(1, sack=(1 << newest - 1) - 1 if newest > 1 else 0), 0.001 * step)
        outbound.write(b"x" * 1000)
        newest = max([newest, *(s.seq for s in drain(outbound, 0.001 * step))])
        sent += 1
    assert newest == SPREAD


def test_credit_bounds_what_leaves() -> None:
    outbound = Outbound(LIMITS, b"")
    outbound.write(bytes(50_000))
    now = 0.0
    while left := drain(outbound, now):
        hear(outbound, ack(left[-1].seq + 1, limit=0), now)  # a limit below the initial credit takes nothing back
    assert outbound._sent_bytes == INITIAL_CREDIT
    hear(outbound, ack(outbound._next_seq, limit=INITIAL_CREDIT + 1), now)
    assert [len(s.payload) for s in drain(outbound, now)] == [1]


def test_without_credit_a_probe_is_due_ever_more_rarely() -> None:
    outbound = opened(limit=INITIAL_CREDIT)
    outbound.write(bytes(INITIAL_CREDIT + 1))
    while drain(outbound, 0.1):
        hear(outbound, ack(outbound._next_seq, limit=INITIAL_CREDIT), 0.1)
    assert outbound.probing
    times = []
    for _ in range(10):
        due = outbound.deadline()
        assert due is not None
        assert not outbound.probe_due
        outbound.tick(due)
        assert outbound.probe_due
        outbound.probe_due = False
        times.append(due)
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == LIMITS.max_rto
    hear(outbound, ack(outbound._next_seq, limit=PLENTY), times[-1])
    assert outbound.deadline() is None
    assert len(drain(outbound, times[-1])) == 1


def test_silence_loses_everything_under_way_and_backs_off() -> None:
    outbound = opened()
    outbound.write(bytes(5000))
    first = drain(outbound, 0.0)
    due = outbound.deadline()
    assert due == outbound.rto
    outbound.tick(due - 0.001)
    assert drain(outbound, due - 0.001) == []
    outbound.tick(due)
    again = drain(outbound, due)
    assert seqs(again) == seqs(first)[:2], "the allowance has shrunk to two"
    assert [s.payload for s in again] == [s.payload for s in first[:2]]
    assert outbound.deadline() == due + 2 * due
    hear(outbound, ack(3), due + 0.1)
    assert seqs(drain(outbound, due + 0.1)) == seqs(first)[2:], "and grows with what arrives"


def test_a_hole_is_filled_when_time_says_so_not_when_order_does() -> None:
    outbound = opened(rtt=0.1)
    outbound.write(bytes(6000))
    drain(outbound, 0.0)
    hear(outbound, ack(1, sack=0b11111), 0.1)  # all but the first: three "duplicate acknowledgements" and more
    assert drain(outbound, 0.1) == []
    due = outbound.deadline()
    assert due is not None
    assert 0.1 < due < outbound.rto + 0.1
    outbound.tick(due)
    assert seqs(drain(outbound, due)) == [1]


def test_a_late_frame_is_not_sent_again() -> None:
    outbound = opened(rtt=0.1)
    outbound.write(bytes(6000))
    drain(outbound, 0.0)
    hear(outbound, ack(1, sack=0b11111), 0.1)
    hear(outbound, ack(7), 0.12)
    outbound.tick(1.0)
    assert drain(outbound, 1.0) == []
    assert outbound.deadline() is None
    assert outbound.held == 0


def test_losses_of_one_round_trip_shrink_the_allowance_once() -> None:
    outbound = opened(rtt=0.1)
    outbound.write(bytes(10_000))
    drain(outbound, 0.0)
    outbound.write(bytes(10_000))
    drain(outbound, 0.05)
    hear(outbound, ack(1, sack=0b111_1111_1101_1111_1111), 0.15)  # the first of each ten is missing
    for _ in range(2):
        due = outbound.deadline()
        assert due is not None
        outbound.tick(due)
        drain(outbound, due)
    assert outbound._allowance.frames == int(32 * 0.7)


def test_a_retransmission_that_was_needless_teaches_patience() -> None:
    outbound = opened(rtt=0.1)
    outbound.write(bytes(6000))
    drain(outbound, 0.0)
    hear(outbound, ack(1, sack=0b11111), 0.1)
    due = outbound.deadline()
    assert due is not None
    outbound.tick(due)
    assert seqs(drain(outbound, due)) == [1]
    before = outbound._round_trip.reordering
    hear(outbound, ack(7), due + 0.001)  # too soon for an answer to the second one
    assert outbound._round_trip.reordering > before


def test_a_new_carrier_asks_for_credit_at_once() -> None:
    outbound = opened(limit=INITIAL_CREDIT)
    outbound.write(bytes(INITIAL_CREDIT + 1))
    while drain(outbound, 0.1):
        hear(outbound, ack(outbound._next_seq, limit=INITIAL_CREDIT), 0.1)
    assert not outbound.probe_due
    outbound.restart()
    assert outbound.probe_due


def test_the_last_frame_of_a_flight_has_only_silence_to_tell() -> None:
    outbound = opened(rtt=0.1)
    outbound.write(bytes(3000))
    drain(outbound, 0.0)
    hear(outbound, ack(3), 0.1)
    assert outbound.deadline() == 0.1 + outbound.rto


def test_a_new_carrier_sends_everything_again_within_the_allowance() -> None:
    outbound = opened()
    outbound.write(bytes(20_000))
    first = drain(outbound, 0.0)
    assert len(first) == 20
    outbound.restart()
    again = drain(outbound, 0.05)
    assert seqs(again) == seqs(first)
    hear(outbound, ack(21), 0.15)
    assert not outbound.waits_for_peer


def test_what_was_acknowledged_while_lost_is_not_sent_again() -> None:
    outbound = opened()
    outbound.write(bytes(4000))
    drain(outbound, 0.0)
    outbound.restart()
    hear(outbound, ack(3), 0.1)
    assert seqs(drain(outbound, 0.1)) == [3, 4]


def test_finished_means_that_the_peer_has_everything() -> None:
    outbound = opened()
    outbound.write(bytes(2000))
    outbound.write_eof()
    drain(outbound, 0.0)
    hear(outbound, ack(1, sack=0b11 << 0), 0.1)  # the end and the second frame, but not the first
    assert not outbound.finished
    hear(outbound, ack(4), 0.2)
    assert outbound.finished


@pytest.mark.parametrize(
    "hostile", [ack(5), ack(2**64 - 1), ack(3, sack=1), ack(1, sack=0b1000), ack(0, sack=2**255), ack(4, complete=True)]
)
def test_an_acknowledgement_of_what_was_not_sent_is_a_fault(hostile: Frame) -> None:
    outbound = opened()
    outbound.write(bytes(3000))
    drain(outbound, 0.0)
    with pytest.raises(FrameFault):
        outbound.check(hostile)
    outbound.check(ack(4))


def test_complete_is_believed_only_with_our_end_acknowledged() -> None:
    outbound = opened()
    outbound.write_eof()
    with pytest.raises(FrameFault):
        outbound.check(ack(1, complete=True))
    drain(outbound, 0.0)
    with pytest.raises(FrameFault):
        outbound.check(ack(1, complete=True))
    outbound.check(ack(2, complete=True))


def test_an_old_acknowledgement_changes_nothing() -> None:
    outbound = opened()
    outbound.write(bytes(3000))
    drain(outbound, 0.0)
    hear(outbound, ack(4), 0.1)
    assert not hear(outbound, ack(1, sack=0b1, limit=0), 0.2)
    outbound.write(b"x")
    assert seqs(drain(outbound, 0.2)) == [4]


def test_forgetting_frees_everything() -> None:
    outbound = opened()
    outbound.write(bytes(50_000))
    drain(outbound, 0.0)
    outbound.forget()
    assert outbound.held == 0
    assert outbound.deadline() is None
    assert drain(outbound, 1.0) == []
