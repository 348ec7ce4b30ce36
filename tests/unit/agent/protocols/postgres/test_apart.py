"""The thread for long texts: one at a time, nothing of it in the event loop, and an end to every wait."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from agent.protocols.postgres.apart import Apart
from agent.protocols.postgres.engine import LONG_TEXT
from tests.patience import HANG_S
from tests.unit.agent.protocols.postgres.conversation import IDLE, PARSED, SYNC, Conversation, bind, execute, parse, query

LONG = "SELECT '" + "x" * LONG_TEXT + "'"


async def test_the_loop_goes_on_and_the_engine_is_taken() -> None:
    apart, may = Apart(), threading.Event()
    running = asyncio.ensure_future(apart.run(lambda: may.wait(HANG_S)))
    waiting = asyncio.ensure_future(apart.settled())
    await asyncio.sleep(0)
    assert apart.busy
    assert not waiting.done()
    may.set()
    assert await running
    await waiting
    assert not apart.busy


async def test_what_it_raises_is_raised_and_frees_the_engine() -> None:
    apart = Apart()
    with pytest.raises(ZeroDivisionError):
        await apart.run(lambda: 1 // 0)
    await apart.settled()


async def test_threads_give_way_sooner_until_the_last_long_text_is_read() -> None:
    usual, may = sys.getswitchinterval(), threading.Event()
    first = asyncio.ensure_future(Apart().run(lambda: (may.wait(HANG_S), sys.getswitchinterval())[1]))
    second = asyncio.ensure_future(Apart().run(sys.getswitchinterval))
    await asyncio.sleep(0)
    may.set()
    assert max(await first, await second) < usual
    assert sys.getswitchinterval() == usual


async def test_whoever_is_cancelled_does_not_wait_for_the_thread() -> None:
    apart, begun, may = Apart(), threading.Event(), threading.Event()

    def read() -> bool:
        begun.set()
        return may.wait(HANG_S)

    running = asyncio.ensure_future(apart.run(read))
    assert await asyncio.to_thread(begun.wait, 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    may.set()
    assert await apart.run(lambda: 7) == 7


def test_a_long_text_is_told_by_the_read_that_completes_it() -> None:
    engine, whole = Conversation().engine, query(LONG)
    assert engine.long(whole)
    assert not engine.long(query("SELECT 1"))
    talk = Conversation()
    talk.says(whole[:100])
    assert not talk.engine.long(whole[100:200])
    assert talk.engine.long(whole[100:])


def test_what_runs_a_long_prepared_statement_is_long_too() -> None:
    talk = Conversation()
    talk.says(parse("s", LONG), SYNC)
    talk.answers(PARSED, IDLE)
    assert talk.engine.long(bind("", "s") + execute() + SYNC)
