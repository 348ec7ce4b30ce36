"""The spool: a folder of chunks for each session, and one write-ahead log of all, whole at any instant.

    wal/                                                          the log (``journal``, ``wal``)
    ses_…/000003.<time_ms>.<upto>.<chain>.ch01.cast.zst.sealed    a chunk, compressed as it will be stored, and sealed
    ses_…/end.json                                                how the session ended, once it has

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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple, ParamSpec, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.runtime.leftovers import Logged
from agent.runtime.packing import Lines, frames
from agent.runtime.spool_keys import SALT_BYTES, SpoolKeys
from agent.runtime.wal import LINES, Cut, Frame, Progress, Type, read_cut
from chalicelib.contracts import ids, recording

_CHUNK: Final = re.compile(r"(\d{6})\.(\d{1,15})\.(\d{1,19})\.([0-9a-f]{64})\.(ch\d{2,4}\.(?:cast|jsonl|sealed))\.zst\.sealed")
_CHUNK_MAGIC: Final = b"SLYCHK01"
#: Where the spool is, in the state directory.
SPOOL: Final = "spool"
#: Where the log is, in the spool.
LOG: Final = "wal"
_END: Final = "end.json"

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Disk:
    """The threads that wait for the disk, so that the loop never does. Shared by all sessions; the log has its own."""

    def __init__(self, threads: int = 4) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="spool")

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run ``work`` in a thread and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown(wait=True)


class UnsealError(OSError):
    """A file of the spool was not sealed by this agent, or is not what was sealed."""


class End(msgspec.Struct, frozen=True):
    """How a session ended, as it will be reported when everything is uploaded."""

    state: Literal["ended", "killed"]
    message: str = ""


class SpooledChunk(NamedTuple):
    """A chunk that is whole on disk. ``body`` returns its bytes as they will be stored; it blocks and raises OSError."""

    chunk: recording.Chunk
    path: Path
    upto: int
    body: Callable[[], bytes]

    @property
    def cut(self) -> Cut:
        """The fact that the write-ahead log keeps about it."""
        return Cut(n=self.chunk.n, kind=self.chunk.kind, upto=self.upto, chain=self.chunk.chain)


class Leftover(NamedTuple):
    """What an earlier process left of a session."""

    progress: Progress
    frames: list[Frame]
    """Lines that are in no chunk yet, in order."""
    chunks: int
    """How many chunks are in the folder; ``Folder.chunks`` reads them."""
    next_seq: int
    end: End | None
    damaged: bool
    """True where something that was recorded cannot be read."""


class Folder:
    """One session's folder. Every method blocks: call them through ``Disk``."""

    def __init__(self, path: Path, keys: SpoolKeys) -> None:
        self.path = path
        self._keys = keys
        self._ciphers: dict[bytes, AESGCM] = {}
        self._fresh: tuple[Path, bytes] | None = None
        """The newest chunk, until it is asked for: mostly it is stored at once, and need not be read again."""

    @property
    def sid(self) -> str:
        """The session. A folder that was set aside may have a number behind it."""
        return self.path.name.partition(".")[0]

    def create(self) -> None:
        """Make the folder. Raises FileExistsError if this session was recorded here before."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.mkdir(mode=0o700)
        sync_directory(self.path.parent)

    def write_chunk(self, progress: Progress, kind: str, time_ms: int, upto: int, lines: Sequence[Lines]) -> SpooledChunk:
        """Compress ``lines`` into the next chunk of ``progress`` and put it on disk. Raises OSError."""
        body = frames(lines)
        digest = hashlib.sha256(body).hexdigest()
        chain = recording.link(progress.chain, progress.n, time_ms, digest)
        chunk = recording.Chunk(n=progress.n, kind=kind, time_ms=time_ms, size=len(body), sha256=digest, chain=chain)
        path = self.path / f"{chunk.n:06d}.{time_ms}.{upto}.{chain}.{kind}.zst.sealed"
        salt = self._keys.salt
        # The number is the nonce: a process writes each chunk once, because one that fails is the last of its recording.
        sealed = self._cipher(salt).encrypt(_nonce(chunk.n), body, path.name.encode())
        write_whole(path, _CHUNK_MAGIC + salt + sealed)
        self._fresh = path, body
        return SpooledChunk(chunk, path, upto, partial(self._written, path, chunk.n))

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

    def read(self, logged: Logged | None, *, damaged: bool = False) -> Leftover | None:
        """Return what is left of the session, given what the log has of it; None if nothing was ever recorded.

        ``damaged`` says that parts of the log cannot be read which may have been about it. Raises OSError (UnsealError is one).
        """
        for temporary in self.path.glob("*.tmp"):
            temporary.unlink()
        if any(self.path.glob("wal-*")):
            raise UnsealError(f"{self.path} was recorded by an older version of the agent, which can still deliver it")
        # Each is opened: one that cannot be must be known before anything is delivered. There may be thousands, so none is kept.
        cuts = [self.chunk(name).cut for name in self.names()]
        if logged is None or logged.progress is None:
            return self._headless(cuts) if cuts or damaged else None
        progress, missing = beyond(logged, logged.progress, cuts)
        # A chunk may hold lines whose frames never reached the log; their numbers are taken all the same.
        next_seq = max([logged.next_seq, *(upto + 1 for upto in progress.upto.values())])
        return Leftover(progress, missing, len(cuts), next_seq, self._end(), logged.damaged)

    def _headless(self, cuts: list[Cut]) -> Leftover:
        """A session that the log does not know: what is in its chunks still counts."""
        last = cuts[-1] if cuts else None
        progress = Progress(sid=self.sid, n=last.n + 1 if last else 0, chain=last.chain if last else "")
        return Leftover(progress, [], len(cuts), 1, self._end(), damaged=True)

    def chunks(self, after: int, most: int) -> list[SpooledChunk]:
        """Return the first ``most`` chunks behind number ``after``, in order. Raises OSError (UnsealError is one)."""
        return [self.chunk(name) for name in [name for name in self.names() if int(name[:6]) > after][:most]]

    def names(self) -> list[str]:
        """Return the names of the files of all chunks, in order. Raises OSError."""
        with os.scandir(self.path) as entries:
            return sorted(entry.name for entry in entries if _CHUNK.fullmatch(entry.name))

    def chunk(self, name: str) -> SpooledChunk:
        """Open the chunk in the file ``name``, one of ``names``. Raises OSError (UnsealError is one)."""
        cut, path = cut_of(name), self.path / name
        time_ms = int(name.split(".")[1])
        body = self._open(path, cut.n)
        digest = hashlib.sha256(body).hexdigest()
        chunk = recording.Chunk(n=cut.n, kind=cut.kind, time_ms=time_ms, size=len(body), sha256=digest, chain=cut.chain)
        return SpooledChunk(chunk, path, cut.upto, partial(self._open, path, cut.n))

    def _written(self, path: Path, number: int) -> bytes:
        fresh = self._fresh
        if fresh is not None and fresh[0] == path:
            self._fresh = None
            return fresh[1]
        return self._open(path, number)

    def _open(self, path: Path, number: int) -> bytes:
        data = path.read_bytes()
        start = len(_CHUNK_MAGIC) + SALT_BYTES
        try:
            if data.startswith(_CHUNK_MAGIC) and len(data) > start:
                return self._cipher(data[len(_CHUNK_MAGIC) : start]).decrypt(_nonce(number), data[start:], path.name.encode())
        except InvalidTag:
            pass
        raise UnsealError(f"{path} is damaged, or was not sealed by this agent")

    def _cipher(self, salt: bytes) -> AESGCM:
        found = self._ciphers.get(salt)
        if found is None:
            found = self._ciphers[salt] = self._keys.chunks(salt, self.sid)
        return found

    def _end(self) -> End | None:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode((self.path / _END).read_bytes(), type=End)
        return None


def cut_of(name: str) -> Cut:
    """Return what the name of a chunk's file says about it."""
    match = _CHUNK.fullmatch(name)
    assert match is not None  # nothing else is in ``Folder.names``
    number, _, upto, chain, kind = match.groups()
    return Cut(n=int(number), kind=kind, upto=int(upto), chain=chain)


def beyond(logged: Logged, progress: Progress, cuts: list[Cut]) -> tuple[Progress, list[Frame]]:
    """Return how far the chunks go that the log or the folder (``cuts``) knows, and the lines that are in none of them yet."""
    for cut in [read_cut(frame) for frame in logged.frames if frame.type is Type.CUT] + cuts:
        progress = progress.after(cut)
    progress = msgspec.structs.replace(
        progress,
        operations=max([progress.operations, *(frame.operations for frame in logged.frames)]),
        denied=max([progress.denied, *(frame.denied for frame in logged.frames)]),
    )
    missing = [frame for frame in logged.frames if frame.type in LINES and frame.seq > progress.upto.get(frame.kind, 0)]
    return progress, missing


def folders(root: Path) -> list[Path]:
    """Return the folder of every session that is left in the spool ``root``, oldest first."""
    if not root.is_dir():
        return []
    return [path for path in sorted(root.iterdir()) if path.is_dir() and ids.is_id(ids.SESSION, path.name)]


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


def _nonce(number: int) -> bytes:
    return number.to_bytes(12)
