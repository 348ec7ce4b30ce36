"""The stream under both loops that the agent may run on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from agent.protocols.postgres.stream import adopted

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
