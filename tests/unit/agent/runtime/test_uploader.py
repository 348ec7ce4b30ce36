"""Chunks on their way out: in order, thousands of them in no more memory than a few, and none removed before its time."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from agent.runtime.backoff import Backoff
from agent.runtime.spool import Disk, Folder, SpooledChunk, UnsealError
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.uploader import AHEAD, Uploader
from agent.runtime.wal import Progress
from chalicelib.contracts import recording
from chalicelib.contracts.api import ChunkTicket, ChunkUpload
from chalicelib.contracts.faults import Fault
from tests.fakes.chunks import text_of
from tests.unit.agent.runtime.conftest import until

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
SEED = recording.seed(SID, b"k" * 32)
MANY = 3_000


class Road:
    """A control plane that takes chunks in order while it is open, and a store that keeps their bytes."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.tries = 0
        self.stored: list[bytes] = []
        self.head = SEED

    async def register_chunk(self, sid: str, upload: ChunkUpload) -> ChunkTicket:
        self.tries += 1
        if not self.open.is_set():
            raise Fault("control_plane_unreachable", "The control plane cannot be reached.")
        chunk = upload.chunk
        assert chunk.n == len(self.stored)
        assert chunk.chain == recording.link(self.head, chunk.n, chunk.time_ms, chunk.sha256)
        self.head = chunk.chain
        return ChunkTicket(url=str(chunk.n), headers={}, expires_ms=0)

    async def put(self, ticket: ChunkTicket, body: bytes) -> None:
        self.stored.append(body)


class Waiting(Backoff):
    """Waits until the road is open."""

    def __init__(self, road: Road) -> None:
        super().__init__()
        self._road = road

    async def wait(self) -> None:
        await self._road.open.wait()


class Yard:
    """A session's folder and what uploads it."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = Folder(tmp_path / "spool" / SID, SpoolKeys(b"s" * 32))
        self.folder.create()
        self.disk = Disk(2)
        self.road = Road()
        self.progress = Progress(sid=SID, chain=SEED)
        self.told: list[Fault] = []
        self.committed: list[int] = []
        self.uploader = self.another()

    def another(self) -> Uploader:
        return Uploader(
            self.road,
            self.disk,
            self.folder,
            counters=lambda: (0, 0),
            on_refusal=self.told.append,
            backoff=lambda: Waiting(self.road),
        )

    def chunk(self) -> SpooledChunk:
        n = self.progress.n
        made = self.folder.write_chunk(self.progress, "ch01.cast", 1_700_000_000_000 + n, n + 1, [b"%d\n" % n])
        self.progress = self.progress.after(made.cut)
        return made

    def add(self, count: int) -> None:
        for _ in range(count):
            made = self.chunk()
            self.uploader.add(made, made.chunk.n + 100)

    async def commit(self, seq: int) -> None:
        self.committed.append(seq)

    async def run(self) -> None:
        async with asyncio.timeout(120):
            await self.uploader.run(self.commit)

    def files(self) -> list[int]:
        return sorted(int(path.name[:6]) for path in self.folder.path.glob("*.sealed"))


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    # What is on disk when is not asked here, and thousands of syncs take a minute.
    monkeypatch.setattr("agent.runtime.spool.write_whole", lambda path, data: path.write_bytes(data))
    return Yard(tmp_path)


def held() -> int:
    """How many chunks are in memory."""
    gc.collect()
    return sum(type(each) is SpooledChunk for each in gc.get_objects())


async def test_thousands_of_chunks_in_an_outage_wait_on_disk_and_not_in_memory(yard: Yard) -> None:
    running = asyncio.ensure_future(yard.run())
    before = held()
    yard.add(MANY // 2)
    await until(lambda: yard.road.tries)
    yard.add(MANY // 2)
    assert held() - before <= AHEAD + 1
    assert len(yard.files()) == MANY
    yard.road.open.set()
    await until(lambda: len(yard.road.stored) > AHEAD)
    yard.add(7)
    yard.uploader.finish()
    await running
    assert len(yard.road.stored) == MANY + 7
    assert yard.road.head == yard.progress.chain
    assert yard.files() == []
    assert yard.committed == sorted(yard.committed)
    assert (yard.committed[0], yard.committed[-1]) == (100, MANY + 106)
    assert yard.told == []


async def test_the_newest_chunk_is_in_memory_until_it_is_asked_for_once(yard: Yard) -> None:
    first, second = yard.chunk(), yard.chunk()
    for made in (first, second):
        made.path.write_bytes(b"spoiled")
    with pytest.raises(UnsealError):
        first.body()
    assert text_of(second.body()) == b"1\n"
    with pytest.raises(UnsealError):
        second.body()


async def test_thousands_that_an_earlier_process_left(yard: Yard) -> None:
    before = held()
    for _ in range(MANY):
        yard.chunk()
    yard.uploader.resume(yard.progress.n - 1)
    yard.add(3)
    assert held() == before
    yard.road.open.set()
    yard.uploader.finish()
    await yard.run()
    assert len(yard.road.stored) == MANY + 3
    assert yard.files() == []
    # Of those that were left the log knew when this process began.
    assert yard.committed[-1] == MANY + 102


async def test_of_what_was_left_some_is_stored_already(yard: Yard) -> None:
    yard.add(3)
    yard.road.open.set()
    yard.uploader.finish()
    await yard.run()
    yard.uploader = yard.another()
    yard.uploader.resume(yard.progress.n - 1)
    yard.uploader.finish()
    await yard.run()
    assert (len(yard.road.stored), yard.told, yard.uploader.unread) == (3, [], None)


async def test_a_chunk_of_which_the_log_does_not_know_yet_is_left_to_it(yard: Yard) -> None:
    """It is found in the folder between its last sync and its frame."""
    yard.add(AHEAD + 1)
    unsaid = yard.chunk()
    yard.road.open.set()
    running = asyncio.ensure_future(yard.run())
    await until(lambda: len(yard.road.stored) == AHEAD + 1)
    yard.uploader.add(unsaid, 5_000)
    yard.uploader.finish()
    await running
    assert yard.committed[-2:] == [AHEAD + 100, 5_000]


async def test_without_a_log_files_stay(yard: Yard) -> None:
    yard.uploader.add(yard.chunk(), 1)
    yard.uploader.add(yard.chunk(), -1)
    yard.road.open.set()
    yard.uploader.finish()
    await yard.run()
    assert (len(yard.road.stored), yard.files(), yard.committed) == (2, [1], [1])


@pytest.mark.parametrize("way", ["spoiled", "gone", "all gone"])
async def test_what_cannot_be_read_stays_and_is_said(yard: Yard, way: str) -> None:
    yard.add(AHEAD + 2)
    paths = sorted(yard.folder.path.glob("*.sealed"))
    match way:
        case "spoiled":
            paths[AHEAD].write_bytes(paths[AHEAD].read_bytes()[:-1])
        case "gone":
            paths[1].unlink()
        case _:
            for path in paths[AHEAD:]:
                path.unlink()
    left = yard.files()
    yard.road.open.set()
    await yard.run()
    assert [fault.code for fault in yard.told] == ["recording_failed"]
    assert yard.uploader.unread is not None
    assert yard.uploader.refusal is None
    stored = 1 if way == "gone" else AHEAD
    assert len(yard.road.stored) == stored
    assert yard.files() == [number for number in left if number >= stored]
