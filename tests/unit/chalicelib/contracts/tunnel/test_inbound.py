"""The receiving half: in order, once, within its bounds; acknowledges in time."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.tunnel import INITIAL_CREDIT, SPREAD, Frame, FrameFault, Kind, Limits, Opened, PeerEof, Received
from chalicelib.contracts.tunnel.inbound import Inbound

SMALL = Limits(window=INITIAL_CREDIT)
OPEN = Frame(kind=Kind.OPEN, ack=0, limit=0, payload=b"hi")


def data(seq: int, payload: bytes = b"x") -> Frame:
    return Frame(kind=Kind.DATA, ack=0, limit=0, seq=seq, payload=payload)


def eof(seq: int) -> Frame:
    return Frame(kind=Kind.EOF, ack=0, limit=0, seq=seq)


def feed(inbound: Inbound, *frames: Frame, now: float = 0.0) -> list[object]:
    events: list[object] = []
    for frame in frames:
        inbound.check(frame)
        events += inbound.accept(frame, now)
    return events


def test_in_order() -> None:
    inbound = Inbound(Limits())
    assert feed(inbound, OPEN, data(1, b"a"), eof(2)) == [Opened(b"hi"), Received(b"a"), PeerEof()]
    assert inbound.ended
    assert inbound.next == 3


@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition(count: int, rng: Random) -> None:
    frames = [OPEN, *(data(seq, b"%d," % seq) for seq in range(1, count)), eof(count)]
    shuffled = frames + [f for f in frames if rng.random() < 0.5]
    rng.shuffle(shuffled)
    inbound = Inbound(Limits())
    events = []
    for frame in shuffled:
        events += feed(inbound, frame)
        assert inbound.sack & 1 << 256 == 0
    assert events[0] == Opened(b"hi")
    assert events[-1] == PeerEof()
    assert b"".join(e.data for e in events[1:-1]) == b"".join(f.payload for f in frames[1:-1])
    assert inbound.sack == 0
    assert inbound.next == count + 1


def test_the_sack_names_what_waits() -> None:
    inbound = Inbound(Limits())
    feed(inbound, data(2), data(5))
    assert (inbound.next, inbound.sack) == (0, 0b10010)
    feed(inbound, OPEN)
    assert (inbound.next, inbound.sack) == (1, 0b1001)
    feed(inbound, data(1))
    assert (inbound.next, inbound.sack) == (3, 0b10)


def test_too_far_ahead_is_a_fault() -> None:
    inbound = Inbound(Limits())
    feed(inbound, data(SPREAD - 1))
    with pytest.raises(FrameFault):
        inbound.check(data(SPREAD))
    with pytest.raises(FrameFault):
        inbound.check(data(2**64 - 1))
    feed(inbound, OPEN, data(SPREAD))


def test_more_than_the_limit_is_a_fault_wherever_it_waits() -> None:
    inbound = Inbound(SMALL)
    half = bytes(INITIAL_CREDIT // 2)
    feed(inbound, data(5, half), OPEN, data(1, half))
    for seq in (2, 6):
        with pytest.raises(FrameFault):
            inbound.check(data(seq))
    inbound.check(data(5, half))  # a repetition takes no room
    inbound.check(eof(6))
    assert inbound.held == INITIAL_CREDIT


def test_consuming_moves_the_limit_in_steps() -> None:
    inbound = Inbound(SMALL)
    feed(inbound, OPEN, data(1, bytes(10_000)))
    inbound.acknowledged()
    inbound.consume(4_095)
    assert inbound.limit == INITIAL_CREDIT
    assert inbound.ack_at is None
    inbound.consume(1)
    assert inbound.limit == INITIAL_CREDIT + 4_096
    assert inbound.ack_at == float("-inf"), "a starving peer is told at once"
    for wrong in (-1, 10_000):
        with pytest.raises(ValueError):
            inbound.consume(wrong)


def test_a_peer_with_room_is_not_told_at_once() -> None:
    inbound = Inbound(Limits())
    feed(inbound, OPEN, data(1, bytes(70_000)))
    inbound.acknowledged()
    inbound.consume(70_000)
    assert inbound.limit == Limits().window + 70_000
    assert inbound.ack_at is None


@pytest.mark.parametrize("wrong", [data(4), data(9), eof(5)])
def test_nothing_follows_the_end(wrong: Frame) -> None:
    inbound = Inbound(Limits())
    feed(inbound, eof(3))
    with pytest.raises(FrameFault):
        inbound.check(wrong)


def test_an_end_cannot_precede_what_came() -> None:
    inbound = Inbound(Limits())
    feed(inbound, data(7))
    with pytest.raises(FrameFault):
        inbound.check(eof(6))
    inbound.check(eof(8))


def test_a_second_spelling_of_a_frame_changes_nothing() -> None:
    inbound = Inbound(Limits())
    events = feed(inbound, data(1, b"first"), data(1, b"other"), OPEN, data(1, b"third"), eof(1))
    assert events == [Opened(b"hi"), Received(b"first")]
    assert not inbound.ended


def test_an_acknowledgement_waits_a_little_for_company() -> None:
    limits = Limits(ack_delay=0.03, ack_every=3)
    inbound = Inbound(limits)
    feed(inbound, OPEN, *(data(seq) for seq in range(1, 40)))
    inbound.acknowledged()
    feed(inbound, data(40), now=1.0)
    assert inbound.ack_at == 1.03
    feed(inbound, data(41), now=1.01)
    assert inbound.ack_at == 1.03
    feed(inbound, data(42), now=1.02)
    assert inbound.ack_at == float("-inf")
    inbound.acknowledged()
    feed(inbound, data(42), now=1.03)
    assert inbound.ack_at == float("-inf"), "a repetition means that the peer does not know"


def test_the_first_frames_are_acknowledged_in_pairs_and_ends_at_once() -> None:
    inbound = Inbound(Limits(ack_every=100))
    feed(inbound, OPEN)
    assert inbound.ack_at == float("-inf")
    inbound.acknowledged()
    feed(inbound, data(1))
    assert inbound.ack_at is not None
    assert inbound.ack_at > 0
    feed(inbound, data(2))
    assert inbound.ack_at == float("-inf")
    inbound.acknowledged()
    feed(inbound, eof(3))
    assert inbound.ack_at == float("-inf")


def test_after_the_end_there_is_nothing_to_tell() -> None:
    inbound = Inbound(SMALL)
    feed(inbound, OPEN, data(1, bytes(INITIAL_CREDIT)), eof(2))
    inbound.acknowledged()
    inbound.consume(INITIAL_CREDIT)
    assert inbound.ack_at is None
    assert inbound.held == 0


def test_forgetting_frees_what_waits() -> None:
    inbound = Inbound(Limits())
    feed(inbound, data(3, bytes(1000)))
    inbound.forget()
    assert inbound.held == 0
    assert inbound.ack_at is None
