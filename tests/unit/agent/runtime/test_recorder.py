"""The recording on disk and on its way out: chunks, chain, pressure, and what happens when the disk or the store says no."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.runtime.leftovers import read_log
from agent.runtime.packing import LEAST, text
from agent.runtime.recorder import HARD_BYTES, HIGH_BYTES, LINE_LIMIT, SpoolRecorder
from agent.runtime.sealing import Sealer
from agent.runtime.spool import LOG
from agent.runtime.wal import Progress, Type
from agent.runtime.writer import write_at
from chalicelib.contracts import originals, recording
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import SealingKey
from chalicelib.contracts.recording import CHUNK_BYTES
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import until
from tests.unit.agent.runtime.recorder_bench import SID, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_what_is_written_is_stored_in_order_and_nothing_is_left_behind(bench: Bench) -> None:
    async with bench.recording() as recorder:
        await recorder.write(1, "cast", b"one\n", durable=True)
        recorder.write_soon(1, "cast", b"two\n")
        await recorder.write(2, "jsonl", b"{}\n")
    assert bench.road.lines("ch01.cast") == ["one", "two"]
    assert bench.road.lines("ch02.jsonl") == ["{}"]
    assert [chunk.n for chunk in bench.road.chunks()] == [0, 1]
    assert bench.road.chunks()[-1].chain == recorder.progress.chain
    assert recorder.complete
    assert not list(bench.folder.path.glob("*.sealed"))
    assert bench.faults == []


async def test_a_durable_line_is_in_the_log_before_the_caller_goes_on(bench: Bench) -> None:
    async with bench.recording() as recorder:
        await recorder.write(1, "cast", b"before\n", durable=True)
        assert [frame.payload for frame in bench.logged().frames] == [b"before\n"]


async def test_many_durable_writes_share_a_sync(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0

    def count(*arguments: Any) -> None:
        nonlocal syncs
        syncs += 1
        write_at(*arguments)

    monkeypatch.setattr("agent.runtime.journal.write_at", count)
    async with bench.recording() as recorder:
        await asyncio.gather(*(recorder.write(1, "cast", b"%d\n" % each, durable=True) for each in range(200)))
    assert 1 <= syncs < 50


async def durably(recorder: SpoolRecorder, lines: bytes, *, channel: int = 1) -> None:
    """Write as a statement does."""
    reached: asyncio.Future[Fault | None] = asyncio.get_running_loop().create_future()
    recorder.write_then(channel, "jsonl", lines, reached.set_result)
    assert await reached is None


async def test_what_follows_a_durable_line_goes_with_the_next_one(bench: Bench) -> None:
    async with bench.recording() as recorder:
        for number in range(3):
            await durably(recorder, b"ask %d\n" % number)
            recorder.write_soon(1, "jsonl", b"answer %d\n" % number)
        lines = [frame.payload for frame in bench.logged().frames]
        # Where ten milliseconds went by in between, it did not wait for longer.
        assert b"".join(map(text, lines)).startswith(b"ask 0\nanswer 0\nask 1\nanswer 1\nask 2\n")
    assert bench.road.lines("ch01.jsonl") == [f"{what} {number}" for number in range(3) for what in ("ask", "answer")]


async def test_a_durable_line_and_what_went_before_it_are_one_frame(bench: Bench) -> None:
    async with bench.recording() as recorder:
        await durably(recorder, b"ask 0\n")
        recorder.write_soon(1, "jsonl", b"answer 0\n")
        recorder.write_then(1, "jsonl", b"ask 1\n", lambda fault: None)
        await durably(recorder, b"ask 2\n")
        assert [frame.payload for frame in bench.logged().frames] == [b"ask 0\n", b"answer 0\nask 1\n", b"ask 2\n"]


async def test_what_came_since_the_timer_was_set_may_still_be_taken_along(bench: Bench) -> None:
    async with bench.recording() as recorder:
        await durably(recorder, b"ask 0\n")
        for number in range(2):
            recorder.write_soon(1, "jsonl", b"answer %d\n" % number)
            recorder.write_then(1, "jsonl", b"ask %d\n" % (number + 1), lambda fault: None)
        recorder.write_soon(1, "jsonl", b"answer 2\n")
        recorder._ridden()
        await durably(recorder, b"ask 3\n")
        frames = [frame.payload for frame in bench.logged().frames]
    assert frames == [b"ask 0\n", *(b"answer %d\nask %d\n" % (number, number + 1) for number in range(3))]


async def test_what_follows_on_another_channel_goes_with_that_ones_next_line(bench: Bench) -> None:
    async with bench.recording() as recorder:
        await durably(recorder, b"ask\n")
        recorder.write_soon(2, "jsonl", b"answer\n")
        recorder.write_then(2, "jsonl", b"first\n", lambda fault: None)
        await durably(recorder, b"last\n")
        frames = [(frame.channel, frame.payload) for frame in bench.logged().frames]
    assert frames == [(1, b"ask\n"), (2, b"answer\nfirst\n"), (1, b"last\n")]
    assert bench.road.lines("ch02.jsonl") == ["answer", "first"]


async def test_what_follows_a_durable_line_does_not_wait_for_another(bench: Bench) -> None:
    async with bench.recording() as recorder:
        await durably(recorder, b"ask\n")
        recorder.write_soon(1, "jsonl", b"answer\n")
        await until(lambda: [frame.payload for frame in bench.logged().frames] == [b"ask\n", b"answer\n"])


async def test_other_lines_come_behind_what_follows_a_durable_one(bench: Bench) -> None:
    async with bench.recording() as recorder:
        for channel in (1, 2):
            await durably(recorder, b"ask\n")
            recorder.write_soon(1, "jsonl", b"answer\n")
            recorder.write_soon(1, "jsonl", b"more\n")
            await durably(recorder, b"of %d\n" % channel, channel=channel)
            recorder.write_soon(1, "jsonl", b"x" * LEAST + b"\n")
        await recorder.write(3, "cast", b"last\n", durable=True)
        said = [(frame.channel, line[:6]) for frame in bench.logged().frames for line in text(frame.payload).splitlines()]
    first = [(1, b"ask"), (1, b"answer"), (1, b"more")]
    assert said == [*first, (1, b"of 1"), (1, b"xxxxxx"), *first, (2, b"of 2"), (1, b"xxxxxx"), (3, b"last")]


async def test_what_follows_a_durable_line_after_the_close_is_a_fault(bench: Bench) -> None:
    async with bench.recording() as recorder:
        await durably(recorder, b"ask\n")
    recorder.write_soon(1, "jsonl", b"answer\n")
    assert [fault.code for fault in bench.faults] == ["recording_failed"]


async def test_a_chunk_is_cut_by_size(bench: Bench) -> None:
    line = b"x" * 1023 + b"\n"
    count = 2 * CHUNK_BYTES // len(line) + 100
    async with bench.recording() as recorder:
        for _ in range(count):
            await recorder.write(1, "cast", line)
    sizes = [len(bench.road.lines("ch01.cast")), len(bench.road.chunks())]
    assert sizes == [count, 3]


async def test_a_chunk_is_cut_by_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chunk_seconds=0.01)
    stored = asyncio.Event()
    put = bench.road.put

    async def tell(*args: Any) -> None:
        await put(*args)
        stored.set()

    bench.road.put = tell  # type: ignore[method-assign]
    async with bench.recording() as recorder:
        recorder.write_soon(1, "cast", b"alone\n")
        await asyncio.wait_for(stored.wait(), HANG_S)


async def test_a_huge_write_is_cut_at_lines(bench: Bench) -> None:
    lines = b"".join(b"%07d\n" % number for number in range(3 * CHUNK_BYTES // 8 + 100))
    async with bench.recording() as recorder:
        await recorder.write(1, "jsonl", lines, durable=True)
    assert bench.road.lines("ch01.jsonl") == lines.decode().splitlines()
    assert len(bench.road.chunks()) == 4


async def test_half_a_line_and_an_endless_line_are_refused(bench: Bench) -> None:
    async with bench.recording() as recorder:
        with pytest.raises(Fault, match="whole lines"):
            await recorder.write(1, "cast", b"half")
        with pytest.raises(Fault, match="longer than"):
            await recorder.write(1, "cast", b"x" * LINE_LIMIT + b"x\n")
        recorder.write_soon(1, "cast", b"half")
    assert [fault.code for fault in bench.faults] == ["recording_failed"]


async def test_nothing_is_recorded_after_the_close(bench: Bench) -> None:
    async with bench.recording() as recorder:
        pass
    with pytest.raises(Fault, match="closed"):
        await recorder.write(1, "cast", b"late\n", durable=True)


async def test_pressure_rises_with_what_waits_and_falls_when_it_is_cut(bench: Bench) -> None:
    async with bench.recording() as recorder:
        assert not recorder.pressure()
        while not recorder.pressure():
            recorder.write_soon(1, "cast", b"y" * 99_999 + b"\n")
        await recorder.relieved()
        assert not recorder.pressure()


async def test_a_source_that_ignores_pressure_ends_its_session(bench: Bench) -> None:
    async with bench.recording() as recorder:
        for _ in range((HARD_BYTES + HIGH_BYTES) // 1_000_000 + 2):
            recorder.write_soon(1, "cast", b"z" * 999_999 + b"\n")
        assert bench.faults
        assert bench.faults[0].code == "recording_failed"


async def test_a_disk_that_fails_fails_the_write_and_everything_after_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench.recording() as recorder:
        await recorder.write(1, "cast", b"kept\n", durable=True)

        def full(*_: object) -> None:
            raise OSError(errno.EIO, "input/output error")

        monkeypatch.setattr("agent.runtime.journal.write_at", full)
        with pytest.raises(Fault) as caught:
            await recorder.write(1, "cast", b"lost\n", durable=True)
        assert caught.value.code == "recording_failed"
        monkeypatch.undo()
        # A second sync would succeed and prove nothing about the pages that the first one lost.
        with pytest.raises(Fault):
            await recorder.write(1, "cast", b"after\n", durable=True)
    assert bench.faults[0].code == "recording_failed"
    assert bench.road.lines("ch01.cast") == ["kept", "lost"]
    assert recorder.complete


async def test_a_disk_that_fails_fails_every_session_for_good(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench.recording() as recorder:
        await recorder.write(1, "cast", b"kept\n", durable=True)
        heard: list[Fault] = []
        told: list[Fault] = []
        bench.journal.on_fault = told.append
        other = await bench.journal.begin("ses_other", lambda: Progress(sid="ses_other", chain=""), on_failure=heard.append)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

        monkeypatch.setattr("agent.runtime.journal.write_at", full)
        with pytest.raises(Fault, match="disk is full"):
            await recorder.write(1, "cast", b"lost\n", durable=True)
        assert [fault.code for fault in heard] == ["recording_failed"]
        monkeypatch.undo()
        assert told == [bench.journal.fault]
        with pytest.raises(Fault, match="disk is full"):
            await bench.journal.begin("ses_later", lambda: Progress(sid="ses_later", chain=""), on_failure=heard.append)
        for log in (other, recorder._log):
            with pytest.raises(Fault):
                log.append(Type.CAST, 1, 0, 0, 0, b"after\n")
        found = read_log(bench.spool / LOG, bench.keys)
        assert [frame.payload for frame in found.sessions[SID].frames] == [b"kept\n"]
        assert not found.damaged
        await other.forget()
    assert bench.road.lines("ch01.cast") == ["kept", "lost"]


async def test_a_chunk_that_cannot_be_written_leaves_the_log_for_recovery(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    async with bench.recording() as recorder:
        await recorder.write(1, "cast", b"acknowledged\n", durable=True)
        monkeypatch.setattr("agent.runtime.spool.write_whole", full)
    assert not recorder.complete
    assert bench.road.chunks() == []
    monkeypatch.undo()
    async with bench.recording() as recorder:
        pass
    assert bench.road.lines("ch01.cast") == ["acknowledged"]


async def test_the_store_may_refuse_for_a_while(bench: Bench) -> None:
    away = Fault("control_plane_unreachable", "The recording's store refused a chunk.", detail="503")
    bench.road.answers = [away, away, None]
    async with bench.recording() as recorder:
        await recorder.write(1, "cast", b"patient\n", durable=True)
    assert bench.road.lines("ch01.cast") == ["patient"]


async def test_a_final_refusal_keeps_the_chunk_on_disk(bench: Bench) -> None:
    bench.road.answers = [Fault("session_ended", "The session is over.")]
    async with bench.recording() as recorder:
        await recorder.write(1, "cast", b"kept\n", durable=True)
    assert bench.uploader.refusal is not None
    assert [fault.code for fault in bench.faults] == ["session_ended"]
    assert len(list(bench.folder.path.glob("*.sealed"))) == 1


async def test_closed_segments_go_once_their_lines_are_in_chunks(bench: Bench) -> None:
    line = b"w" * 65_535 + b"\n"
    async with bench.recording() as recorder:
        for number in range(80):
            await recorder.write(number % 3 + 1, "cast", line, durable=True)
    assert len(bench.segments()) == 1
    assert sum(len(bench.road.lines(f"ch0{channel}.cast")) for channel in (1, 2, 3)) == 80


async def test_a_log_that_is_behind_is_pressure_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Chunks alone may keep up while the log does not: what is not on disk yet must pause its source as well.
    gate, entered = threading.Event(), threading.Event()

    def stalled(*arguments: Any) -> None:
        entered.set()
        gate.wait(HANG_S)
        write_at(*arguments)

    monkeypatch.setattr("agent.runtime.journal.write_at", stalled)
    block = b"x" * 1023 + b"\n"
    async with bench.recording() as recorder:
        recorder.write_soon(1, "cast", block)
        assert await asyncio.to_thread(entered.wait, 10)
        while not recorder.pressure():
            recorder.write_soon(1, "cast", block * 512)
        assert recorder._log.backlog > HIGH_BYTES
        gate.set()
        async with asyncio.timeout(HANG_S):
            await recorder.relieved()
        assert recorder._log.backlog < HIGH_BYTES
    assert not bench.faults


async def test_sealed_lines_are_in_the_log_before_what_they_belong_to_and_survive(bench: Bench) -> None:
    async with bench.recording() as recorder:
        recorder.write_soon(0, "sealed", b'{"n":0,"sealed":"AAAA"}\n')
        await recorder.write(1, "jsonl", b"{}\n", durable=True)
        leftover = bench.folder.read(bench.logged())
        assert leftover is not None
        assert [frame.kind for frame in leftover.frames] == ["ch00.sealed", "ch01.jsonl"]
    assert bench.road.lines("ch00.sealed") == ['{"n":0,"sealed":"AAAA"}']
    assert all(recording.problem(chunk) is None for chunk in bench.road.chunks())


async def test_the_disk_never_holds_what_was_sealed(bench: Bench) -> None:
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    sealer = Sealer(SID, SealingKey(target="db", month="2026-11", public=key))
    async with bench.recording() as recorder:
        recorder.write_soon(originals.CHANNEL, "sealed", sealer.seal([b'{"text":"4111 1111 1111 1111"}\n']))
        await recorder.write(1, "jsonl", b"{}\n", durable=True)
        assert b'"sealed":' in b"".join(text(frame.payload) for frame in bench.logged().frames), "it is in the log"
        found = b"".join(path.read_bytes() for path in bench.spool.rglob("*") if path.is_file())
        assert b"4111 1111" not in found
        assert b'"sealed":' not in found, "and that is sealed once more"
    stored = "".join(bench.road.lines(originals.KIND))
    assert '"sealed":' in stored
    assert "4111 1111" not in stored
