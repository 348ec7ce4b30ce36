"""What follows from how much room there is, and that it is measured without harm."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.runtime.room import Level, Limits, Measured, Room, level, measure, spooled_bytes
from agent.runtime.spool import Disk
from tests.patience import HANG_S

MB = 1_000_000


@pytest.mark.parametrize(
    ("free", "spooled", "floor", "quota", "expected"),
    [
        (500, 0, 500, 0, Level.ROOMY),
        (499, 0, 500, 0, Level.TIGHT),
        (250, 0, 500, 0, Level.TIGHT),
        (249, 0, 500, 0, Level.CRITICAL),
        (0, 10**9, 0, 0, Level.ROOMY),
        (9_999, 100, 500, 100, Level.ROOMY),
        (9_999, 101, 500, 100, Level.TIGHT),
        (9_999, 150, 500, 100, Level.TIGHT),
        (9_999, 151, 500, 100, Level.CRITICAL),
        (499, 151, 500, 100, Level.CRITICAL),
    ],
)
def test_levels(free: int, spooled: int, floor: int, quota: int, expected: Level) -> None:
    assert level(Measured(free=free * MB, spooled=spooled * MB), Limits(floor=floor * MB, quota=quota * MB)) is expected


class Sky:
    """A disk that has as much room as the test says."""

    def __init__(self) -> None:
        self.free = 1_000
        self.broken = False
        self.asked = 0
        self.again = asyncio.Event()

    def __call__(self, state: Path) -> int:
        self.asked += 1
        if self.broken:
            raise OSError("it does not answer")
        return self.free


async def test_every_change_is_told_once(tmp_path: Path) -> None:
    sky, heard, disk = Sky(), list[Level](), Disk(1)
    room = Room(tmp_path, disk, Limits(floor=500), on_change=heard.append, free=sky)
    await room.look()
    assert (heard, room.refusal) == ([], None)
    for free, expected in [(499, Level.TIGHT), (498, Level.TIGHT), (249, Level.CRITICAL), (400, Level.TIGHT), (500, Level.ROOMY)]:
        sky.free = free
        await room.look()
        assert room.level is expected
    assert heard == [Level.TIGHT, Level.CRITICAL, Level.TIGHT, Level.ROOMY]
    disk.close()


async def test_a_disk_that_does_not_answer_has_no_room(tmp_path: Path) -> None:
    sky, disk = Sky(), Disk(1)
    room = Room(tmp_path, disk, Limits(floor=500), free=sky)
    sky.broken = True
    await room.look()
    refusal = room.refusal
    assert refusal is not None
    assert (refusal.code, bool(refusal.hint), room.ending.code) == ("spool_full", True, "spool_full")
    disk.close()


async def test_the_spool_is_measured_again_and_again(tmp_path: Path) -> None:
    sky, disk = Sky(), Disk(1)
    told = asyncio.Queue[Level]()
    room = Room(tmp_path, disk, Limits(floor=0, quota=100), on_change=told.put_nowait, free=sky, every_s=0.001)
    watching = asyncio.ensure_future(room.watch())
    session = tmp_path / "spool" / "ses_1"
    session.mkdir(parents=True)
    (session / "wal").write_bytes(b"x" * 101)
    assert await asyncio.wait_for(told.get(), HANG_S) is Level.TIGHT
    (session / "chunk").write_bytes(b"x" * 50)
    assert await asyncio.wait_for(told.get(), HANG_S) is Level.CRITICAL
    (session / "wal").unlink()
    assert await asyncio.wait_for(told.get(), HANG_S) is Level.ROOMY
    watching.cancel()
    await asyncio.wait({watching})
    disk.close()


def test_only_the_spool_counts_and_nothing_is_followed(tmp_path: Path) -> None:
    assert spooled_bytes(tmp_path) == 0
    (tmp_path / "spool" / "ses_1" / "deeper").mkdir(parents=True)
    (tmp_path / "spool" / "ses_1" / "a").write_bytes(b"1234")
    (tmp_path / "spool" / "ses_1" / "deeper" / "b").write_bytes(b"123")
    (tmp_path / "spool" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "refused").write_bytes(b"not in the spool")
    links = (tmp_path / "spool" / "loop").lstat().st_size
    assert spooled_bytes(tmp_path) == 7 + links
    found = measure(tmp_path)
    assert found.spooled == 7 + links
    assert found.free > 0
