"""A recorder with everything around it: log, disk, uploader and a store that is a folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from agent.runtime.backoff import Backoff
from agent.runtime.journal import Journal
from agent.runtime.leftovers import Logged, read_log
from agent.runtime.recorder import SpoolRecorder
from agent.runtime.spool import LOG, Disk, End, Folder
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.uploader import Uploader
from agent.runtime.wal import Progress
from chalicelib.contracts import recording
from chalicelib.contracts.faults import Fault
from tests.unit.agent.runtime.folder_road import FolderRoad

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
SEED = recording.seed(SID, b"k" * 32)
END = End("ended")


class Bench:
    """A recorder with everything around it."""

    def __init__(self, tmp_path: Path, *, chunk_seconds: float = 3600.0) -> None:
        store = tmp_path / "store"
        store.mkdir(exist_ok=True)
        self.disk = Disk(2)
        self.road = FolderRoad(store, SEED)
        self.spool = tmp_path / "spool"
        self.keys = SpoolKeys(b"s" * 32)
        self.folder = Folder(self.spool / SID, self.keys)
        self.journal = Journal(self.spool, self.keys, self.disk)
        self.faults: list[Fault] = []
        self.chunk_seconds = chunk_seconds

    async def recorder(self) -> SpoolRecorder:
        """A recorder of a new session, or of what is left of it."""
        leftover = None
        self.journal = Journal(self.spool, SpoolKeys(b"s" * 32), self.disk, segment_bytes=256 * 1024)
        await self.journal.open(self.spool.parent / "damaged")
        if self.folder.path.exists():
            self.folder = Folder(self.folder.path, self.journal.keys)
            leftover = self.folder.read(self.journal.left(SID))
            assert leftover is not None
        else:
            self.folder.create()
        progress = leftover.progress if leftover else Progress(sid=SID, chain=SEED)
        self.uploader = Uploader(
            self.road,
            self.disk,
            self.folder,
            counters=lambda: (0, 0),
            on_refusal=self.faults.append,
            backoff=lambda: Backoff(0.001, 0.001),
        )
        made = SpoolRecorder(
            self.folder,
            self.disk,
            self.journal,
            self.uploader,
            progress=progress,
            now_ms=lambda: 1_700_000_000_000,
            on_failure=self.faults.append,
            chunk_seconds=self.chunk_seconds,
        )
        await made.open(leftover)
        return made

    @contextlib.asynccontextmanager
    async def recording(self) -> AsyncIterator[SpoolRecorder]:
        recorder = await self.recorder()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run())
            yield recorder
            await recorder.close(END)
        await self.journal.close()

    def logged(self) -> Logged:
        """What the log holds now."""
        return read_log(self.spool / LOG, self.keys).sessions[SID]

    def segments(self) -> list[Path]:
        return sorted((self.spool / LOG).glob("wal-*"))

    def files(self) -> list[str]:
        return sorted(path.name.split(".")[0] for path in self.folder.path.iterdir())
