"""Output that floods: gathered and packed before it goes into the log, in order, and as it is in its chunk."""

from __future__ import annotations

import base64
import errno
import os
from pathlib import Path

import pytest

from agent.runtime.packing import GATHERED, LEAST, Packed, text
from agent.runtime.recorder import LINE_LIMIT
from tests.unit.agent.runtime.conftest import until
from tests.unit.agent.runtime.recorder_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_what_floods_is_one_frame_of_the_log_and_as_it_is_in_its_chunk(bench: Bench) -> None:
    flood = [b"%d " % number + b"x" * LEAST + b"\n" for number in range(8)]
    async with bench.recording() as recorder:
        for lines in flood:
            recorder.write_soon(1, "cast", lines)
        await recorder.write(1, "cast", b"end\n", durable=True)
        first, last = bench.logged().frames
        assert isinstance(first.payload, Packed)
        assert (first.payload.text(), last.payload) == (b"".join(flood), b"end\n")
    assert bench.road.lines("ch01.cast") == b"".join([*flood, b"end\n"]).decode().splitlines()
    stored = (bench.road.root / "0.zst").read_bytes()
    assert stored.startswith(first.payload.body())


async def test_a_chunk_is_cut_by_what_is_left_of_its_text(bench: Bench) -> None:
    # Each is on disk, and so packed, before the next: 24 MiB of text that packs to nothing, and 8 that do not pack at all.
    words, noise = (b"w" * 1023 + b"\n") * 1024, base64.b85encode(os.urandom(800 * 1024)) + b"\n"
    async with bench.recording() as recorder:
        for channel, lines, count in ((1, words, 24), (2, noise, 8)):
            for _ in range(count):
                recorder.write_soon(channel, "cast", lines)
                await recorder.write(3, "cast", b"there\n", durable=True)
    assert bench.road.lines("ch01.cast") == words.decode().splitlines() * 24
    assert bench.road.lines("ch02.cast") == noise.decode().splitlines() * 8
    kinds = [chunk.kind for chunk in bench.road.chunks()]
    assert [kinds.count(f"ch0{channel}.cast") for channel in (1, 2)] == [3, 3]
    assert not bench.faults


async def test_a_little_each_time_but_often_is_one_frame_too(bench: Bench) -> None:
    # The clock of these tests stands still: everything is written within one millisecond.
    lines = [b"%d\n" % number for number in range(100)]
    async with bench.recording() as recorder:
        for line in lines:
            recorder.write_soon(1, "cast", line)
        await recorder.write(1, "cast", b"end\n", durable=True)
        found = [frame.payload for frame in bench.logged().frames]
    assert found == [lines[0], b"".join(lines[1:]), b"end\n"]


async def test_whatever_comes_behind_a_flood_stands_behind_it(bench: Bench) -> None:
    big, bigger = b"x" * LEAST + b"\n", b"y" * (GATHERED - 1) + b"\n"
    async with bench.recording() as recorder:
        recorder.write_soon(1, "cast", big)
        recorder.write_soon(1, "cast", b"small\n")
        recorder.write_soon(2, "cast", big)
        recorder.write_soon(2, "jsonl", b"{}\n")
        recorder.write_soon(2, "jsonl", bigger)
        recorder.write_soon(2, "jsonl", b"[]\n")
        recorder.write_soon(1, "cast", b"z" * (LINE_LIMIT - 1) + b"\n" + big)
        await recorder.write(1, "cast", b"end\n", durable=True)
        found = [(frame.seq, frame.kind, text(frame.payload)) for frame in bench.logged().frames]
    assert found == [
        (1, "ch01.cast", big + b"small\n"),
        (2, "ch02.cast", big),
        (3, "ch02.jsonl", b"{}\n"),
        (4, "ch02.jsonl", bigger),
        (5, "ch02.jsonl", b"[]\n"),
        (6, "ch01.cast", b"z" * (LINE_LIMIT - 1) + b"\n"),
        (7, "ch01.cast", big),
        (8, "ch01.cast", b"end\n"),
    ]
    assert not bench.faults


async def test_what_was_gathered_is_written_without_anything_behind_it(bench: Bench) -> None:
    async with bench.recording() as recorder:
        recorder.write_soon(1, "cast", b"x" * LEAST + b"\n")
        await until(lambda: recorder._log.durable == 1)


async def test_a_flood_that_is_in_no_chunk_is_recovered_from_the_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    flood = b"x" * LEAST + b"\n"
    async with bench.recording() as recorder:
        recorder.write_soon(1, "cast", flood)
        await recorder.write(1, "cast", b"behind\n", durable=True)
        monkeypatch.setattr("agent.runtime.spool.write_whole", full)
    assert bench.road.chunks() == []
    monkeypatch.undo()
    async with bench.recording():
        pass
    assert bench.road.lines("ch01.cast") == [flood.decode().strip(), "behind"]


async def test_a_flood_that_the_log_cannot_take_is_a_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    async with bench.recording() as recorder:
        await recorder.write(1, "cast", b"kept\n", durable=True)
        monkeypatch.setattr("agent.runtime.writer.os.pwrite", full)
        recorder.write_soon(1, "cast", b"x" * LEAST + b"\n")
        await until(lambda: bench.faults)
        monkeypatch.undo()
        recorder.write_soon(1, "cast", b"x" * LEAST + b"\n")
        await until(lambda: len(bench.faults) > 1)
    assert {fault.code for fault in bench.faults} == {"recording_failed"}
