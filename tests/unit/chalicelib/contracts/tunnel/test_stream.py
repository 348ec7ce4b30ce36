"""A stream's promises, one by one: opening, order, ends, aborts, time. The network is perfect unless a test says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chalicelib.contracts.tunnel import (
    INITIAL_CREDIT,
    OPEN_LIMIT,
    Aborted,
    Frame,
    FrameFault,
    Kind,
    Limits,
    Lost,
    Opened,
    PeerEof,
    Phase,
    Received,
    Stream,
    VersionFault,
    decode,
    encode,
)
from tests.unit.chalicelib.contracts.tunnel.pair import Pair

GOLDEN = Path(__file__).parents[4] / "golden" / "tunnel" / "conversation.txt"


def test_a_conversation_reads_like_this() -> None:
    pair = Pair().up()
    pair.client.write(b"SSH-2.0-client\r\n")
    pair.run(0.05)
    pair.agent.write(b"SSH-2.0-agent\r\n")
    pair.flush().run(1.0)
    pair.client.write(b"l")
    pair.flush().run(1.5)
    pair.client.write(b"s")
    pair.flush()
    pair.client.write(b"\r")
    pair.lose().run(3.0)  # "s" and "\r" never arrive
    pair.agent.write(b"file\r\n")
    pair.agent.write_eof()
    pair.flush().run(3.5)
    pair.client.write_eof()
    pair.flush().run(10.0)
    assert pair.client.done
    assert pair.agent.done
    text = "\n".join(pair.lines) + "\n"
    if os.environ.get("SALLYPORT_REGEN") == "1":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_opening_comes_before_everything_and_once() -> None:
    pair = Pair()
    pair.client.write(b"early")
    pair.up().lose()
    pair.run(5.0)
    assert pair.got["agent"] == [Opened(b"ticket"), Received(b"early")]
    assert pair.got["client"] == [Opened(b"welcome")]


def test_an_opening_has_a_limit() -> None:
    Stream(opening=bytes(OPEN_LIMIT))
    with pytest.raises(ValueError):
        Stream(opening=bytes(OPEN_LIMIT + 1))


def test_a_keystroke_leaves_without_waiting_for_anything() -> None:
    pair = Pair().up().run(10.0)
    for key in (b"a", b"b", b"c"):
        pair.client.write(key)
        (frame,) = pair.client.frames_to_send(pair.now)
        assert decode(frame).payload == key


def test_an_answer_carries_the_acknowledgement() -> None:
    pair = Pair(Limits(ack_delay=0.02)).up().run(10.0)
    start = len(pair.lines)
    pair.client.write(b"k")
    pair.flush().run(10.012)
    pair.agent.write(b"K")
    pair.flush().run(10.2)
    sent = [line.split(" -> ")[1].split()[0] for line in pair.lines[start:] if " -> " in line]
    assert sent == ["DATA", "DATA", "ACK"]


def test_idle_streams_say_nothing() -> None:
    pair = Pair().up().run(5.0)
    start = len(pair.lines)
    pair.run(100_000.0)
    assert pair.lines[start:] == []
    assert pair.client.next_deadline() is None
    assert pair.client.waiting_since is None


def test_each_direction_ends_by_itself() -> None:
    pair = Pair().up()
    pair.client.write(b"question")
    pair.client.write_eof()
    pair.flush().run(1.0)
    assert pair.got["agent"][-2:] == [Received(b"question"), PeerEof()]
    assert pair.client.phase is Phase.LIVE
    pair.agent.write(b"answer")
    pair.agent.write_eof()
    pair.flush().run(1.1)
    assert pair.got["client"][-2:] == [Received(b"answer"), PeerEof()]
    assert pair.client.done
    assert pair.agent.done


def test_the_last_acknowledgement_may_be_lost() -> None:
    pair = Pair(Limits(linger=2.0)).up()
    pair.client.write_eof()
    pair.flush().run(1.0)
    pair.agent.write_eof()
    pair.flush().run(1.01)  # the client has the end, and its acknowledgement flies
    assert pair.client.phase is Phase.COMPLETE
    pair.lose().run(1.5)  # the agent repeats its end, the lingering client answers
    assert pair.agent.done
    assert pair.client.done


def test_a_complete_stream_whose_peer_is_gone_ends_after_its_linger() -> None:
    pair = Pair(Limits(linger=2.0)).up()
    pair.client.write_eof()
    pair.flush().run(1.0)
    pair.agent.write_eof()
    pair.flush().run(1.01)
    pair.lose()
    pair.agent.carrier_down(pair.now)
    pair.run(3.02)
    assert pair.client.done
    assert Lost not in [type(e) for e in pair.got["client"]]


def test_writing_after_the_end_is_the_callers_mistake() -> None:
    stream = Stream()
    stream.write_eof()
    stream.write_eof()
    with pytest.raises(ValueError, match="write_eof"):
        stream.write(b"x")


def test_an_abort_is_told_and_confirmed() -> None:
    pair = Pair().up().run(1.0)
    pair.agent.write(bytes(500_000))
    pair.agent.abort("session_killed", "Revoked.")
    assert pair.agent.held == (0, 0)
    assert pair.agent.writable() == 0
    pair.flush().run(1.01)
    assert pair.got["client"][-1] == Aborted("session_killed", "Revoked.")
    pair.run(1.03)
    assert pair.client.done
    assert pair.agent.done
    assert pair.client.write(b"x") == 0


def test_an_abort_that_is_lost_is_told_again() -> None:
    pair = Pair().up().run(1.0)
    pair.agent.abort("denied", "No.")
    pair.lose().run(2.0)
    assert pair.got["client"][-1] == Aborted("denied", "No.")
    assert pair.agent.done


def test_an_abort_that_nobody_confirms_ends_after_its_linger() -> None:
    pair = Pair(Limits(linger=2.0)).up().run(1.0)
    pair.agent.carrier_down(1.0)
    pair.client.abort("c", "m")
    pair.client.frames_to_send(1.0)
    pair.client.tick(2.99)
    assert pair.client.phase is Phase.ABORTING
    pair.client.tick(3.0)
    assert pair.client.done


def test_both_may_abort_at_once() -> None:
    pair = Pair().up().run(1.0)
    pair.client.abort("one", "")
    pair.agent.abort("two", "")
    pair.flush().run(2.0)
    assert pair.client.done
    assert pair.agent.done
    assert Aborted not in [type(e) for e in pair.got["client"]]


def test_an_abort_without_a_carrier_leaves_when_there_is_one() -> None:
    pair = Pair().up().run(1.0)
    pair.agent.carrier_down(1.0)
    pair.agent.abort("denied", "No.")
    pair.flush().run(1.5)
    pair.agent.carrier_up(1.5)
    pair.flush().run(2.0)
    assert pair.got["client"][-1] == Aborted("denied", "No.")


def test_an_abort_leaves_again_at_once_on_a_new_carrier() -> None:
    pair = Pair().up().run(1.0)
    pair.agent.abort("denied", "No.")
    pair.lose()
    pair.agent.carrier_down(1.0)
    pair.agent.carrier_up(1.01)
    assert [decode(f).kind for f in pair.agent.frames_to_send(1.01)] == [Kind.ABORT]


def test_an_aborted_stream_without_a_carrier_is_done() -> None:
    pair = Pair().up().run(1.0)
    pair.hear("client", encode(Frame(kind=Kind.ABORT, ack=0, limit=0, code="c")))
    assert pair.client.phase is Phase.ABORTED
    pair.client.carrier_down(1.0)
    assert pair.client.done


def test_a_code_that_cannot_travel_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError):
        Stream().abort("Not a code", "")


def test_nothing_comes_after_an_abort() -> None:
    pair = Pair().up().run(1.0)
    pair.client.write(b"late")
    late = pair.client.frames_to_send(1.0)
    pair.agent.abort("c", "m")
    assert pair.agent.receive(late[0], 1.0) == []
    pair.run(3.0)
    assert pair.agent.receive(late[0], 1.0) == []


def test_a_peer_that_never_comes_is_lost() -> None:
    stream = Stream(Limits(patience=120))
    assert stream.frames_to_send(50.0) == []
    assert stream.next_deadline() == 170.0
    assert stream.tick(169.9) == []
    (event,) = stream.tick(170.0)
    assert event == Lost("no connection to the other side for 120 seconds")
    assert stream.done


def test_a_peer_that_never_answers_is_lost() -> None:
    pair = Pair(Limits(patience=120)).up().run(1.0)
    pair.agent.carrier_down(1.0)
    pair.client.write(b"anybody there?")
    while not pair.client.done:
        pair.lose()
        deadline = pair.client.next_deadline()
        assert deadline is not None
        pair.now = deadline
        pair._note("client", pair.client.tick(deadline))
    assert pair.now == 121.0
    assert pair.got["client"][-1] == Lost("no answer from the other side for 120 seconds")


def test_a_peer_that_talks_but_never_acknowledges_is_lost() -> None:
    pair = Pair(Limits(patience=120)).up().run(1.0)
    pair.client.write(b"hear me")
    chatter = encode(Frame(kind=Kind.PROBE, ack=1, limit=0))
    for second in range(1, 122):
        pair.now = float(second)
        pair.hear("client", chatter)
        pair.client.frames_to_send(pair.now)
        pair._note("client", pair.client.tick(pair.now))
    assert isinstance(pair.got["client"][-1], Lost)


def test_patience_begins_when_something_is_missing() -> None:
    pair = Pair(Limits(patience=120)).up().run(10_000.0)
    pair.client.carrier_down(10_000.0)
    assert pair.client.next_deadline() == 10_120.0
    pair.client.carrier_up(10_100.0)
    pair.flush().run(20_000.0)
    assert not pair.client.done
    pair.client.carrier_down(20_000.0)
    assert pair.client.next_deadline() == 20_120.0


def test_a_reader_that_stalls_for_hours_is_not_a_lost_peer() -> None:
    pair = Pair(Limits(window=INITIAL_CREDIT, patience=120, send_buffer=100_000)).up()
    pair.client.write(bytes(50_000))
    pair.flush().run(3 * 3600.0)
    assert not pair.client.done
    arrived = sum(len(e.data) for e in pair.got["agent"] if isinstance(e, Received))
    assert arrived == INITIAL_CREDIT
    pair.agent.consume(arrived)
    pair.flush().run(3 * 3600.0 + 1)
    assert sum(len(e.data) for e in pair.got["agent"] if isinstance(e, Received)) == 2 * INITIAL_CREDIT


def test_a_lost_window_update_is_asked_for() -> None:
    pair = Pair(Limits(window=INITIAL_CREDIT, send_buffer=100_000)).up()
    pair.client.write(bytes(INITIAL_CREDIT + 100))
    pair.flush().run(1.0)
    pair.agent.consume(INITIAL_CREDIT)
    pair.lose().run(10.0)
    assert sum(len(e.data) for e in pair.got["agent"] if isinstance(e, Received)) == INITIAL_CREDIT + 100


def test_what_was_under_way_leaves_again_on_a_new_carrier() -> None:
    pair = Pair().up().run(1.0)
    pair.client.write(b"precious")
    pair.lose()
    pair.client.carrier_down(1.0)
    assert pair.client.frames_to_send(1.01) == []
    pair.client.carrier_up(1.02)
    (frame,) = pair.client.frames_to_send(1.02)
    assert decode(frame).payload == b"precious"


def test_an_acknowledgement_that_may_be_lost_leaves_again_on_a_new_carrier() -> None:
    pair = Pair().up().run(1.0)
    pair.client.write(b"x")
    pair.flush().run(1.01)
    pair.now = 1.035
    pair.lose()  # the delayed acknowledgement
    pair.agent.carrier_up(1.04)
    assert [decode(f).ack for f in pair.agent.frames_to_send(1.04)] == [2]


def test_frames_can_be_taken_one_at_a_time() -> None:
    pair = Pair().up().run(1.0)
    pair.client.write(bytes(300_000))
    taken = []
    while one := pair.client.frames_to_send(1.0, at_most=1):
        assert len(one) == 1
        taken += one
    assert [len(decode(f).payload) for f in taken] == [90_000, 90_000, 90_000, 30_000]


def test_another_version_is_a_fault() -> None:
    stream = Stream()
    wire = encode(Frame(kind=Kind.OPEN, ack=0, limit=0))
    with pytest.raises(VersionFault):
        stream.receive(wire[:-1] + b"\x02", 0.0)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        bytes(200_000),
        encode(Frame(kind=Kind.ACK, ack=2**63, limit=0)),
        encode(Frame(kind=Kind.ACK, ack=1, limit=2**64 - 1, sack=2**255)),
        encode(Frame(kind=Kind.DATA, ack=1, limit=0, seq=2**64 - 1, payload=b"x")),
        encode(Frame(kind=Kind.DATA, ack=9, limit=2**40, seq=1, payload=b"both halves are checked before either changes")),
        encode(Frame(kind=Kind.DATA, ack=2, limit=2**40, seq=300, payload=b"x")),
        encode(Frame(kind=Kind.ACK, ack=2, limit=0, complete=True)),
        encode(Frame(kind=Kind.ABORT, ack=0, limit=0, code="c", confirm=True)),
    ],
)
def test_a_fault_changes_nothing(hostile: bytes) -> None:
    pair = Pair().up().run(1.0)
    pair.client.write(b"under way")
    pair.client.frames_to_send(1.0)
    before = (pair.client.phase, pair.client.held, pair.client.next_deadline(), pair.client.waiting_since)
    with pytest.raises(FrameFault):
        pair.client.receive(hostile, 1.0)
    assert (pair.client.phase, pair.client.held, pair.client.next_deadline(), pair.client.waiting_since) == before
    assert pair.client.frames_to_send(1.0) == []
    pair.run(3.0)
    assert pair.got["agent"][-1] == Received(b"under way")


def test_complete_before_its_own_end_is_a_fault() -> None:
    pair = Pair().up().run(1.0)
    pair.client.write_eof()
    pair.client.frames_to_send(1.0)
    with pytest.raises(FrameFault):
        pair.client.receive(encode(Frame(kind=Kind.ACK, ack=2, limit=0, complete=True)), 1.0)


def test_consume_counts_what_was_delivered() -> None:
    pair = Pair().up()
    pair.client.write(b"four")
    pair.flush().run(1.0)
    assert pair.agent.held[0] == 4
    pair.agent.consume(4)
    assert pair.agent.held[0] == 0
    with pytest.raises(ValueError):
        pair.agent.consume(1)
