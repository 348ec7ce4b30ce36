"""Two ends of a forwarded connection without a wire: what is passed on, in which order, and in how many pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.ssh import pipe
from agent.protocols.ssh.pipe import Pipe


class Channel:
    """What an end needs of asyncssh's channel."""

    def __init__(self) -> None:
        self._recv_buf: list[Any] = []
        self.said: list[bytes | str] = []
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return "closed" in self.said

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def write_eof(self) -> None:
        self.said.append("eof")

    def close(self) -> None:
        if not self.is_closing():
            self.said.append("closed")


class Loop:
    """Turns that go round when they are told to."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, function: Callable[[], None]) -> None:
        self._soon.append(function)

    def turn(self) -> None:
        soon, self._soon = self._soon, []
        for function in soon:
            function()


class Joined:
    """A pipe between two channels."""

    def __init__(self) -> None:
        self.loop, self.over, self.permitted = Loop(), 0, True
        self.pipe = Pipe(self._count, lambda: self.permitted, self.loop.call_soon)
        self.client, self.target = Channel(), Channel()
        self.pipe.target.connection_made(self.target)  # type: ignore[arg-type]
        assert self.target.paused, "nobody is there to pass it on to"
        self.pipe.client.connection_made(self.client)  # type: ignore[arg-type]
        assert not self.target.paused

    def _count(self) -> None:
        self.over += 1


def test_crumbs_of_one_turn_are_one_piece() -> None:
    joined = Joined()
    for _ in range(2):
        for _ in range(500):
            joined.pipe.client.data_received(b"c", None)
            joined.pipe.target.data_received(b"t", None)
        assert len(joined.target.said) < 2
        joined.loop.turn()
    assert (joined.target.said, joined.client.said) == ([b"c" * 500] * 2, [b"t" * 500] * 2)


def test_of_bulk_the_beginning_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "HASHED", 10)
    for pieces in ([b"0123456789"], [b"01234", b"5678901", b"more"], [b"0123456789012345"]):
        passed = pipe.Passed()
        for piece in pieces:
            passed.add(piece)
        assert passed.sha256 == hashlib.sha256(b"0123456789").hexdigest()
        assert passed.bytes == len(b"".join(pieces))


def test_bulk_is_not_kept_for_a_turn() -> None:
    joined = Joined()
    joined.pipe.client.data_received(b"c", None)
    joined.pipe.client.data_received(bytes(65536), None)
    assert b"".join(map(bytes, joined.target.said)) == b"c" + bytes(65536)  # type: ignore[arg-type]


def test_the_end_of_a_direction_comes_behind_its_bytes() -> None:
    joined = Joined()
    joined.pipe.client.data_received(b"last", None)
    joined.pipe.client.eof_received()
    assert joined.target.said == [b"last", "eof"]
    joined.pipe.target.data_received(b"answer", None)
    joined.loop.turn()
    assert joined.client.said == [b"answer"]


def test_the_end_of_a_channel_comes_behind_the_bytes_of_both() -> None:
    joined = Joined()
    joined.pipe.target.data_received(b"answer", None)
    joined.pipe.client.data_received(b"last", None)
    joined.client._recv_buf.append((b" words", None))
    joined.pipe.client.connection_lost(None)
    assert joined.target.said == [b"last words", "closed"]
    joined.pipe.target.connection_lost(None)
    assert joined.over == 1
    assert joined.client.said[:1] == [b"answer"]


def test_what_policy_takes_back_ends_behind_what_it_permitted() -> None:
    joined = Joined()
    joined.pipe.client.data_received(b"permitted", None)
    joined.permitted = False
    joined.pipe.client.data_received(b"forbidden", None)
    joined.loop.turn()
    assert joined.target.said == [b"permitted", "closed"]
    assert joined.client.said == ["closed"]
    assert joined.pipe.client.passed.bytes == len(b"permitted")


@given(st.lists(st.tuples(st.sampled_from(["client", "target", "turn"]), st.binary(max_size=9000))))
def test_everything_is_passed_on_in_order_and_counted(steps: list[tuple[str, bytes]]) -> None:
    joined = Joined()
    came = {"client": b"", "target": b""}
    for side, data in steps:
        if side == "turn":
            joined.loop.turn()
        elif data:
            came[side] += data
            getattr(joined.pipe, side).data_received(data, None)
    joined.pipe.close()
    for side, channel in (("client", joined.target), ("target", joined.client)):
        *pieces, closed = channel.said
        assert (b"".join(map(bytes, pieces)), closed) == (came[side], "closed")  # type: ignore[arg-type]
        passed = getattr(joined.pipe, side).passed
        assert (passed.bytes, passed.head) == (len(came[side]), came[side][:24])
        assert passed.sha256 == hashlib.sha256(came[side]).hexdigest()
