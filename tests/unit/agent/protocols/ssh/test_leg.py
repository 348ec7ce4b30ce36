"""What waits for a peer that does not take it stays bounded, whichever way the peer finds not to take it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.ssh.leg import ANSWERS, KEPT, KEPT_HARD, PIECE, Ear, Gather, Guard, Waiting


class Transport:
    def __init__(self) -> None:
        self.buffered = 0
        self.ahead = 0
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def set_write_buffer_limits(self, high: int) -> None:
        self.ahead = high

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Conn:
    """The part of asyncssh's connection that a guard looks at."""

    def __init__(self) -> None:
        self._kex_complete = True
        self._transport: Transport | None = Transport()
        self.sent = 0
        self.aborted = False
        self.pause_writing: Any = None
        self.resume_writing: Any = None

    def send_packet(self, kind: int, *parts: bytes, handler: Any = None) -> None:
        self.sent += 1

    def abort(self) -> None:
        self.aborted = True


def guarded() -> tuple[Any, list[bool]]:
    conn, pressed = Conn(), list[bool]()
    Guard(conn, pressed.append, Ear(conn))  # type: ignore[arg-type]
    return conn, pressed


def test_a_peer_that_does_not_read_answers_is_not_read_either() -> None:
    conn, pressed = guarded()
    conn.pause_writing()
    conn._transport.buffered = ANSWERS
    conn.send_packet(100)
    assert (conn._transport.reading, pressed) == (True, [True])
    conn._transport.buffered += 1
    conn.send_packet(100)
    assert not conn._transport.reading
    conn.resume_writing()
    assert (conn._transport.reading, pressed) == (True, [True, False])


def test_whoever_has_a_reason_not_to_listen_keeps_it() -> None:
    conn: Any = Conn()
    ear = Ear(conn)
    ear.close("one")
    ear.close("other")
    ear.open("one")
    assert not conn._transport.reading
    ear.open("one")
    assert not conn._transport.reading
    ear.open("other")
    assert conn._transport.reading


def test_what_is_written_ahead_stays_below_what_makes_us_deaf() -> None:
    conn, _ = guarded()
    assert 0 < conn._transport.ahead < ANSWERS


def test_the_empty_packets_against_cbc_are_not_sent() -> None:
    conn, _ = guarded()
    conn.send_packet(2, b"\0\0\0\0")
    assert conn.sent == 0
    # One with something in it was asked for.
    conn.send_packet(2, b"\0\0\0\1x")
    conn.send_packet(94, b"\0\0\0\0")
    assert conn.sent == 2


def test_a_key_exchange_that_is_not_completed_holds_the_sources_and_then_gives_up() -> None:
    conn, pressed = guarded()
    conn._kex_complete = False
    conn.send_packet(94, b"x" * KEPT)
    assert pressed == [True]
    conn.send_packet(94, b"x" * KEPT)
    assert (pressed, conn.aborted) == ([True], False)
    conn.send_packet(94, b"x" * KEPT_HARD)
    assert conn.aborted


def test_a_key_exchange_that_is_completed_lets_the_sources_go_on() -> None:
    conn, pressed = guarded()
    conn._kex_complete = False
    conn.send_packet(94, b"x" * (KEPT + 1))
    conn._kex_complete = True
    conn.send_packet(94, b"x" * 10)
    assert pressed == [True, False]
    conn._kex_complete = False
    conn.send_packet(94, b"x" * (KEPT // 2))
    assert pressed == [True, False]


def test_an_ordinary_key_exchange_disturbs_nobody() -> None:
    conn, pressed = guarded()
    conn._kex_complete = False
    for _ in range(100):
        conn.send_packet(94, b"x" * 1000)
    conn._kex_complete = True
    conn.send_packet(94, b"x")
    assert (pressed, conn.sent) == ([], 101)


PAIRS = st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.sampled_from([None, 1])), max_size=60)


@given(PAIRS)
def test_what_waits_comes_out_as_it_went_in(pairs: list[tuple[bytes, int | None]]) -> None:
    waiting = Waiting()
    for pair in pairs:
        waiting.append(pair)
    out = [waiting.pop(0) for _ in range(len(waiting))]
    for kind in (None, 1):
        assert b"".join(data for data, of in out if of == kind) == b"".join(data for data, of in pairs if of == kind)
    assert all(isinstance(data, bytes) for data, _ in out)


def test_a_million_crumbs_wait_in_a_few_pieces() -> None:
    waiting = Waiting()
    for _ in range(1_000_000):
        waiting.append((b"c", None))
    assert len(waiting) == -(-1_000_000 // PIECE)


@given(PAIRS)
def test_what_is_gathered_keeps_its_order(pairs: list[tuple[bytes, int | None]]) -> None:
    passed: list[tuple[bytes, int | None]] = []
    gather = Gather(lambda data, kind: passed.append((data, kind)), lambda later: None)
    for data, kind in pairs:
        gather.add(data, kind)
    gather.flush()
    flat = [(byte, kind) for data, kind in pairs for byte in data]
    assert [(byte, kind) for data, kind in passed for byte in data] == flat


def test_crumbs_are_passed_on_once_a_turn_and_large_reads_at_once() -> None:
    passed: list[int] = []
    turns: list[Any] = []
    gather = Gather(lambda data, kind: passed.append(len(data)), turns.append)
    for _ in range(5_000):
        gather.add(b"c", "out")
    assert (passed, len(turns)) == ([], 1)
    turns[0]()
    gather.add(b"x" * PIECE, "out")
    assert passed == [5_000, PIECE]
