"""The write-ahead log of one session, as it grows: appended on the loop, written and synced in threads, in groups.

    idle ─► (commit: at the end of this turn of the loop; append: after LINGER_S) ─► writing ─► idle, or at once the next

Whoever needs a frame on disk waits in ``commit``; all who wait share one fdatasync. Output that nobody waits for is gathered for
``LINGER_S`` first. There is one write at a time, and what arrives meanwhile is the next one. After a failed write or sync nothing
is believed any more: the kernel may have dropped the pages it could not write, and a second fsync that succeeds would say nothing
about them. So the log fails once, for good, and the session ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from agent.runtime.spool import Disk, Folder, write_all
from agent.runtime.wal import Frame, Progress, encode
from chalicelib.contracts.faults import Fault

LINGER_S: Final = 0.025
#: A segment is closed after this many bytes; it goes once its lines are in chunks. Small ones cost a synced directory each.
SEGMENT_BYTES: Final = 16 * 1024 * 1024


class Journal:
    """One session's write-ahead log. ``progress`` returns what is known about chunks now.

    ``on_failure`` is called once, ``on_written`` whenever the backlog has shrunk.
    """

    def __init__(
        self,
        folder: Folder,
        disk: Disk,
        progress: Callable[[], Progress],
        on_failure: Callable[[Fault], None],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._disk = disk
        self._progress = progress
        self._on_failure = on_failure
        self._on_written = on_written
        self._segment_bytes = segment_bytes
        self._number = 0
        self._descriptor = -1
        self._path = folder.path
        self._size = 0
        self._sealed: list[tuple[Path, int]] = []
        self._pending: list[bytes] = []
        self._waiting: list[tuple[int, Callable[[Fault | None], None]]] = []
        self._running = False
        self._stopping = False
        self._busy = False
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._urgent = False
        self._changed = asyncio.Event()
        self._rotating: asyncio.Task[None] | None = None
        self.fault: Fault | None = None
        self.next_seq = 1
        self.durable = 0
        """Number of the last frame that is on disk."""
        self.backlog = 0
        """Bytes that are not on disk yet."""

    async def open(self, *, next_seq: int = 1, sealed: list[tuple[Path, int]] | None = None) -> None:
        """Begin a segment after the ``sealed`` ones of an earlier process. Raises Fault(recording_failed)."""
        self.next_seq = next_seq
        self.durable = next_seq - 1
        self._sealed = sorted(sealed or [])
        if self._sealed:
            self._number = int(self._sealed[-1][0].name.removeprefix("wal-"))
        try:
            await self._begin_segment()
        except OSError as error:
            raise self._fail(error) from None

    def append(self, frame: Callable[[int], Frame]) -> int:
        """Take a frame, which is made with its number, to be written soon. Returns the number. Raises Fault(recording_failed)."""
        if self.fault is not None:
            raise self.fault
        seq = self.next_seq
        data = encode(frame(seq))
        self.next_seq += 1
        self._pending.append(data)
        self.backlog += len(data)
        if self._timer is None and not self._busy:
            self._arm()
        return seq

    async def commit(self, seq: int) -> None:
        """Return when frame ``seq`` is on disk. Raises Fault(recording_failed)."""
        if seq <= self.durable:
            return
        if self.fault is not None:
            raise self.fault
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(fault: Fault | None) -> None:
            if reached.done():
                return  # whoever waited was cancelled
            if fault is None:
                reached.set_result(None)
            else:
                reached.set_exception(fault)

        self.then(seq, done)
        await reached

    def then(self, seq: int, done: Callable[[Fault | None], None]) -> None:
        """Call ``done`` once frame ``seq``, which is newer than any that was asked for, is on disk or never will be."""
        self._waiting.append((seq, done))
        if not self._urgent:
            self._urgent = True
            if not self._busy:
                self._arm()

    async def run(self) -> None:
        """Write what is appended, until ``stop`` and everything is written, or until the disk fails."""
        self._running = True
        try:
            self._next()
            while not self._over():
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._running = False
            if self._timer is not None:
                self._timer.cancel()
            # A thread may not be left behind with the descriptor when this task is cancelled: closing it under the thread's
            # feet could hand the number to another file.
            while self._busy:
                self._changed.clear()
                await self._changed.wait()
            self.abandon()

    def _over(self) -> bool:
        return not self._busy and (self.fault is not None or (self._stopping and not self._pending))

    def abandon(self) -> None:
        """Let the file go. ``run`` does this itself."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def stop(self) -> None:
        """Have ``run`` return once everything is on disk."""
        self._stopping = True
        self._urgent = True
        if not self._busy:
            self._arm()
        self._changed.set()

    async def release(self, before: int) -> None:
        """Remove closed segments that hold no frame from number ``before`` on."""
        gone = [path for path, last in self._sealed if last < before]
        self._sealed = [(path, last) for path, last in self._sealed if last >= before]
        for path in gone:
            await self._disk.run(path.unlink, missing_ok=True)

    def _arm(self) -> None:
        """Have ``_flush`` called: at the end of this turn of the loop where somebody waits, and else after a while."""
        if not self._running:
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_soon(self._flush) if self._urgent else loop.call_later(LINGER_S, self._flush)

    def _next(self) -> None:
        self._changed.set()
        if self._running and self._pending and self.fault is None:
            self._flush() if self._urgent else self._arm()

    def _flush(self) -> None:
        self._timer = None
        if self._busy or not self._pending or self.fault is not None or not self._running:
            self._changed.set()
            return
        batch, self._pending = b"".join(self._pending), []
        self._busy, self._urgent = True, False
        self._disk.soon(partial(self._write, batch), partial(self._written, len(batch), self.next_seq - 1))

    def _written(self, size: int, top: int, error: OSError | None) -> None:
        self._busy = False
        if error is not None:
            self._fail(error)
            self._changed.set()
            return
        self.durable = top
        self.backlog -= size
        self._size += size
        self._reached()
        self._on_written()
        if self._size >= self._segment_bytes and self._running:
            self._busy = True
            self._rotating = asyncio.ensure_future(self._rotate())
        else:
            self._next()

    async def _rotate(self) -> None:
        try:
            await self._begin_segment()
        except OSError as error:
            self._fail(error)
        self._busy = False
        self._next()

    def _write(self, batch: bytes) -> None:
        write_all(self._descriptor, batch)
        os.fdatasync(self._descriptor)

    async def _begin_segment(self) -> None:
        started = await self._disk.run(self._folder.start_segment, self._number + 1, self._progress(), self.durable + 1)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._sealed.append((self._path, self.durable))
        self._descriptor, self._path, self._size = started
        self._number += 1

    def _reached(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._waiting = [each for each in waiting if each[0] > self.durable]
        for seq, done in waiting:
            if seq <= self.durable:
                done(None)

    def _fail(self, error: OSError) -> Fault:
        self.fault = Fault("recording_failed", "The recording could not be written, so the session ends.", detail=str(error))
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            done(self.fault)
        self._on_failure(self.fault)
        return self.fault
