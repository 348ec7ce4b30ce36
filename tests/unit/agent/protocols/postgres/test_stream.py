"""The stream under both loops that the agent may run on."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from agent.protocols.postgres.stream import BURST, FIRST, FLUSHED, LEAST, MOST, READ, REST_S, Appetite, adopted

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


def test_an_answer_may_begin_with_a_larger_read_than_the_last_one_went_on_with() -> None:
    appetite = Appetite()
    appetite.ended()
    assert appetite.size == FIRST
    appetite.ended()
    assert appetite.size == FIRST
    appetite.fed(FIRST, 0.02)
    assert appetite.size < READ


def test_what_is_slow_to_mask_begins_with_few_turns_at_the_most() -> None:
    appetite = Appetite()
    appetite.fed(READ, 1.0)
    appetite.ended()
    assert appetite.size == BURST * LEAST
    appetite.fed(appetite.size, 1.0)
    assert appetite.size == LEAST


def test_a_large_read_that_is_cheap_is_not_cut_by_the_next_answer() -> None:
    appetite = Appetite()
    for _ in range(20):
        appetite.fed(appetite.size, 0.0001)
    appetite.ended()
    assert appetite.size == MOST


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("seed", range(8))
def test_pieces_of_a_server_are_put_together_in_order_and_none_overtakes(loop: str, seed: int) -> None:
    """Whole buffers wait for what follows, small pieces go to the taker; whatever way each takes, the bytes are the same."""
    chance = random.Random(seed)
    pieces = [chance.randbytes(chance.choice([1, 100, FLUSHED, FLUSHED, 2 * FLUSHED, FLUSHED + 1])) for _ in range(200)]
    arrived: list[bytes] = []

    async def talk() -> None:
        ours, theirs = socket.socketpair()
        server, stream = await adopted(ours), await adopted(theirs)
        stream.gathers = True
        stream.taker = lambda data: arrived.append(data) is None

        async def read() -> None:
            while data := await stream.read():
                arrived.append(data)
                await asyncio.sleep(0)

        reading = asyncio.ensure_future(read())
        for piece in pieces:
            server.write(piece)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.1:
                await asyncio.sleep(2 * REST_S)
        server.close()
        await reading

    LOOPS[loop](talk())
    assert b"".join(arrived) == b"".join(pieces)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_goes_silent_behind_a_whole_buffer_is_read(loop: str) -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        server, stream = await adopted(ours), await adopted(theirs)
        stream.gathers = True
        server.write(b"x" * FLUSHED)
        assert await stream.read() == b"x" * FLUSHED
        server.close()
        stream.close()

    LOOPS[loop](talk())
