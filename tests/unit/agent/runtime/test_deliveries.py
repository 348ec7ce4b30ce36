"""What becomes of recordings: delivered, delivered by the next start, set aside; and disks that fail in between."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from agent.runtime import identity as identities
from agent.runtime.deliveries import RECOVERING
from agent.runtime.spool import folders
from chalicelib.contracts.faults import Fault, Notice
from tests.fakes.control_plane import FakeControlPlane
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import RunRig, until
from tests.unit.agent.runtime.left_behind import Left, line, spoil
from tests.unit.agent.runtime.served import serve_one


async def test_a_disk_that_fails_ends_the_agent_and_another_start_delivers(
    run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    async with run_rig() as rig:
        (sid, first), (_, second) = await serve_one(rig), await serve_one(rig)
        monkeypatch.setattr("agent.runtime.spool.write_whole", full)
        first.client.close()
        assert rig.running is not None
        async with asyncio.timeout(HANG_S):
            await rig.running
        assert rig.supervisor.failure is not None
        assert (rig.supervisor.failure.code, bool(rig.supervisor.failure.hint)) == ("recording_failed", True)
        second.client.close()
        assert control.closes == {}
    async with run_rig() as rig:
        # The disk is still full: it is tried again.
        await until(lambda: rig.supervisor.failure is not None)
    monkeypatch.undo()
    async with run_rig() as rig:
        await until(lambda: len(control.closes) == 2)
        assert control.text_of(sid) == "hello\n"
        assert control.chain_holds(sid)
        assert rig.supervisor.failure is None


async def test_a_log_that_fails_ends_every_session_and_the_agent(
    run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    async with run_rig() as rig:
        (first, tunnel), (second, _) = await serve_one(rig), await serve_one(rig)
        monkeypatch.setattr("agent.runtime.journal.write_at", broken)
        await asyncio.get_running_loop().sock_sendall(tunnel.client, b"not recorded\n")
        assert rig.running is not None
        async with asyncio.timeout(HANG_S):
            await rig.running
        assert rig.supervisor.failure is not None
        assert (rig.supervisor.failure.code, bool(rig.supervisor.failure.hint)) == ("recording_failed", True)
    monkeypatch.undo()
    async with run_rig():
        await until(lambda: {first, second} <= set(control.closes))
    for sid in (first, second):
        assert control.text_of(sid).startswith("hello\n")
        assert control.chain_holds(sid)


async def test_a_recording_that_fails_ends_the_session(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _tunnel = await serve_one(rig)
        rig.plugin.served[0].recorder.write_soon(1, "jsonl", b"half a line")
        await until(lambda: rig.plugin.endings)
        assert rig.plugin.endings[0].code == "recording_failed"
        await until(lambda: sid in control.closes)
        assert control.closes[sid].message


async def test_a_spool_that_could_not_be_delivered_is_delivered_at_the_next_start(
    run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.runtime.supervisor.DRAIN_S", 0.05)
    async with run_rig() as rig:
        sid, _ = await serve_one(rig)
        control.faults["chunks"] = [503] * 1000
    assert control.closes == {}
    control.faults["chunks"] = []
    async with run_rig() as rig:
        await until(lambda: sid in control.closes)
        assert "stopped" in control.closes[sid].message
        assert control.text_of(sid) == "hello\n"
        assert control.chain_holds(sid)
        await until(lambda: rig.supervisor.live() == [])
        assert not folders(rig.supervisor._deliveries.spool)


async def test_what_cannot_be_opened_stays_and_holds_up_nobody(run_rig: RunRig, control: FakeControlPlane, state: Path) -> None:
    public = identities.load(state)[1].public_bytes
    spoiled = [Left(control, state, public) for _ in range(RECOVERING + 1)]
    for each in spoiled:
        each.chunk(1, b"one\n")
        spoil(next(each.folder.path.glob("*.sealed")), -1)
    sound = Left(control, state, public)
    sound.segment(1, line(1, b"one\n"))
    async with run_rig() as rig:
        await until(lambda: rig.supervisor.live() == [])
    assert list(control.closes) == [sound.sid]
    assert all(list(each.folder.path.glob("*.sealed")) for each in spoiled)


async def test_a_recording_that_is_refused_for_good_is_kept_aside(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        control.faults["chunks"] = [Fault("session_ended", "The session is over.")]
        tunnel.client.close()
        await until(lambda: rig.supervisor.live() == [])
        assert (rig.supervisor._state / "refused" / sid).is_dir()
        assert sid not in control.closes


async def test_a_close_that_misses_a_chunk_leaves_a_sign(run_rig: RunRig, control: FakeControlPlane) -> None:
    """What the disk forgot after it had said that it was stored cannot be brought back; that it is missing can be said."""
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        control.faults["close"] = [Fault("chunk_conflict", "The gateway knows 0 chunks of this session.")]
        tunnel.client.close()
        await until(lambda: rig.supervisor.live() == [])
        assert (rig.supervisor._state / "refused" / sid / "end.json").exists()


async def test_a_refused_close_is_not_repeated(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        _sid, tunnel = await serve_one(rig)
        control.faults["close"] = [Fault("session_ended", "The session is over.")]
        tunnel.client.close()
        await until(lambda: rig.supervisor.live() == [])
        assert control.requests["close"] == 1
        assert not folders(rig.supervisor._deliveries.spool)


async def test_reports_arrive_before_the_close(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        control.faults["report"] = [503]
        rig.plugin.served[0].report_target(Notice("target_unreachable", "The agent cannot reach web."))
        tunnel.client.close()
        await until(lambda: sid in control.closes)
        assert [report.target_fault for report in control.reports[sid]] == [
            Notice("target_unreachable", "The agent cannot reach web.")
        ]
