"""Who gives way waits for one call, each on their own."""

from __future__ import annotations

import asyncio

import pytest

from agent.runtime.way import Way
from tests.patience import HANG_S


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.runtime.way.LONGEST_S", HANG_S)


@pytest.mark.usefixtures("patient")
async def test_one_call_frees_everybody_who_has_come_by_then() -> None:
    way = Way()
    waiting = [asyncio.ensure_future(way.freed()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    waiting[0].cancel()
    await asyncio.sleep(0)
    way.free()
    await asyncio.gather(*waiting[1:])
    later = asyncio.ensure_future(way.freed())
    await asyncio.sleep(0)
    assert not later.done()
    way.free()
    await later


async def test_who_is_not_called_goes_on_all_the_same() -> None:
    way = Way()
    await way.freed()
    await way.freed()


@pytest.mark.usefixtures("patient")
async def test_a_call_that_nobody_waits_for_is_not_remembered() -> None:
    way = Way()
    way.free()
    waiting = asyncio.ensure_future(way.freed())
    await asyncio.sleep(0)
    assert not waiting.done()
    way.free()
    await waiting
