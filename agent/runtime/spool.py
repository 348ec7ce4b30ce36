"""The spool on disk: one folder per session, ``state/spool/<sid>/``, that outlives the process at any instant.

    wal-00000001                                     segments of the write-ahead log (see wal.py)
    000003.<time_ms>.<upto>.<chain>.ch01.cast.zst    a chunk, compressed, as it will be stored
    end.json                                         how the session ended, once it has

A chunk's name says all that is needed to register it, so no index can disagree with the files. Every file appears under its name
only when it is whole and on disk (write elsewhere, fsync, rename, fsync the folder).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final, Literal, NamedTuple, ParamSpec, TypeVar

import msgspec
import zstandard

from agent.runtime.wal import LINES, Cut, Frame, Progress, Type, checkpoint, read_cut, read_segment
from chalicelib.contracts import ids, recording

_CHUNK: Final = re.compile(r"(\d{6})\.(\d{1,15})\.(\d{1,19})\.([0-9a-f]{64})\.(ch\d{2,4}\.(?:cast|jsonl|sealed))\.zst")
_SEGMENT: Final = re.compile(r"wal-(\d{8})")
_LEVEL: Final = 2
_END: Final = "end.json"

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Disk:
    """The threads that wait for the disk, so that the loop never does. Shared by all sessions.

    ``run`` is for work that is awaited. ``soon`` is for the write-ahead logs, which sync thousands of times a second: a queue in
    C and a callback on the loop cost a third of what an executor's futures do.
    """

    def __init__(self, threads: int = 4) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="spool")
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._syncing: list[Thread] = []
        self._most = threads

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run ``work`` in a thread and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def soon(self, work: Callable[[], None], done: Callable[[OSError | None], None]) -> None:
        """Run ``work`` in a thread; then call ``done`` on the loop, with the error where there was one."""
        if len(self._syncing) < self._most:
            thread = Thread(target=self._work, name=f"wal_{len(self._syncing)}", daemon=True)
            self._syncing.append(thread)
            thread.start()
        self._jobs.put((work, done, asyncio.get_running_loop()))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done, loop = job
            error: OSError | None = None
            try:
                work()
            except OSError as failed:
                error = failed
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done, error)
            # Otherwise the last job of a session that is over would be kept until another one has something to write.
            del job, work, done, loop

    def close(self) -> None:
        """Wait for what is under way."""
        for _ in self._syncing:
            self._jobs.put(None)
        for thread in self._syncing:
            thread.join()
        self._syncing = []
        self._threads.shutdown(wait=True)


_Job = tuple[Callable[[], None], Callable[["OSError | None"], None], asyncio.AbstractEventLoop]


class End(msgspec.Struct, frozen=True):
    """How a session ended, as it will be reported when everything is uploaded."""

    state: Literal["ended", "killed"]
    message: str = ""


class SpooledChunk(NamedTuple):
    """A chunk that is whole on disk."""

    chunk: recording.Chunk
    path: Path
    upto: int

    @property
    def cut(self) -> Cut:
        """The fact that the write-ahead log keeps about it."""
        return Cut(n=self.chunk.n, kind=self.chunk.kind, upto=self.upto, chain=self.chunk.chain)


class Leftover(NamedTuple):
    """What an earlier process left of a session."""

    progress: Progress
    frames: list[Frame]
    """Lines that are in no chunk yet, in order."""
    chunks: list[SpooledChunk]
    segments: list[tuple[Path, int]]
    """Every segment, and the number of its last frame."""
    next_seq: int
    end: End | None
    damaged: list[Path]


class Folder:
    """One session's folder. Every method blocks: call them through ``Disk``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def sid(self) -> str:
        """The session."""
        return self.path.name

    def create(self) -> None:
        """Make the folder. Raises FileExistsError if this session was recorded here before."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.mkdir(mode=0o700)
        sync_directory(self.path.parent)

    def start_segment(self, number: int, progress: Progress, next_seq: int) -> tuple[int, Path, int]:
        """Begin a segment; return its descriptor, its path and its size. It is on disk before this returns."""
        path = self.path / f"wal-{number:08d}"
        data = checkpoint(progress, next_seq)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
            sync_directory(self.path)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor, path, len(data)

    def write_chunk(self, progress: Progress, kind: str, time_ms: int, upto: int, lines: Sequence[bytes]) -> SpooledChunk:
        """Compress ``lines`` into the next chunk of ``progress`` and put it on disk. Raises OSError."""
        body = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(b"".join(lines))
        digest = hashlib.sha256(body).hexdigest()
        chain = recording.link(progress.chain, progress.n, time_ms, digest)
        chunk = recording.Chunk(n=progress.n, kind=kind, time_ms=time_ms, size=len(body), sha256=digest, chain=chain)
        path = self.path / f"{chunk.n:06d}.{time_ms}.{upto}.{chain}.{kind}.zst"
        write_whole(path, body)
        return SpooledChunk(chunk, path, upto)

    def write_end(self, end: End) -> None:
        """Keep how the session ended."""
        write_whole(self.path / _END, msgspec.json.encode(end))

    def remove(self) -> None:
        """Forget the session: everything in the folder is stored elsewhere."""
        shutil.rmtree(self.path)
        sync_directory(self.path.parent)

    def set_aside(self, where: Path) -> Path:
        """Move the folder to ``where`` and return its new place: evidence that could not be delivered is not deleted."""
        where.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = where / self.sid
        suffix = 0
        while place.exists():
            suffix += 1
            place = where / f"{self.sid}.{suffix}"
        self.path.rename(place)
        sync_directory(where)
        return place

    def read(self) -> Leftover | None:
        """Return what is left of the session; None if nothing was ever recorded in this folder."""
        for temporary in self.path.glob("*.tmp"):
            temporary.unlink()
        progress: Progress | None = None
        frames: list[Frame] = []
        segments: list[tuple[Path, int]] = []
        damaged: list[Path] = []
        next_seq = 1
        for path in sorted(each for each in self.path.iterdir() if _SEGMENT.fullmatch(each.name)):
            segment = read_segment(path.read_bytes())
            if segment.state == "damaged":
                damaged.append(path)
            if segment.progress is not None:
                progress = _later(progress, segment.progress)
                frames += segment.frames
                next_seq = max(next_seq, segment.first_seq + len(segment.frames))
            segments.append((path, segment.first_seq + len(segment.frames) - 1))
        chunks = list(self._chunks())
        if progress is None:
            return None if not chunks and not damaged else self._headless(chunks, segments, damaged)
        return self._leftover(progress, frames, chunks, segments, next_seq, damaged)

    def _leftover(
        self,
        progress: Progress,
        frames: list[Frame],
        chunks: list[SpooledChunk],
        segments: list[tuple[Path, int]],
        next_seq: int,
        damaged: list[Path],
    ) -> Leftover:
        for cut in [read_cut(frame) for frame in frames if frame.type is Type.CUT] + [each.cut for each in chunks]:
            progress = progress.after(cut)
        progress = msgspec.structs.replace(
            progress,
            operations=max([progress.operations, *(frame.operations for frame in frames)]),
            denied=max([progress.denied, *(frame.denied for frame in frames)]),
        )
        # A chunk may hold lines whose frames never reached the log; their numbers are taken all the same.
        next_seq = max([next_seq, *(upto + 1 for upto in progress.upto.values())])
        missing = [frame for frame in frames if frame.type in LINES and frame.seq > progress.upto.get(frame.kind, 0)]
        return Leftover(progress, missing, chunks, segments, next_seq, self._end(), damaged)

    def _headless(self, chunks: list[SpooledChunk], segments: list[tuple[Path, int]], damaged: list[Path]) -> Leftover:
        """Chunks without a readable log: what is in them still counts."""
        last = chunks[-1].chunk if chunks else None
        progress = Progress(sid=self.sid, n=last.n + 1 if last else 0, chain=last.chain if last else "")
        return Leftover(progress, [], chunks, segments, 1, self._end(), damaged)

    def _chunks(self) -> Iterator[SpooledChunk]:
        for path in sorted(self.path.glob("*.zst")):
            match = _CHUNK.fullmatch(path.name)
            if match is None:
                continue
            body = path.read_bytes()
            number, time_ms, upto, chain, kind = match.groups()
            digest = hashlib.sha256(body).hexdigest()
            chunk = recording.Chunk(n=int(number), kind=kind, time_ms=int(time_ms), size=len(body), sha256=digest, chain=chain)
            yield SpooledChunk(chunk, path, int(upto))

    def _end(self) -> End | None:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode((self.path / _END).read_bytes(), type=End)
        return None


def folders(root: Path) -> list[Folder]:
    """Return the folder of every session that is left in the spool ``root``, oldest first."""
    if not root.is_dir():
        return []
    return [Folder(path) for path in sorted(root.iterdir()) if path.is_dir() and ids.is_id(ids.SESSION, path.name)]


def free_bytes(path: Path) -> int:
    """Return how much room the disk under ``path`` has for this process."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a short write is not an end."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_whole(path: Path, data: bytes) -> None:
    """Put a file on disk so that it is either absent or whole."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names in ``path`` durable: fsync(2) on a file does not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _later(one: Progress | None, other: Progress) -> Progress:
    return other if one is None or other.n >= one.n else one
