"""Long texts are read on a thread of their own, so that one session's megabyte of constants keeps nobody else from their turn.

The engine of a connection is one state, so it has one reader at a time: while the thread has it, that connection's client is not
read, and what its server says waits in the stream. The parser lets go of the interpreter while it works, and Python's own part of
the work gives way every ``_GIVES_WAY_S``: the event loop asks for the interpreter after each of its waits, and Python's
usual 5 ms for each would be 20 ms for a statement of somebody else.

One thread for all connections: long texts wait for each other, and everything else only for its share of the processor. The
thread has a stack of its own size. The parser recurses, what is let through to it was measured (``agent.core.sql.parsing``), and
a thread's default stack can be as small as 2 MiB.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, TypeVar

T = TypeVar("T")

_STACK: Final = 16 * 1024 * 1024
_GIVES_WAY_S: Final = 0.0005


class _Manners:
    """Has Python's threads give way sooner while at least one long text is read."""

    def __init__(self) -> None:
        self._readers = 0
        self._usual = 0.0

    def __enter__(self) -> None:
        if not self._readers:
            self._usual = sys.getswitchinterval()
            sys.setswitchinterval(min(self._usual, _GIVES_WAY_S))
        self._readers += 1

    def __exit__(self, *_: object) -> None:
        self._readers -= 1
        if not self._readers:
            sys.setswitchinterval(self._usual)


_manners: Final = _Manners()


class Apart:
    """Who has the engine of one connection: the event loop, or the thread."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self.busy = False
        """True while the thread has the engine, and nobody else may touch it."""

    async def run(self, act: Callable[[], T]) -> T:
        """Return what ``act`` returns, called on the thread. Raises what it raises.

        Whoever is cancelled here never learns what ``act`` made of the text, so nothing follows from it.
        """
        self.busy = True
        self._free.clear()
        try:
            with _manners:
                return await asyncio.get_running_loop().run_in_executor(_reader(), act)
        finally:
            self.busy = False
            self._free.set()

    async def settled(self) -> None:
        """Return when the event loop has the engine."""
        while self.busy:
            await self._free.wait()


@cache
def _reader() -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long-texts")
    before = threading.stack_size(_STACK)
    try:
        # The stack's size is that of the moment in which the thread begins.
        pool.submit(int).result()
    finally:
        threading.stack_size(before)
    return pool
