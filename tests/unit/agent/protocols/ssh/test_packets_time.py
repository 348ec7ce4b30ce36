"""What a leg does about time: it notices that the peer lives without a timer for every read, and puts acts behind a read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from asyncssh.connection import SSHConnection

from agent.protocols.ssh import packets
from agent.protocols.ssh.packets import Gcm, Quick, behind


class Timers:
    """A loop that only keeps what is to be called later."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def call_later(self, seconds: float, act: Callable[[], None]) -> object:
        self.asked.append(seconds)
        return object()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def leg(loop: Timers) -> Any:
    made: Any = object.__new__(Quick)
    made._loop, made._keepalive_interval, made._keepalive_timer, made._auth_complete = loop, 30.0, None, True
    return made


def test_reads_do_not_arm_a_timer_each(clock: list[float]) -> None:
    loop = Timers()
    quick = leg(loop)
    for _ in range(100):
        clock[0] += 1
        quick._reset_keepalive_timer()
    assert loop.asked == [30.0]


def test_nothing_is_armed_before_somebody_logged_in(clock: list[float]) -> None:
    loop = Timers()
    quick = leg(loop)
    quick._auth_complete = False
    quick._reset_keepalive_timer()
    assert loop.asked == []


def test_the_timer_waits_for_the_rest_and_asks_then(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(SSHConnection, "_keepalive_timer_callback", lambda self: asked.append(clock[0]))
    loop = Timers()
    quick = leg(loop)
    quick._reset_keepalive_timer()
    clock[0] += 20
    quick._reset_keepalive_timer()
    clock[0] += 10
    quick._keepalive_timer_callback()
    assert (loop.asked, asked) == ([30.0, 20.0], [])
    clock[0] += 20
    quick._keepalive_timer_callback()
    assert (loop.asked, asked) == ([30.0, 20.0], [1_050.0])


class Walking(Quick):
    """Takes packets of one byte, each of which asks for something behind all of them."""

    def __init__(self) -> None:
        self._inpbuf, self._recv_encryption, self._decompressor, self._auth_complete = b"", object.__new__(Gcm), None, True
        self._transport = None
        self.done: list[str] = []

    def _walk(self, opener: Gcm) -> bool:
        for byte in self._inpbuf:
            self.done.append(f"took {byte}")
            self.behind(lambda byte=byte: self.done.append(f"behind {byte}"))
        return False


async def test_acts_come_behind_everything_that_was_read() -> None:
    quick = Walking()
    quick._inpbuf = b"\1\2"
    assert quick._recv_pkthdr() is False
    assert quick.done == ["took 1", "took 2", "behind 1", "behind 2"]
    quick._inpbuf, quick._begun = b"", False
    quick._recv_pkthdr()
    assert len(quick.done) == 4


async def test_where_nothing_is_read_an_act_waits_for_the_next_turn() -> None:
    quick = Walking()
    behind(quick)(lambda: quick.done.append("later"))
    assert quick.done == []
    await asyncio.sleep(0)
    assert quick.done == ["later"]
    other: Any = object()
    behind(other)(lambda: quick.done.append("of another road"))
    await asyncio.sleep(0)
    assert quick.done == ["later", "of another road"]


def test_padding_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[bytes] = []
    monkeypatch.setattr(packets.os, "urandom", lambda size: (pages.append(bytes((len(pages) + 1,)) * size), pages[-1])[1])
    chance = packets._Chance()
    given = [chance(size) for size in (15, 17, 4064, 1, 19)]
    assert [len(each) for each in given] == [15, 17, 4064, 1, 19]
    assert b"".join(given) == pages[0] + pages[1][:20]
