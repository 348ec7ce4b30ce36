"""The one thread that waits for the log's disk, and what it does there.

A segment is opened with O_DSYNC, so a write returns when it is on disk: one call, and one time that the thread gives up the
interpreter and takes it back. Its room is allocated first: a sync that need not record a new size takes less of the disk. One
that comes to a block for the first time has to record that it is in use, with a second write. Statements write a third of a block
each, so a small write that comes to new blocks brings zeros for those that follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final

import msgspec

from agent.runtime.spool import sync_directory

#: So many bytes of zeros go with a small write to new blocks, and a write of at most so many bytes is a small one.
AHEAD: Final = 256 * 1024
SMALL: Final = 64 * 1024


class Open(msgspec.Struct):
    """The segment that is written to. ``end`` is where the next write goes, ``used`` where blocks begin that are new."""

    path: Path
    descriptor: int
    size: int
    end: int
    used: int

    def append(self, data: bytes) -> tuple[int, bytes]:
        """Take ``data``, for which there is room. Returns where to write what: it may have zeros behind it."""
        at = self.end
        self.end = end = at + len(data)
        if end > self.used:
            zeros = min(AHEAD, self.size - end) if len(data) <= SMALL else 0
            self.used = end + zeros
            data += bytes(zeros)
        return at, data

    def reached(self, end: int) -> None:
        """Everything up to ``end`` was written."""
        self.end, self.used = end, max(end, self.used)


class Writer:
    """Does one piece of work at a time and then calls ``done`` on the loop, with its result or what it raised."""

    def __init__(self, done: Callable[[object, Exception | None], None]) -> None:
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="write-ahead log", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], object]) -> None:
        """Have ``work`` done in the thread."""
        self._work.put(work)

    def close(self) -> None:
        """Wait for what is under way."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            made, failed = None, None
            try:
                made = work()
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
                failed = error
            del work
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._done, made, failed)


def begin(path: Path, size: int, head: bytes, data: bytes | Callable[[], bytes]) -> Open:
    """Allocate a segment of ``size`` bytes and write the first of them, ``head`` and ``data``. All is on disk on return."""
    data = data if isinstance(data, bytes) else data()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DSYNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        write_at(descriptor, 0, head + data)
        os.fsync(descriptor)
        sync_directory(path.parent)
    except OSError:
        os.close(descriptor)
        raise
    end = len(head) + len(data)
    return Open(path, descriptor, size, end, end)


def write_at(descriptor: int, at: int, data: bytes) -> None:
    """Write every byte, to disk; a short write is not an end."""
    done = os.pwrite(descriptor, data, at)
    while done < len(data):
        done += os.pwrite(descriptor, memoryview(data)[done:], at + done)


def write_made(descriptor: int, at: int, make: Callable[[], bytes]) -> int:
    """Write all that ``make`` returns, to disk. Returns how many bytes that was."""
    data = make()
    write_at(descriptor, at, data)
    return len(data)


def keep(path: Path, where: Path) -> None:
    """Copy a file aside."""
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copy2(path, where / path.name)
