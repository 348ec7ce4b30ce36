"""The stream under both loops that the agent may run on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from agent.protocols.postgres.stream import LEAST, MOST, READ, Appetite, adopted

LOOPS: dict[str, Callable[[Coroutine[Any, Any, None]], None]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.mark.parametrize("loop", LOOPS)
def test_what_one_side_writes_the_other_reads_until_the_end(loop: str) -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        stream, other = await adopted(ours), await adopted(theirs)
        stream.write(b"hello")
        assert await other.read() == b"hello"
        stream.close()
        assert await other.read() == b""
        other.close()

    LOOPS[loop](talk())


def test_reads_grow_while_they_are_cheap_and_shrink_when_they_are_not() -> None:
    appetite = Appetite()
    assert appetite.size == READ
    for _ in range(20):
        appetite.fed(appetite.size, 0.0001)
    assert appetite.size == MOST
    appetite.fed(appetite.size, 0.02)
    assert LEAST <= appetite.size < READ
    appetite.fed(LEAST, 1.0)
    assert appetite.size == LEAST


def test_a_short_read_changes_nothing() -> None:
    appetite = Appetite()
    appetite.fed(100, 0.5)
    appetite.fed(100, 0.0)
    assert appetite.size == READ
