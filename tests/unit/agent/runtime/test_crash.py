"""kill -9, again and again: every line acknowledged as durable is found after recovery, once, in order, under one chain."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from agent.runtime.backoff import Backoff
from agent.runtime.journal import Journal
from agent.runtime.recorder import SpoolRecorder
from agent.runtime.spool import LOG, Disk, End, Folder
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.uploader import Uploader
from chalicelib.contracts import recording
from tests.patience import HANG_S
from tests.unit.agent.runtime.durable_writer import SECRET, flooded
from tests.unit.agent.runtime.folder_road import FolderRoad

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
SEED = recording.seed(SID, b"k" * 32)
KILLS = 4


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.servers) for seed in (2, 3, 4))])
async def test_no_acknowledged_line_is_lost(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    spool, store = tmp_path / "spool", tmp_path / "store"
    store.mkdir()
    acknowledged: dict[int, list[int]] = defaultdict(list)
    first = 0
    for _ in range(KILLS):
        said = await asyncio.to_thread(_run_and_kill, [str(spool), str(store), SID, SEED, str(first)], chance)
        for channel, number in said:
            acknowledged[channel].append(number)
            # Each channel may have written one line more without having acknowledged it; its number is not used again.
            first = max(first, number + 2)
        if chance.random() < 0.5:
            _tear(spool / LOG, chance)
    assert sum(map(len, acknowledged.values())) > KILLS * 10

    chunks = await _recover(spool, store)
    road = FolderRoad(store, SEED)
    assert road.chunks()[-1].chain == chunks  # the chain was checked link by link as chunks arrived
    for channel, numbers in acknowledged.items():
        found = [int(line.split()[0]) for line in road.lines(f"ch{channel:02d}.jsonl")]
        assert len(found) == len(set(found))
        assert set(numbers) <= set(found)
        assert [number for number in found if number in set(numbers)] == numbers
        for number in filter(flooded, numbers):
            assert found.index(-number) == found.index(number) - 1


async def test_a_write_that_fails_ends_everything_and_loses_nothing(tmp_path: Path) -> None:
    """The kernel's own limit on a file's size: to a writer it is a disk that is full (EFBIG for ENOSPC)."""
    spool, store = tmp_path / "spool", tmp_path / "store"
    store.mkdir()
    limited = ["sh", "-c", 'ulimit -f 600; exec "$@"', "sh", *_writer([str(spool), str(store), SID, SEED, "0", "1000000"])]
    run = await asyncio.to_thread(subprocess.run, limited, capture_output=True, timeout=HANG_S)
    assert run.returncode == 3, run.stderr
    assert b"recording_failed" in run.stderr
    said = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
    assert len(said) > 10
    await _recover(spool, store)
    road = FolderRoad(store, SEED)
    for channel, number in said:
        found = [int(line.split()[0]) for line in road.lines(f"ch{channel:02d}.jsonl")]
        assert found.count(number) == 1


def _writer(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "tests.unit.agent.runtime.durable_writer", *arguments]


def _run_and_kill(arguments: list[str], chance: random.Random) -> list[tuple[int, int]]:
    """Run the writer until it has acknowledged some lines, kill it, and return everything that it acknowledged."""
    process = subprocess.Popen(_writer(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    lines = []
    try:
        for _ in range(chance.randrange(20, 1200)):
            line = process.stdout.readline()
            if not line:
                break
            lines.append(line)
    finally:
        process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    problem = process.stderr.read()
    assert process.wait() == -9, problem.decode()
    process.stdout.close()
    process.stderr.close()
    said = [line.split() for line in lines if line.endswith(b"\n")]
    return [(int(channel), int(number)) for channel, number in said]


def _tear(folder: Path, chance: random.Random) -> None:
    """What a crashed machine may leave behind the last synced byte of a log: part of a frame."""
    newest = max(folder.glob("wal-*"))
    with newest.open("r+b") as file:
        file.seek(len(file.read().rstrip(b"\0")))
        file.write(b"SWF2" + chance.randbytes(chance.randrange(0, 20)))


async def _recover(spool: Path, store: Path) -> str:
    """Deliver what is left, and return the head of the chain."""
    keys, disk = SpoolKeys(SECRET), Disk()
    folder, journal = Folder(spool / SID, keys), Journal(spool, keys, disk)
    await journal.open(spool.parent / "damaged")
    leftover = folder.read(journal.left(SID))
    assert leftover is not None
    assert not leftover.damaged
    refused: list[Exception] = []
    uploader = Uploader(
        FolderRoad(store, SEED),
        disk,
        folder,
        counters=lambda: (0, 0),
        on_refusal=refused.append,
        backoff=lambda: Backoff(0.001, 0.01),
    )
    recorder = SpoolRecorder(
        folder, disk, journal, uploader, progress=leftover.progress, now_ms=lambda: 1_700_000_000_000, on_failure=refused.append
    )
    await recorder.open(leftover)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run())
        await recorder.close(End("ended"))
    await journal.close()
    disk.close()
    assert refused == []
    assert recorder.complete
    return recorder.progress.chain
