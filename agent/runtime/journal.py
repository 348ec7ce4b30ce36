"""The write-ahead log of the agent: one for all sessions, appended on the loop, written and synced by one thread, in groups.

    idle ─► (somebody waits: a turn of the loop later, or two; nobody: after LINGER_S) ─► writing ─► idle, or the next

Whoever needs a frame on disk is called back once it is; all sessions that wait share one sync and one call into the loop. Output
that nobody waits for goes with what somebody waits for, or after ``LINGER_S``, twice that at most. There is one write at a time;
what arrives meanwhile is the next one.
After a failed write nothing is believed any more: the kernel may have dropped the pages it could not write, and a second sync
that succeeds would say nothing about them. So the log fails once, for good, and every session with it; what is on disk is read by
the next process, which believes nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Final

from agent.runtime.leftovers import Found, Logged, OldSegment, name, read_log
from agent.runtime.session_log import Done, SessionLog
from agent.runtime.spool import LOG, Disk, folders
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.wal import FRAME_BYTES, Frame, Head, Progress, Type, checkpoint, encode, encode_head
from agent.runtime.way import Way
from agent.runtime.writer import Open, Writer, begin, keep, write_at, write_made
from chalicelib.contracts.faults import Fault

LINGER_S: Final = 0.025
#: A segment is allocated with this many bytes; it goes once its lines are in chunks. Small ones cost a synced directory each.
SEGMENT_BYTES: Final = 4 * 1024 * 1024
#: The most that is written at once, before it is packed; and sealed on the loop, where nothing is packed.
BATCH_BYTES: Final = 1024 * 1024

_CHECKPOINT: Final = Type.CHECKPOINT


class Journal:
    """The log in the folder ``wal`` of a spool. ``open`` comes first, ``close`` last."""

    def __init__(self, spool: Path, keys: SpoolKeys, disk: Disk, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.keys = keys
        """What new sessions are sealed with."""
        self.fault: Fault | None = None
        """Why nothing can be written any more; None while it can."""
        self.on_fault: Callable[[Fault], None] = lambda fault: None
        """Called once it has failed, after the sessions."""
        self._folder = spool / LOG
        self._spool = spool
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._cipher = keys.log(keys.salt)
        self._writer: Writer | None = None
        self._logs: dict[str, SessionLog] = {}
        self._unclaimed: dict[str, Logged] = {}
        self._closed: list[OldSegment] = []
        self._closing: list[OldSegment] = []
        """Segments in front of one that is not on disk yet: what they say about sessions may not be gone before."""
        self._now: Open | None = None
        self._last: dict[str, int] = {}
        self._number = 0
        self._numbers = 0
        self._counter = 0
        self._acknowledged = 0
        self._pending: list[tuple[SessionLog, Frame]] = []
        self._waiting: list[Done] = []
        self._under_way: list[tuple[SessionLog, Frame]] = []
        self._called: list[Done] = []
        self._pending_bytes = 0
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._flushes = 0
        self._urgent = False
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._way = Way()
        self.damaged: list[Path] = []
        """What could not be read of what earlier processes left."""

    # -- the log's life ------------------------------------------------------------------------------------------------------

    async def open(self, damaged: Path) -> None:
        """Read what is left, and begin to write. What cannot be read is kept in ``damaged``. Raises Fault(recording_failed)."""
        try:
            found = await self._disk.run(self._read, damaged)
        except OSError as error:
            raise Fault("recording_failed", "The agent's spool cannot be read.", detail=str(error)) from None
        self._number = found.number
        self._unclaimed = found.sessions
        self._closed = found.segments
        self.damaged = found.damaged
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(self._written)
        await self.tidy()

    def _read(self, damaged: Path) -> Found:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = read_log(self._folder, self.keys)
        for path in (*found.damaged, *found.unreadable):
            keep(path, damaged)
        for path in found.unreadable:
            path.unlink()
        # What belongs to no folder was delivered, and removed a moment too late.
        known = {path.name for path in folders(self._spool)}
        sessions = {sid: logged for sid, logged in found.sessions.items() if sid in known}
        return found._replace(sessions=sessions, damaged=found.damaged + found.unreadable)

    def left(self, sid: str) -> Logged | None:
        """Return what an earlier process has left of a session."""
        return self._unclaimed.get(sid)

    async def begin(
        self,
        sid: str,
        progress: Callable[[], Progress],
        *,
        on_failure: Callable[[Fault], None],
        on_written: Callable[[], None] = lambda: None,
        next_seq: int = 1,
    ) -> SessionLog:
        """Take a session into the log, or back into it. The log knows it when this returns. Raises Fault(recording_failed)."""
        if self.fault is not None:
            raise self.fault
        self._numbers += 1
        log = SessionLog(self, sid, self._numbers, next_seq, progress, on_failure, on_written)
        known: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(fault: Fault | None) -> None:
            if not known.done():
                known.set_exception(fault) if fault is not None else known.set_result(None)

        self.take(log, checkpoint(progress(), next_seq))
        self._logs[sid] = log
        self.wait(log, next_seq, done)
        try:
            await known
        except BaseException:
            if sid not in self._unclaimed:
                self.forget(sid)
            raise
        self._unclaimed.pop(sid, None)
        return log

    def forget(self, sid: str) -> None:
        """Have no more to do with a session. Segments that only it needed may go."""
        self._logs.pop(sid, None)
        self._unclaimed.pop(sid, None)

    async def close(self) -> None:
        """Write what is left, and let the file go."""
        while (self._pending or self._busy) and self.fault is None:
            self._flush()
            await self._idle.wait()
        await self._idle.wait()
        if self._timer is not None:
            self._timer.cancel()
        if self._writer is not None:
            self._writer.close()
        if self._now is not None:
            os.close(self._now.descriptor)
            self._now = None

    # -- what sessions ask for -----------------------------------------------------------------------------------------------

    def take(self, log: SessionLog, frame: Frame) -> None:
        """Take a frame, to be written soon. Raises Fault(recording_failed)."""
        if log.fault is not None:
            raise log.fault
        size = FRAME_BYTES + len(frame.payload)
        self._pending.append((log, frame))
        self._pending_bytes += size
        log.backlog += size
        if self._timer is None:
            self._linger()
        if self._pending_bytes >= BATCH_BYTES:
            # A batch is full: nothing is won by waiting for more.
            self._hurry()

    def take_then(self, log: SessionLog, frame: Frame, done: Done) -> None:
        """Take a frame and have ``done`` called with the batch that holds it. Raises Fault(recording_failed)."""
        if log.fault is not None:
            raise log.fault
        size = FRAME_BYTES + len(frame[6])
        self._pending.append((log, frame))
        self._pending_bytes += size
        log.backlog += size
        self._waiting.append(done)
        if not self._urgent:
            self._hurry()

    def wait(self, log: SessionLog, seq: int, done: Done) -> None:
        """Have ``done`` called with the batch that holds frame ``seq`` of ``log``."""
        if log.fault is not None or seq <= log.durable:
            self._loop.call_soon(done, log.fault)
        elif seq <= log.taken:
            self._called.append(done)
        else:
            self._waiting.append(done)
            self._hurry()

    async def give_way(self) -> None:
        """Return when those are told who wait for a write by now, or soon where it takes long; at once where nobody waits."""
        if (self._waiting or self._called) and self.fault is None:
            await self._way.freed()

    async def tidy(self) -> None:
        """Remove closed segments that hold nothing that is needed. Raises OSError."""
        gone = [each for each in self._closed if not self._needed(each)]
        if gone:
            self._closed = [each for each in self._closed if each not in gone]
            for segment in gone:
                await self._disk.run(segment.path.unlink, missing_ok=True)

    def _needed(self, segment: OldSegment) -> bool:
        for sid, last in segment.last.items():
            log = self._logs.get(sid)
            if sid in self._unclaimed or (log is not None and last >= log.needs):
                return True
        return False

    # -- writing -------------------------------------------------------------------------------------------------------------

    def _hurry(self) -> None:
        """Have what is pending written after this turn of the loop, or after what is being written."""
        if not self._urgent:
            self._urgent = True
            if not self._busy:
                self._loop.call_soon(self._turned)

    def _turned(self) -> None:
        """Write what somebody waits for; a turn later where others may still join them, for a write costs what ten lines do."""
        if len(self._waiting) < len(self._logs):
            self._loop.call_soon(self._flush)
        else:
            self._flush()

    def _linger(self) -> None:
        """Have ``_lingered`` called after a while. The timer is never stopped: to set one for each statement costs more."""
        self._flushes = 0
        self._timer = self._loop.call_later(LINGER_S, self._lingered)

    def _lingered(self) -> None:
        """Write what nobody waits for, unless something was written since the timer was set: then that may take more along."""
        self._timer = None
        if not self._pending or self._busy or self.fault is not None:
            return
        if self._flushes:
            self._linger()
        else:
            self._flush()

    def _flush(self) -> None:
        if self._busy or not self._pending or self.fault is not None or self._writer is None:
            return
        batch, size = self._next_batch()
        self._flushes += 1
        self._busy, self._urgent = True, bool(self._pending)
        self._idle.clear()
        self._under_way, now, head = batch, self._now, b""
        if now is None or now.end + size > now.size:
            head = self._head()
        data = self._seal(batch)
        if head or now is None:
            self._close_segment()
            path = self._folder / name(self._number, self.keys.salt)
            work: Callable[[], object] = partial(begin, path, max(self._segment_bytes, len(head) + size), head, data)
        elif isinstance(data, bytes):
            work = partial(write_at, now.descriptor, *now.append(data))
        else:
            work = partial(write_made, now.descriptor, now.end, data)
        self._writer.submit(work)

    def _next_batch(self) -> tuple[list[tuple[SessionLog, Frame]], int]:
        """Take as much of what is pending as is written at once, and those who wait for it."""
        batch, size = self._pending, self._pending_bytes
        if size <= BATCH_BYTES:
            self._pending, self._pending_bytes = [], 0
            self._called, self._waiting = self._waiting, []
            return batch, size
        size = upto = 0
        while not upto or (size <= BATCH_BYTES and upto < len(batch)):
            size += FRAME_BYTES + len(batch[upto][1].payload)
            upto += 1
        # Whoever waits, waits for something behind this, at the latest: they are called with the last of it.
        self._pending = batch[upto:]
        self._pending_bytes -= size
        if not self._pending:
            self._called, self._waiting = self._waiting, []
        return batch[:upto], size

    def _head(self) -> bytes:
        """Return how the next segment begins: with what all earlier ones said about every session."""
        self._number += 1
        head = encode_head(Head(self._number, self._counter + 1), self._cipher)
        checkpoints = [(log, checkpoint(log.progress(), log.taken + 1)) for log in self._logs.values()]
        sealed = self._seal(checkpoints)
        assert isinstance(sealed, bytes)  # a checkpoint is small
        return head + sealed

    def _seal(self, batch: list[tuple[SessionLog, Frame]]) -> bytes | Callable[[], bytes]:
        """Return the bytes of ``batch``; where something has to be packed first, what makes them, for the writer's thread."""
        counter, acknowledged = self._counter, self._acknowledged
        sealed: list[bytes] = []
        parts: list[bytes | partial[bytes]] = []
        for log, frame in batch:
            counter += 1
            kind, _, seq, _, _, _, payload = frame
            if kind is _CHECKPOINT:
                cipher = self._cipher
            else:
                log.taken, cipher = seq, log.cipher
            place = (log.number, counter, acknowledged)
            if type(payload) is bytes:
                sealed.append(encode(frame, place, cipher))
            else:
                parts += [*sealed, partial(encode, frame, place, cipher)]
                sealed = []
        self._counter = counter
        return partial(_joined, [*parts, *sealed]) if parts else b"".join(sealed)

    def _close_segment(self) -> None:
        if self._now is not None:
            os.close(self._now.descriptor)
            self._closing.append(OldSegment(self._now.path, self._last))
        self._now, self._last = None, {}

    def _written(self, made: object, error: Exception | None) -> None:
        """The writer is done with the batch."""
        self._busy = False
        if error is not None:
            self._fail(error)
            return
        if isinstance(made, Open):
            self._now = made
            self._closed += self._closing
            self._closing = []
        elif isinstance(made, int) and self._now is not None:
            self._now.reached(self._now.end + made)
        self._acknowledged = self._counter
        batch, self._under_way = self._under_way, []
        called, self._called = self._called, []
        told = self._count(batch)
        # Not at once: the thread could do nothing before this one lets the interpreter go, and who is told now is soon back.
        if self._pending:
            if self._urgent:
                self._loop.call_soon(self._turned)
            elif self._timer is None:
                self._linger()
        self._idle.set()
        for done in called:
            try:
                done(None)
            except Exception as raised:  # noqa: BLE001 - told to the loop, which logs it
                _failed_to_go_on(raised)
        self._way.free()
        for log in told:
            log.on_written()

    def _count(self, batch: list[tuple[SessionLog, Frame]]) -> Collection[SessionLog]:
        """Note that ``batch`` is on disk. Returns whose lines it had."""
        told: dict[int, SessionLog] = {}
        for log, frame in batch:
            log.backlog -= FRAME_BYTES + len(frame[6])
            if frame[0] is not _CHECKPOINT:
                log.durable = frame[2]
                told[log.number] = log
        for log in told.values():
            self._last[log.sid] = log.durable
        return told.values()

    def _fail(self, error: Exception) -> None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        words = "The agent's disk is full, so nothing can be recorded." if full else "The recording could not be written."
        self.fault = Fault("recording_failed", words, detail=str(error))
        live = [log for log in self._logs.values() if log.fault is None]
        for log in live:
            log.fault = self.fault
        called, self._called, self._waiting = self._called + self._waiting, [], []
        self._pending, self._under_way = [], []
        self._idle.set()
        self._way.free()
        for done in called:
            try:
                done(self.fault)
            except Exception as raised:  # noqa: BLE001 - told to the loop, which logs it
                _failed_to_go_on(raised)
        for log in live:
            log.on_failure(self.fault)
        self.on_fault(self.fault)


def _joined(parts: list[bytes | partial[bytes]]) -> bytes:
    return b"".join([part if isinstance(part, bytes) else part() for part in parts])


def _failed_to_go_on(error: Exception) -> None:
    """What one session makes of a durable write is not the others' business."""
    asyncio.get_running_loop().call_exception_handler({"message": "after a durable write", "exception": error})
