"""The agent's spool: what a statement pays to be on disk before it runs, alone and in groups, and how long a full one takes back.

The real journal, recorder and uploader, on the disk of the temporary folder (``TMPDIR``); the control plane takes all at once.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from agent.runtime import writer
from agent.runtime.journal import Journal
from agent.runtime.recorder import SpoolRecorder
from agent.runtime.spool import Disk, End, Folder
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.uploader import Uploader
from agent.runtime.wal import Progress, Type
from bench.measure import Table
from chalicelib.contracts import ids, recording
from chalicelib.contracts.api import ChunkTicket, ChunkUpload
from chalicelib.contracts.faults import Fault

if TYPE_CHECKING:
    from typing_extensions import Buffer

GROUPS = (1, 8, 64)
STATEMENTS = 2_000
#: A statement's line in the log: its text, its effects and the verdict about it.
LINE_BYTES = 550
SPOOL_BYTES = 100 * 1000 * 1000
SESSIONS = 8
SECRET = bytes(32)


def run(rounds: int) -> list[Table]:
    """Measure both."""
    tables = _Tables()
    for _ in range(rounds):
        for group in GROUPS:
            bare = _bare(group)
            tables.waits.add(f"{group} together: one bare write", bare)
            uvloop.run(_statements(group, tables))
    for _ in range(rounds):
        for kind in ("chunks", "lines"):
            uvloop.run(_recovery(kind, tables.recovery))
    tables.note()
    return [tables.waits, tables.cost, tables.recovery]


class _Tables:
    def __init__(self) -> None:
        self.waits = Table("a statement until it is on disk (write-ahead log)", "µs", "less")
        self.cost = Table("the same, shared out among those that waited together", "µs per statement", "less")
        self.recovery = Table(f"recovery of a spool of {SPOOL_BYTES // 1_000_000} MB, {SESSIONS} sessions", "ms", "less")
        self.shared: dict[int, list[float]] = {}

    def note(self) -> None:
        """Say how many statements shared a sync."""
        for group, shared in self.shared.items():
            self.waits.notes.append(f"{group} together: {sum(shared) / len(shared):.1f} statements per write that is synced")


def _bare(group: int) -> Sequence[float]:
    """What the disk alone takes for a batch: one write over blocks that are in use, synced by the write itself."""
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as folder:
        data = os.urandom(LINE_BYTES * group)
        open_now = writer.begin(Path(folder) / "bare", 4 * 1024 * 1024, b"", data)
        writer.write_at(open_now.descriptor, 0, bytes(open_now.size))
        found = []
        try:
            for _ in range(100):
                began = time.perf_counter()
                writer.write_at(open_now.descriptor, open_now.end, data)
                found.append((time.perf_counter() - began) * 1e6)
                open_now.end += len(data)
                if open_now.end + len(data) > open_now.size:
                    open_now.end = 0
        finally:
            os.close(open_now.descriptor)
    return found


async def _statements(group: int, tables: _Tables) -> None:
    """``group`` sessions, each with one statement at a time."""
    waits: list[float] = []
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as name:
        disk = Disk()
        journal = Journal(Path(name), SpoolKeys(SECRET), disk)
        await journal.open(Path(name) / "damaged")
        line = os.urandom(LINE_BYTES // 2).hex().encode() + b"\n"

        async def session(number: int) -> None:
            sid = f"ses_{number}"
            log = await journal.begin(sid, lambda: Progress(sid=sid, chain=""), on_failure=_failed)
            for at in range(STATEMENTS // group):
                began = time.perf_counter()
                await log.commit(log.append(Type.JSONL, 1, at, at, 0, line))
                waits.append((time.perf_counter() - began) * 1e6)
            await log.forget()

        syncs = _Counted()
        with syncs:
            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(session(number) for number in range(group)))
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
        await journal.close()
        disk.close()
    tables.waits.add(f"{group} together: in the log", waits)
    tables.cost.add(f"{group} together: time", [took * 1e6 / len(waits)])
    tables.cost.add(f"{group} together: CPU, loop and writer", [cpu * 1e6 / len(waits)])
    tables.shared.setdefault(group, []).append(len(waits) / syncs.writes)


class _Counted:
    """Counts the writer's writes."""

    def __init__(self) -> None:
        self.writes = 0

    def __enter__(self) -> None:
        self._pwrite = pwrite = os.pwrite

        def counted(descriptor: int, data: Buffer, at: int, /) -> int:
            self.writes += 1
            return pwrite(descriptor, data, at)

        os.pwrite = counted

    def __exit__(self, *_: object) -> None:
        os.pwrite = self._pwrite


# --- recovery


async def _recovery(kind: str, table: Table) -> None:
    """Fill a spool as a process would that is killed in an outage, and have another read, cut and deliver it."""
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as name:
        spool = Path(name)
        sids = [ids.mint(ids.SESSION, 1 + number, bytes(10)) for number in range(SESSIONS)]
        await (_left_in_chunks if kind == "chunks" else _left_in_log)(spool, sids)
        total = _bytes(spool)
        disk, began, cpu = Disk(), time.perf_counter(), time.process_time()
        journal = Journal(spool, SpoolKeys(SECRET), disk)
        await journal.open(spool / "damaged")
        read = time.perf_counter()
        await asyncio.gather(*(_deliver(journal, disk, spool, sid) for sid in sids))
        done, cpu = time.perf_counter(), time.process_time() - cpu
        await journal.close()
        disk.close()
    table.add(f"in {kind}: the log is read", [(read - began) * 1000])
    table.add(f"in {kind}: everything is delivered", [(done - began) * 1000])
    table.add(f"in {kind}: its CPU", [cpu * 1000])
    said = f"in {kind}: {total / 1e6:.0f} MB on disk"
    if said not in table.notes:
        table.notes.append(said)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def _left_in_chunks(spool: Path, sids: list[str]) -> None:
    """Hours of an outage: everything is in chunks that do not compress."""
    keys = SpoolKeys(SECRET)
    for sid in sids:
        folder, progress = Folder(spool / sid, keys), Progress(sid=sid, chain=recording.seed(sid, bytes(32)))
        folder.create()
        while progress.n * recording.CHUNK_BYTES < SPOOL_BYTES // SESSIONS:
            made = folder.write_chunk(progress, "ch01.cast", progress.n + 1, progress.n + 1, [os.urandom(recording.CHUNK_BYTES)])
            progress = progress.after(made.cut)


async def _left_in_log(spool: Path, sids: list[str]) -> None:
    """The worst that a crash leaves: nothing was cut yet."""
    disk = Disk()
    journal = Journal(spool, SpoolKeys(SECRET), disk)
    await journal.open(spool / "damaged")
    lines = b"".join(os.urandom(LINE_BYTES // 2).hex().encode() + b"\n" for _ in range(32))
    for sid in sids:
        Folder(spool / sid, journal.keys).create()
        progress = Progress(sid=sid, chain=recording.seed(sid, bytes(32)))
        log = await journal.begin(sid, lambda known=progress: known, on_failure=_failed)  # type: ignore[misc]
        for at in range(SPOOL_BYTES // SESSIONS // len(lines)):
            seq = log.append(Type.CAST, 1, at, at, 0, lines)
            if at % 32 == 0:
                await log.commit(seq)
        await log.commit(seq)
    await journal.close()
    disk.close()


class _Taking:
    """A control plane and a store that take everything at once."""

    async def register_chunk(self, sid: str, upload: ChunkUpload) -> ChunkTicket:
        return ChunkTicket(url="", headers={}, expires_ms=0)

    async def put(self, ticket: ChunkTicket, body: bytes) -> None:
        pass


async def _deliver(journal: Journal, disk: Disk, spool: Path, sid: str) -> None:
    folder = Folder(spool / sid, journal.keys)
    leftover = await disk.run(folder.read, journal.left(sid))
    if leftover is None:
        raise RuntimeError("the spool of the benchmark is empty")
    uploader = Uploader(_Taking(), disk, folder, counters=lambda: (0, 0), on_refusal=_failed)
    recorder = SpoolRecorder(folder, disk, journal, uploader, progress=leftover.progress, now_ms=lambda: 1, on_failure=_failed)
    await recorder.open(leftover)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run())
        await recorder.close(End("ended"))
    await disk.run(folder.remove)
    await recorder.forget()


def _failed(fault: Fault) -> None:
    raise RuntimeError(f"{fault.message} {fault.detail}")
