"""The bytes of chunks, compared with their manifest, as fast as the disk and the processor allow.

SHA-256 and reading both let go of Python's lock, so threads are enough to use every core. They are handed batches, because a task
costs about as much as hashing a few kilobytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple

from chalicelib.contracts.faults import Fault
from cli.verification.sources import Source

MISSING: Final = "is missing"
_BATCH: Final = 16
#: Batches that may wait for their turn, per worker.
_AHEAD: Final = 4


class Task(NamedTuple):
    """One chunk to be read and hashed."""

    sid: str
    key: str
    size: int
    sha256: str
    version: str = ""
    """The VersionId that the manifest names, if it does."""


class Problem(NamedTuple):
    """A chunk that is not what it should be. ``what`` completes "this chunk …"."""

    task: Task
    what: str


def check(source: Source, tasks: Iterable[Task], done: Callable[[int], None]) -> Iterator[Problem]:
    """Yield every chunk whose bytes are missing or others, in the order of ``tasks``; ``done`` is told the bytes as they pass."""
    waiting = iter(tasks)
    running: list[Future[list[Problem]]] = []
    with ThreadPoolExecutor(source.workers, thread_name_prefix="hash") as pool:

        def work(batch: list[Task]) -> list[Problem]:
            return [problem for task in batch if (problem := _one(source, task)) is not None]

        sizes: list[int] = []
        while True:
            while len(running) < source.workers * _AHEAD and (batch := list(islice(waiting, _BATCH))):
                running.append(pool.submit(work, batch))
                sizes.append(sum(task.size for task in batch))
            if not running:
                return
            yield from running.pop(0).result()
            done(sizes.pop(0))


def _one(source: Source, task: Task) -> Problem | None:
    try:
        body = source.read(task.key)
    except Fault as fault:
        if fault.code != "too_large":
            raise
        return Problem(task, "is far larger than it was")
    if body is None:
        return Problem(task, MISSING)
    if len(body) != task.size:
        return Problem(task, f"has {len(body)} bytes; {task.size} were recorded")
    if hashlib.sha256(body).hexdigest() != task.sha256:
        return Problem(task, "has other bytes than were recorded")
    return None
