"""Chunks on their way out: registered first, then put where the control plane said, in order, for as long as it takes.

Everything here may happen twice. Registering the same chunk again is answered with a fresh link; a put that finds its object
there (412, ``If-None-Match: *``) found the very same bytes, because the link binds the key, the length and the SHA-256 that were
registered. A chunk's file goes only after it is stored *and* the write-ahead log knows of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from agent.runtime.backoff import Backoff, persist
from agent.runtime.spool import Disk, SpooledChunk
from chalicelib.contracts.api import ChunkTicket, ChunkUpload
from chalicelib.contracts.faults import Fault

#: How often a chunk may meet a conflict before it is believed.
CONFLICTS: Final = 4


class ChunkRoad(Protocol):
    """The part of the control client that the uploader needs."""

    async def register_chunk(self, sid: str, upload: ChunkUpload) -> ChunkTicket:
        """Register a chunk. Raises Fault."""
        ...

    async def put(self, ticket: ChunkTicket, body: bytes) -> None:
        """Upload a chunk's bytes. Raises Fault."""
        ...


class Uploader:
    """Uploads the chunks of one session. Holds names only; the bytes of one chunk at a time are in memory."""

    def __init__(
        self,
        road: ChunkRoad,
        disk: Disk,
        sid: str,
        *,
        counters: Callable[[], tuple[int, int]],
        on_refusal: Callable[[Fault], None],
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._road = road
        self._disk = disk
        self._sid = sid
        self._counters = counters
        self._on_refusal = on_refusal
        self._backoff = backoff
        self._queue: deque[tuple[SpooledChunk, int]] = deque()
        self._news = asyncio.Event()
        self._finishing = False
        self.refusal: Fault | None = None
        """Why the control plane will never take the rest of this recording; None while it may."""

    def add(self, chunk: SpooledChunk, logged: int) -> None:
        """Take the next chunk. ``logged`` is the log's frame about it: 0 if it is on disk already, -1 if there will be none."""
        self._queue.append((chunk, logged))
        self._news.set()

    def finish(self) -> None:
        """Have ``run`` return once everything is stored."""
        self._finishing = True
        self._news.set()

    async def run(self, commit: Callable[[int], Awaitable[None]]) -> None:
        """Upload until ``finish``, or until the control plane refuses for good.

        ``commit`` is awaited with the number of the log's frame about a chunk before the chunk's file is removed.
        """
        while True:
            while self._queue:
                chunk, logged = self._queue[0]
                try:
                    await self._store(chunk, logged, commit)
                except Fault as fault:
                    self.refusal = fault
                    self._on_refusal(fault)
                    return
                self._queue.popleft()
            if self._finishing:
                return
            self._news.clear()
            await self._news.wait()

    async def _persist(self, attempt: Callable[[], Awaitable[None]]) -> None:
        backoff = self._backoff()
        for left in reversed(range(CONFLICTS)):
            try:
                await persist(attempt, event="chunk.delayed", backoff=backoff, sid=self._sid)
            except Fault as fault:
                # The session's row may have changed for another reason at the same moment; a real conflict stays one.
                if fault.code != "chunk_conflict" or not left:
                    raise
            else:
                return
            await backoff.wait()

    async def _store(self, chunk: SpooledChunk, logged: int, commit: Callable[[int], Awaitable[None]]) -> None:
        async def attempt() -> None:
            operations, denied = self._counters()
            ticket = await self._road.register_chunk(
                self._sid, ChunkUpload(chunk=chunk.chunk, operations=operations, denied=denied)
            )
            await self._road.put(ticket, await self._disk.run(chunk.body))

        await self._persist(attempt)
        try:
            if logged > 0:
                await commit(logged)
        except Fault:
            return  # a failed log; the file is the only witness that the chunk exists, so it stays
        if logged >= 0:
            await self._disk.run(chunk.path.unlink, missing_ok=True)
