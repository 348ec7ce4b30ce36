"""Who shares a write of the log, and what those who wait for one do to each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.runtime.journal import Journal
from agent.runtime.leftovers import read_log
from agent.runtime.session_log import SessionLog
from agent.runtime.spool import LOG, Disk
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.wal import Frame, Progress, Type
from agent.runtime.writer import write_at
from chalicelib.contracts.faults import Fault
from tests.patience import HANG_S

SIDS = ("ses_01JD8QZ6T3N0V9C4K2M7X5B1HR", "ses_01JD8QZ6T3N0V9C4K2M7X5B1HS")


class Log:
    """A journal with two sessions, and the sizes of what was written since they were known."""

    def __init__(self, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spool, self.keys = spool, SpoolKeys(b"s" * 32)
        self.journal = Journal(spool, self.keys, Disk(1))
        self.sessions: list[SessionLog] = []
        self.writes: list[int] = []
        monkeypatch.setattr("agent.runtime.journal.write_at", self._write)

    def _write(self, *arguments: Any) -> None:
        self.writes.append(len(arguments[2]))
        write_at(*arguments)

    async def open(self) -> None:
        await self.journal.open(self.spool / "damaged")
        for sid in SIDS:
            progress = partial(Progress, sid=sid, chain="")
            self.sessions.append(await self.journal.begin(sid, progress, on_failure=lambda fault: None))
        self.writes.clear()

    def ask(self, session: SessionLog, done: Callable[[Fault | None], None]) -> None:
        """Have a line of ``session`` on disk, and then ``done`` called."""
        session.append_then(Frame(Type.JSONL, 1, session.next_seq, 0, 0, 0, b"line\n"), done)

    def read(self) -> list[int]:
        """How many lines of each session are on disk."""
        found = read_log(self.spool / LOG, self.keys).sessions
        return [len(found[sid].frames) for sid in SIDS]


@pytest.fixture
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    log = Log(tmp_path, monkeypatch)
    await log.open()
    yield log
    await log.journal.close()


async def test_whoever_asks_a_turn_later_shares_the_write(log: Log) -> None:
    loop = asyncio.get_running_loop()
    answers: list[Fault | None] = []
    both = loop.create_future()

    def done(fault: Fault | None) -> None:
        answers.append(fault)
        if len(answers) == 2:
            both.set_result(None)

    first, second = log.sessions
    log.ask(first, done)
    # Behind what the log itself has asked to be called for.
    loop.call_soon(log.ask, second, done)
    await both
    assert answers == [None, None]
    assert len(log.writes) == 1
    assert log.read() == [1, 1]


async def test_who_is_told_may_ask_again_at_once_and_is_told_again(log: Log) -> None:
    over = asyncio.get_running_loop().create_future()
    told: list[int] = []

    def again(session: SessionLog, place: int, fault: Fault | None) -> None:
        assert fault is None
        assert log.read()[place] == told.count(place) + 1
        told.append(place)
        if told.count(place) < 5:
            log.ask(session, partial(again, session, place))
        elif len(told) == 10:
            over.set_result(None)

    for place, session in enumerate(log.sessions):
        log.ask(session, partial(again, session, place))
    await over
    assert log.read() == [5, 5]
    assert len(log.writes) == 5


async def test_what_one_does_wrong_when_it_is_told_is_not_the_others_business(log: Log) -> None:
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, problem: problems.append(problem))
    reached: asyncio.Future[Fault | None] = loop.create_future()

    def wrong(fault: Fault | None) -> None:
        raise ValueError("its own")

    first, second = log.sessions
    log.ask(first, wrong)
    log.ask(second, reached.set_result)
    assert await reached is None
    assert [str(problem["exception"]) for problem in problems] == ["its own"]


async def test_who_gives_way_goes_on_when_those_who_waited_were_told(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.runtime.way.LONGEST_S", HANG_S)
    order: list[str] = []
    first, second = log.sessions
    await second.give_way()  # nobody waits
    log.ask(first, lambda fault: order.append("told"))
    await second.give_way()
    order.append("went on")
    assert order == ["told", "went on"]
    await second.give_way()


async def test_a_slow_disk_is_given_way_to_for_a_moment_only(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    told: asyncio.Future[Fault | None] = asyncio.get_running_loop().create_future()
    goes_on = threading.Event()

    def slow(*arguments: Any) -> None:
        goes_on.wait()
        write_at(*arguments)

    monkeypatch.setattr("agent.runtime.journal.write_at", slow)
    first, second = log.sessions
    try:
        log.ask(first, told.set_result)
        for _ in range(3):
            await second.give_way()
        assert not told.done()
    finally:
        goes_on.set()
    assert await told is None


async def test_nobody_gives_way_to_a_log_that_has_failed(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Fault | None] = []

    def broken(*arguments: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr("agent.runtime.journal.write_at", broken)
    first, second = log.sessions
    log.ask(first, told.append)
    while not told:
        await second.give_way()
    await second.give_way()
    assert told[0] is not None
    assert told[0].code == "recording_failed"
