"""Run as a process that is going to be killed: writes durable lines as fast as it can, and says each once it is acknowledged.

Before some of them it writes long ones that nobody waits for (:func:`flooded`), which are on disk no later than those.

python -m tests.unit.agent.runtime.durable_writer SPOOL STORE SID SEED FIRST [BYTES]

BYTES is the size of the log's segments behind the first.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from agent.runtime.journal import Journal
from agent.runtime.recorder import SpoolRecorder
from agent.runtime.spool import Disk, Folder
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.uploader import Uploader
from agent.runtime.wal import Progress
from chalicelib.contracts.faults import Fault
from tests.unit.agent.runtime.folder_road import FolderRoad

SECRET = b"s" * 32
SEGMENT_BYTES = 256 * 1024
#: What follows a durable line, and is not acknowledged, has its number and this.
ANSWER = 1_000_000_000


async def main(spool: Path, store: Path, sid: str, seed: str, first: int, next_bytes: int = SEGMENT_BYTES) -> None:
    keys, disk = SpoolKeys(SECRET), Disk()
    folder, journal = Folder(spool / sid, keys), Journal(spool, keys, disk, segment_bytes=SEGMENT_BYTES)
    await journal.open(spool.parent / "damaged")
    leftover = folder.read(journal.left(sid)) if folder.path.exists() else None
    if not folder.path.exists():
        folder.create()
    progress = leftover.progress if leftover else Progress(sid=sid, chain=seed)
    uploader = Uploader(FolderRoad(store, seed), disk, folder, counters=lambda: (0, 0), on_refusal=_die)
    recorder = SpoolRecorder(
        folder, disk, journal, uploader, progress=progress, now_ms=lambda: 1_700_000_000_000, on_failure=_die, chunk_seconds=0.02
    )
    await recorder.open(leftover)
    journal._segment_bytes = next_bytes
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run())
        for writer in range(4):
            tasks.create_task(_write(recorder, writer, first))


async def _write(recorder: SpoolRecorder, writer: int, first: int) -> None:
    number = first
    while True:
        if flooded(number):
            recorder.write_soon(writer + 1, "jsonl", b"%d %s\n" % (-number, b"y" * 6000))
        line = b"%d %s\n" % (number, b"x" * (number * 37 % 3000))
        if number % 2:
            await recorder.write(writer + 1, "jsonl", line, durable=True)
        else:
            reached: asyncio.Future[Fault | None] = asyncio.get_running_loop().create_future()
            recorder.write_then(writer + 1, "jsonl", line, reached.set_result)
            if (fault := await reached) is not None:
                _die(fault)
            recorder.write_soon(writer + 1, "jsonl", b"%d\n" % (number + ANSWER))
        # Unbuffered: what the parent reads was acknowledged, and nothing acknowledged is lost with the process.
        os.write(1, b"%d %d\n" % (writer + 1, number))
        number += 1


def flooded(number: int) -> bool:
    """Tell whether a long line, named by the negative number, stands before line ``number``."""
    return number > 0 and number % 7 == 0


def _die(fault: Exception) -> None:
    os.write(2, f"{fault!r}\n".encode())
    os._exit(3)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], *map(int, sys.argv[5:])))
