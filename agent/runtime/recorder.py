"""A session's recording: lines go into the write-ahead log at once and into numbered, chained chunks behind it.

    write ─► (gathered) ─► journal (durable) ─► done     what a caller with ``durable`` waits for
                      └──► buffer per channel ─► chunk file ─► uploader

Output that floods is gathered first (``packing``), for a few milliseconds: its lines are one frame of the log. So is what follows
a statement's line, with the next statement's. Whatever else is written, or waited for, comes behind what was gathered.

A chunk is cut per channel after ``CHUNK_BYTES``, ``CHUNK_TEXT`` or ``CHUNK_SECONDS``, and at the end. Cutting is serial, because
each chunk is chained to the one before. A recording that an earlier process left is the same thing, begun with ``Leftover``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from agent.runtime.journal import Journal
from agent.runtime.packing import GATHERED, LEAST, Gathering, Lines, Packed
from agent.runtime.session_log import SessionLog
from agent.runtime.spool import Disk, End, Folder, Leftover, SpooledChunk
from agent.runtime.uploader import Uploader
from agent.runtime.wal import FRAME_BYTES, TYPES, Frame, Progress, Type, cut_payload
from agent.telemetry import logger
from chalicelib.contracts import recording
from chalicelib.contracts.faults import Fault

#: More than this in memory, and sources are paused until it is half of it.
HIGH_BYTES: Final = 8 * 1024 * 1024
LOW_BYTES: Final = HIGH_BYTES // 2
#: A source that ignores ``pressure`` ends its session here, rather than the agent.
HARD_BYTES: Final = 32 * 1024 * 1024
#: The longest line, in bytes: a chunk's limit must hold even if nothing compresses.
LINE_LIMIT: Final = 1024 * 1024
#: Seconds for which output is gathered, before the log's own.
GATHER_S: Final = 0.01

_new: Final = tuple.__new__


class _Gathered:
    """Output of one channel that goes into the log as one frame."""

    def __init__(self, channel: int, kind: recording.Kind, time_ms: int, timer: asyncio.TimerHandle, lines: Gathering) -> None:
        self.channel = channel
        self.kind = kind
        self.time_ms = time_ms
        self.timer = timer
        self.lines = lines


class _Buffer:
    """Lines of one channel on their way into a chunk."""

    def __init__(self, kind: str, first_seq: int, time_ms: int, due: float) -> None:
        self.kind = kind
        self.first_seq = first_seq
        self.upto = first_seq
        self.time_ms = time_ms
        self.due = due
        self.parts: list[Lines] = []
        self.text = 0
        """Bytes of text."""
        self.held = 0
        """Bytes in memory: what is packed counts as that. A chunk has as many at the most."""
        self.cut = False


class SpoolRecorder:
    """One session's recording. ``run`` does the work; it returns when the recording was closed and is uploaded."""

    def __init__(
        self,
        folder: Folder,
        disk: Disk,
        journal: Journal,
        uploader: Uploader,
        *,
        progress: Progress,
        now_ms: Callable[[], int],
        on_failure: Callable[[Fault], None],
        chunk_seconds: float = recording.CHUNK_SECONDS,
    ) -> None:
        self.progress = progress
        self.operations = progress.operations
        self.denied = progress.denied
        self.complete = True
        """False once lines are in the log that could not be cut into a chunk; the folder must then be kept."""
        self._folder = folder
        self._disk = disk
        self._uploader = uploader
        self._now_ms = now_ms
        self._on_failure = on_failure
        self._chunk_seconds = chunk_seconds
        self._journal = journal
        self._log: SessionLog
        self._names: dict[tuple[int, recording.Kind], str] = {}
        """How channels are called in the recording."""
        self._open: dict[str, _Buffer] = {}
        self._full: list[_Buffer] = []
        self._gathered: _Gathered | None = None
        self._wrote_ms = 0
        """When a little was last written that was not gathered."""
        self._answered = True
        """False once a durable line was written, until something follows it."""
        self._riding: tuple[int, recording.Kind, int, bytes] | None = None
        """A line that followed a durable one, which the next one takes along: its channel, kind, time and bytes. There is not one
        where something is gathered."""
        self._ride_timer: asyncio.TimerHandle | None = None
        self._rode: object = None
        """What was riding when the timer was set."""
        self._packing: list[tuple[_Buffer, Packed]] = []
        """What the log will pack, in its order."""
        self._held = 0
        """Bytes that wait for their chunk. They, or those that wait for the log, set the pace: the slower of the two."""
        self._wake = asyncio.Event()
        self._relief = asyncio.Event()
        self._relief.set()
        self._behind = False
        """As long as ``_relief`` is not set."""
        self._closed = False

    async def open(self, leftover: Leftover | None = None) -> None:
        """Begin on disk, where an earlier process stopped if there is a ``leftover``. Raises Fault(recording_failed)."""
        self._log = await self._journal.begin(
            self.progress.sid,
            self._known,
            on_failure=self._failed,
            on_written=self._written,
            next_seq=leftover.next_seq if leftover is not None else 1,
        )
        if leftover is None:
            return
        if leftover.chunks:
            self._uploader.resume(self.progress.n - 1)
        for frame in leftover.frames:
            self._buffer(frame.kind, frame.seq, frame.time_ms, frame.payload)

    def _known(self) -> Progress:
        return msgspec.structs.replace(self.progress, operations=self.operations, denied=self.denied)

    async def write(self, channel: int, kind: recording.Kind, lines: bytes, *, durable: bool = False) -> None:
        """Append lines; see ``serving.Recorder``."""
        seq = self._append(channel, kind, lines)
        if durable:
            await self._log.commit(seq)

    def write_then(self, channel: int, kind: recording.Kind, lines: bytes, done: Callable[[Fault | None], None]) -> None:
        """Append lines, and call ``done`` once they are on disk; see ``serving.Recorder``."""
        self._answered = False
        riding = self._riding
        if riding is None or riding[0] != channel or riding[1] != kind or len(lines) >= LEAST:
            self._log.then(self._append(channel, kind, lines), done)
            return
        # Most lines of statements: as ``_append`` and ``then``, in fewer steps.
        self._check(channel, lines)
        self._riding = None
        log, lines = self._log, riding[3] + lines
        seq = log.next_seq
        log.append_then(_new(Frame, (TYPES[kind], channel, seq, riding[2], self.operations, self.denied, lines)), done)
        self._buffer(self._names.get((channel, kind)) or self._name(channel, kind), seq, riding[2], lines)

    def write_soon(self, channel: int, kind: recording.Kind, lines: bytes) -> None:
        """Append output lines; see ``serving.Recorder``. A failure is told through ``on_failure``."""
        try:
            if not self._answered and len(lines) < LEAST and self._gathered is None:
                self._answered = True
                self._ride(channel, kind, lines)
                return
            now_ms = self._now_ms()
            if len(lines) <= LINE_LIMIT and (len(lines) >= LEAST or now_ms == self._wrote_ms or self._gathers(channel, kind)):
                self._gather(channel, kind, lines)
            else:
                # Within the same millisecond it is gathered: a little each time, but often.
                self._wrote_ms = now_ms
                self._append(channel, kind, lines, now_ms)
        except Fault as fault:
            self._on_failure(fault)

    def pressure(self) -> bool:
        """True while the spool is behind."""
        return self._behind

    async def relieved(self) -> None:
        """Return when the spool has caught up, or has failed, for then nothing more will be written."""
        await self._relief.wait()

    async def give_way(self) -> None:
        """Let those go first who wait for the disk; see ``serving.Recorder``."""
        await self._log.give_way()

    def count(self, operations: int, denied: int) -> None:
        """Add to the counters."""
        self.operations += operations
        self.denied += denied

    async def run(self) -> None:
        """Write, cut and upload until ``close``, and until everything that could be cut is stored."""
        async with asyncio.TaskGroup() as tasks:
            uploading = tasks.create_task(self._uploader.run(self._log.commit))
            await self._cut_until_closed()
            self._uploader.finish()
            await uploading

    async def forget(self) -> None:
        """Have the log forget the recording: it is delivered, or kept elsewhere, or ``run`` was never called for it."""
        self._closed = True
        if self._gathered is not None:
            self._gathered.timer.cancel()
            self._gathered = None
        self._riding = None
        if self._ride_timer is not None:
            self._ride_timer.cancel()
        try:
            await self._log.forget()
        except OSError as error:
            logger(sid=self.progress.sid).warning("spool.not_tidied", detail=str(error))

    async def close(self, end: End) -> None:
        """Take no more lines, and have ``run`` finish. ``end`` is kept on disk for whoever has to report it."""
        self._pass_on_soon()
        self._closed = True
        self._wake.set()
        try:
            await self._disk.run(self._folder.write_end, end)
        except OSError as error:
            self._failed(Fault("recording_failed", "The end of the recording could not be written.", detail=str(error)))

    def _append(self, channel: int, kind: recording.Kind, lines: bytes, now_ms: int | None = None) -> int:
        self._check(channel, lines)
        riding = self._riding
        if riding is not None and riding[0] == channel and riding[1] == kind and len(lines) < LEAST:
            self._riding = None
            return self._put(channel, kind, riding[2], riding[3] + lines)
        if riding is not None or self._gathered is not None:
            self._pass_on()
        now_ms, seq = self._now_ms() if now_ms is None else now_ms, 0
        if len(lines) <= LINE_LIMIT:
            return self._put(channel, kind, now_ms, lines)
        for piece in _pieces(lines):
            seq = self._put(channel, kind, now_ms, piece)
        return seq

    def _check(self, channel: int, lines: bytes) -> None:
        if self._closed:
            raise Fault("recording_failed", "The recording is closed.")
        if not lines.endswith(b"\n"):
            raise Fault("recording_failed", "A recording takes whole lines.", detail=f"channel {channel}, {len(lines)} bytes")
        if self._held > HARD_BYTES or self._log.backlog > HARD_BYTES:
            raise Fault("recording_failed", "Output arrived faster than it could be recorded.")

    def _put(self, channel: int, kind: recording.Kind, time_ms: int, lines: Lines) -> int:
        seq = self._log.append(TYPES[kind], channel, time_ms, self.operations, self.denied, lines)
        self._buffer(self._names.get((channel, kind)) or self._name(channel, kind), seq, time_ms, lines)
        return seq

    def _name(self, channel: int, kind: recording.Kind) -> str:
        name = self._names[channel, kind] = f"ch{channel:02d}.{kind}"
        return name

    def _ride(self, channel: int, kind: recording.Kind, lines: bytes) -> None:
        """Keep what follows a durable line for the next one, to be one frame with it; for twice :data:`GATHER_S` at most."""
        self._check(channel, lines)
        if self._riding is not None:
            self._pass_on()
        self._riding = (channel, kind, self._now_ms(), lines)
        if self._ride_timer is None:
            self._rode = self._riding
            self._ride_timer = asyncio.get_running_loop().call_later(GATHER_S, self._ridden)

    def _ridden(self) -> None:
        """Have what rides written, unless it came since the timer was set: then a statement may still take it along."""
        self._ride_timer = None
        if self._riding is None or self._riding is self._rode:
            self._pass_on_soon()
            return
        self._rode = self._riding
        self._ride_timer = asyncio.get_running_loop().call_later(GATHER_S, self._ridden)

    def _gathers(self, channel: int, kind: recording.Kind) -> bool:
        gathered = self._gathered
        return gathered is not None and gathered.channel == channel and gathered.kind == kind

    def _gather(self, channel: int, kind: recording.Kind, lines: bytes) -> None:
        self._check(channel, lines)
        if self._riding is not None:
            self._pass_on()
        gathered = self._gathered
        if gathered is None or not self._gathers(channel, kind) or gathered.lines.size + len(lines) > GATHERED:
            flood = self._gathers(channel, kind)
            self._pass_on()
            timer = asyncio.get_running_loop().call_later(GATHER_S, self._pass_on_soon)
            gathered = self._gathered = _Gathered(channel, kind, self._now_ms(), timer, Gathering(flood=flood))
        gathered.lines.add(lines)

    def _pass_on(self) -> None:
        """Have what was gathered written. Raises Fault(recording_failed)."""
        riding, self._riding = self._riding, None
        if riding is not None:
            self._put(*riding)
        gathered, self._gathered = self._gathered, None
        if gathered is not None:
            gathered.timer.cancel()
            self._put(gathered.channel, gathered.kind, gathered.time_ms, gathered.lines.lines())

    def _pass_on_soon(self) -> None:
        try:
            self._pass_on()
        except Fault as fault:
            self._on_failure(fault)

    def _buffer(self, kind: str, seq: int, time_ms: int, lines: Lines) -> None:
        buffer, size = self._open.get(kind), len(lines)
        if buffer is None or buffer.held + size > recording.CHUNK_BYTES or buffer.text + size > recording.CHUNK_TEXT:
            buffer = self._next_buffer(kind, seq, time_ms)
        held = size
        if type(lines) is Packed:
            if (saved := lines.saved) is None:
                self._packing.append((buffer, lines))
            else:
                held -= saved
        buffer.parts.append(lines)
        buffer.text += size
        buffer.held += held
        buffer.upto = seq
        self._held += held + FRAME_BYTES
        if (self._held > HIGH_BYTES or self._log.backlog > HIGH_BYTES) and self._log.fault is None:
            self._behind = True
            self._relief.clear()
            self._wake.set()

    def _next_buffer(self, kind: str, seq: int, time_ms: int) -> _Buffer:
        """Return a new buffer for the line ``seq``; what there was is full."""
        full = self._open.pop(kind, None)
        if full is not None:
            self._full.append(full)
        due = asyncio.get_running_loop().time() + self._chunk_seconds
        buffer = self._open[kind] = _Buffer(kind, seq, time_ms, due)
        self._wake.set()
        return buffer

    def _written(self) -> None:
        """The log has written something: what it packed takes less room now."""
        while self._packing and (saved := self._packing[0][1].saved) is not None:
            buffer, _ = self._packing.pop(0)
            if not buffer.cut:
                buffer.held -= saved
                self._held -= saved
        if self._behind:
            self._relieve()

    def _relieve(self) -> None:
        if self._held < LOW_BYTES and self._log.backlog < LOW_BYTES:
            self._behind = False
            self._relief.set()

    async def _cut_until_closed(self) -> None:
        while True:
            self._wake.clear()
            closing = self._closed
            # Under pressure nothing is worth waiting for: many channels may each hold less than a chunk.
            self._collect(everything=closing or self.pressure())
            while self._full:
                await self._cut(self._full[0])
            if closing:
                return
            await self._sleep()

    async def _sleep(self) -> None:
        """Wait for news, or until the oldest buffer is due."""
        due = min((buffer.due for buffer in self._open.values()), default=None)
        try:
            async with asyncio.timeout_at(due):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _collect(self, *, everything: bool) -> None:
        """Move what is due to the buffers that are to be cut, in the order of first lines: a recording reads in order."""
        now = asyncio.get_running_loop().time()
        due = [kind for kind, buffer in self._open.items() if everything or buffer.due <= now]
        ready = [*self._full, *(self._open.pop(kind) for kind in due)]
        self._full = sorted(ready, key=lambda buffer: buffer.first_seq)

    async def _cut(self, buffer: _Buffer) -> None:
        """Make the chunk of ``buffer``, which stays first in ``_full`` until then: its lines are still owed by the log."""
        if self.complete:
            try:
                chunk = await self._disk.run(
                    self._folder.write_chunk, self.progress, buffer.kind, buffer.time_ms, buffer.upto, buffer.parts
                )
                self._account(chunk)
            except OSError as error:
                # A later chunk would be chained past these lines, so none is made; the log keeps them for recovery.
                self.complete = False
                self._failed(Fault("recording_failed", "A chunk of the recording could not be written.", detail=str(error)))
        self._full.remove(buffer)
        self._held -= buffer.held + FRAME_BYTES * len(buffer.parts)
        buffer.cut = True
        self._relieve()
        if self.complete:
            await self._release()

    def _account(self, chunk: SpooledChunk) -> None:
        self.progress = self.progress.after(chunk.cut)
        try:
            seq = self._log.append(Type.CUT, 0, 0, self.operations, self.denied, cut_payload(chunk.cut))
        except Fault:
            # The log has failed, so it cannot say that the chunk exists; the file itself does, and must stay.
            seq = -1
        self._uploader.add(chunk, seq)

    async def _release(self) -> None:
        waiting = [buffer.first_seq for buffer in (*self._open.values(), *self._full)]
        try:
            await self._log.release(min(waiting, default=self._log.next_seq))
        except OSError as error:
            self._failed(Fault("recording_failed", "The spool could not be tidied.", detail=str(error)))

    def _failed(self, fault: Fault) -> None:
        self._behind = False
        self._relief.set()
        self._wake.set()
        self._on_failure(fault)


def _pieces(lines: bytes) -> list[bytes]:
    """Cut ``lines`` at newlines into pieces of at most ``LINE_LIMIT`` bytes. Raises Fault for a line that is longer."""
    if len(lines) <= LINE_LIMIT:
        return [lines]
    pieces, at = [], 0
    while at < len(lines):
        end = lines.rfind(b"\n", at, at + LINE_LIMIT) + 1
        if not end:
            raise Fault("recording_failed", f"A line of the recording is longer than {LINE_LIMIT} bytes.")
        pieces.append(lines[at:end])
        at = end
    return pieces
