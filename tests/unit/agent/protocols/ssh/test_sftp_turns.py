"""Turns of one person's file transfers: who follows names and who changes them, and in which order they come."""

from __future__ import annotations

import asyncio
import gc

import pytest

from agent.protocols.ssh import sftp_turns
from agent.protocols.ssh.sftp_turns import Turns, turns
from chalicelib.contracts.faults import Fault


class Queue:
    """Turns, and who has had one so far."""

    def __init__(self) -> None:
        self.of = Turns()
        self.had: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, who: str, number: int = 1, *, changes: bool = False) -> asyncio.Task[None]:
        """Have ``who`` come, and give everybody time who may go on."""

        async def comes() -> None:
            await self.of.entered(who, number, changes=changes)
            self.had.append(who)

        task = asyncio.ensure_future(comes())
        self.tasks.append(task)
        await self.rest()
        return task

    async def rest(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def leave(self, who: str) -> None:
        self.of.leave(who)
        await self.rest()


async def test_those_who_follow_do_so_together_and_who_changes_is_alone() -> None:
    queue = Queue()
    await queue.come("a")
    await queue.come("b")
    await queue.come("c", changes=True)
    assert queue.had == ["a", "b"]
    await queue.leave("a")
    assert queue.had == ["a", "b"]
    await queue.leave("b")
    assert queue.had == ["a", "b", "c"]
    await queue.come("a")
    assert queue.had == ["a", "b", "c"]
    await queue.leave("c")
    assert queue.had == ["a", "b", "c", "a"]


async def test_a_channels_own_requests_need_none() -> None:
    queue = Queue()
    await queue.come("a", 1)
    await queue.come("a", 2, changes=True)
    await queue.come("a", 3)
    await queue.come("b")
    assert queue.had == ["a", "a", "a"]
    queue.of.keep("a", {1, 3}.__contains__)
    await queue.rest()
    assert queue.had == ["a", "a", "a", "b"]


async def test_first_come_first_served() -> None:
    queue = Queue()
    await queue.come("a")
    await queue.come("b", changes=True)
    await queue.come("c")
    await queue.come("d")
    # Whoever follows could begin beside a, but for b, who would wait for ever behind a stream of them.
    assert queue.had == ["a"]
    await queue.leave("a")
    assert queue.had == ["a", "b"]
    await queue.leave("b")
    assert queue.had == ["a", "b", "c", "d"]


async def test_who_leaves_the_queue_holds_up_nobody() -> None:
    queue = Queue()
    await queue.come("a")
    (await queue.come("b", changes=True)).cancel()
    await queue.come("c")
    await queue.rest()
    assert queue.had == ["a", "c"]


async def test_a_turn_that_does_not_come_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp_turns, "TURN_S", 0.0)
    queue = Queue()
    await queue.of.entered("a", 1, changes=True)
    with pytest.raises(Fault) as caught:
        await queue.of.entered("b", 1, changes=False)
    assert caught.value.code == "conflict"
    queue.of.leave("a")
    await queue.of.entered("b", 1, changes=False)


def test_everybody_has_their_own_at_each_machine() -> None:
    mine = turns("ann", "web:22")
    assert turns("ann", "web:22") is mine
    assert turns("bob", "web:22") is not mine
    assert turns("ann", "db:22") is not mine
    del mine
    gc.collect()
    assert ("ann", "web:22") not in sftp_turns._all
