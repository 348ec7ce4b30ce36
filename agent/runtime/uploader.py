"""Chunks on their way out: registered first, then put where the control plane said, in order, for as long as it takes.

Everything here may happen twice. Registering the same chunk again is answered with a fresh link; a put that finds its object
there (412, ``If-None-Match: *``) found the very same bytes, because the link binds the key, the length and the SHA-256 that were
registered. A chunk's file goes only after it is stored *and* the write-ahead log knows of it.

In an outage of hours thousands of chunks wait, of hundreds of sessions. Only the first few of each are known here; the folder is
the queue of the others, and is read again when those are stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, Protocol, TypeVar

from agent.runtime.backoff import Backoff, persist
from agent.runtime.spool import Disk, Folder, SpooledChunk
from chalicelib.contracts.api import ChunkTicket, ChunkUpload
from chalicelib.contracts.faults import Fault

#: How often a chunk may meet a conflict before it is believed.
CONFLICTS: Final = 4
#: How many chunks of a session are known by more than their file's name.
AHEAD: Final = 32

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ChunkRoad(Protocol):
    """The part of the control client that the uploader needs."""

    async def register_chunk(self, sid: str, upload: ChunkUpload) -> ChunkTicket:
        """Register a chunk. Raises Fault."""
        ...

    async def put(self, ticket: ChunkTicket, body: bytes) -> None:
        """Upload a chunk's bytes. Raises Fault."""
        ...


class UnreadError(Exception):
    """A chunk that was on this disk cannot be read from it."""


class Uploader:
    """Uploads the chunks of one session. Holds a few names; the bytes of one chunk at a time are in memory."""

    def __init__(
        self,
        road: ChunkRoad,
        disk: Disk,
        folder: Folder,
        *,
        counters: Callable[[], tuple[int, int]],
        on_refusal: Callable[[Fault], None],
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._road = road
        self._disk = disk
        self._folder = folder
        self._sid = folder.sid
        self._counters = counters
        self._on_refusal = on_refusal
        self._backoff = backoff
        self._queue: deque[tuple[SpooledChunk, int]] = deque()
        self._newest = self._known = -1
        """Numbers of the last chunk that there is, and of the last that was in the queue."""
        self._left = -1
        """Up to this number chunks may be stored already, and gone."""
        self._logged = 0
        self._news = asyncio.Event()
        self._finishing = False
        self.refusal: Fault | None = None
        """Why the control plane will never take the rest of this recording; None while it may."""
        self.unread: Fault | None = None
        """Why a chunk could not be read from this disk; None while all could."""

    def add(self, chunk: SpooledChunk, logged: int) -> None:
        """Take the next chunk. ``logged`` is the log's frame about it, behind all others; -1 if there will be none."""
        if self._known == self._newest and len(self._queue) < AHEAD:
            self._queue.append((chunk, logged))
            self._known = chunk.chunk.n
        self._newest, self._logged = chunk.chunk.n, logged
        self._news.set()

    def resume(self, upto: int) -> None:
        """Take what an earlier process left in the folder, of chunks up to number ``upto``; the log knows of them."""
        self._newest = self._left = upto

    def finish(self) -> None:
        """Have ``run`` return once everything is stored."""
        self._finishing = True
        self._news.set()

    async def run(self, commit: Callable[[int], Awaitable[None]]) -> None:
        """Upload until ``finish``, until the control plane refuses for good, or until a chunk cannot be read.

        ``commit`` is awaited with the number of the log's frame about a chunk before the chunk's file is removed.
        """
        try:
            while not self._finishing or self._queue or self._known < self._newest:
                self._news.clear()
                if not self._queue and self._known < self._newest:
                    await self._look()
                while self._queue:
                    await self._store(*self._queue[0], commit)
                    self._queue.popleft()
                if not self._finishing and self._known == self._newest:
                    await self._news.wait()
        except UnreadError as error:
            # What is there stays there, for the next start and for whoever looks at the disk.
            self.unread = Fault("recording_failed", "The spool cannot be read.", detail=str(error))
            self._on_refusal(self.unread)
        except Fault as fault:
            self.refusal = fault
            self._on_refusal(fault)

    async def _look(self) -> None:
        """Find the next chunks in the folder. Raises UnreadError."""
        newest = self._newest
        # One behind ``newest`` is a file already, but nobody has said yet which frame of the log is about it.
        found = [each for each in await self._on_disk(self._folder.chunks, self._known, AHEAD) if each.chunk.n <= newest]
        if not found and newest > self._left:
            raise UnreadError(f"{self._folder.path}: chunks {self._known + 1} to {newest} are not there any more")
        self._queue.extend((each, self._logged) for each in found)
        self._known = found[-1].chunk.n if found else newest

    async def _on_disk(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await self._disk.run(work, *args, **kwargs)
        except OSError as error:
            raise UnreadError(str(error)) from error

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
            await self._road.put(ticket, await self._on_disk(chunk.body))

        await self._persist(attempt)
        try:
            if logged > 0:
                await commit(logged)
        except Fault:
            return  # a failed log; the file is the only witness that the chunk exists, so it stays
        if logged >= 0:
            await self._on_disk(chunk.path.unlink, missing_ok=True)
