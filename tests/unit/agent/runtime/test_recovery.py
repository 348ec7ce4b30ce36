"""What an earlier process left: delivered in order under the same chain, in honest words, and nothing unreadable thrown away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.runtime import identity as identities
from agent.runtime import recovery
from agent.runtime.clock import ServerClock
from agent.runtime.configuration import Configuration
from agent.runtime.control_client import ControlClient
from agent.runtime.credentials import CredentialFolder
from agent.runtime.host_keys import HostKeys
from agent.runtime.identity import Identity
from agent.runtime.journal import Journal
from agent.runtime.leftovers import name, read_log
from agent.runtime.session import Recording, Surroundings
from agent.runtime.spool import Disk, End, Folder, UnsealError, folders, write_whole
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.wal import FRAME_BYTES, Frame, Progress, Type, cut_payload
from chalicelib.contracts.faults import Fault
from tests.fakes.control_plane import FakeControlPlane
from tests.unit.agent.runtime.conftest import quick
from tests.unit.agent.runtime.left_behind import Left, line, spoil


@pytest.fixture
async def around(control: FakeControlPlane, state: Path) -> AsyncIterator[Surroundings]:
    enrolled, keys = identities.load(state)
    clock, disk = ServerClock(), Disk(2)
    journal = Journal(state / "spool", SpoolKeys(keys.spool_secret), disk)
    async with ControlClient(control.url, clock, Identity(enrolled, keys, clock.now_ms).proof) as client:
        around = Surroundings(
            client, clock, disk, Configuration(), CredentialFolder(state / "none"), journal, HostKeys(state), backoff=quick
        )
        yield around
        await around.journal.close()
    disk.close()


async def delivered(around: Surroundings, left: Left, state: Path) -> End:
    found = await recovered(around, left, state)
    assert found is not None
    kept, end = found
    assert kept.stored
    return end


async def recovered(around: Surroundings, left: Left, state: Path) -> tuple[Recording, End] | None:
    await around.journal.open(state / "damaged")
    return await recovery.recover(around, left.folder)


async def test_lines_in_the_log_become_chunks(around: Surroundings, left: Left, control: FakeControlPlane, state: Path) -> None:
    left.segment(1, line(1, b"one\n", operations=1), line(2, b"two\n", channel=2), line(3, b"three\n", operations=5))
    end = await delivered(around, left, state)
    assert end == End("ended", recovery.RECOVERED)
    assert control.text_of(left.sid) == "one\nthree\ntwo\n"
    assert control.chain_holds(left.sid)


async def test_only_lines_that_are_in_no_chunk_yet(
    around: Surroundings, left: Left, control: FakeControlPlane, state: Path
) -> None:
    left.segment(1, line(1, b"one\n"), line(2, b"two\n"))
    left.chunk(2, b"one\n", b"two\n")
    left.progress = Progress(sid=left.sid, chain=left.seed)
    left.segment(2, line(3, b"three\n"), first=3)
    await delivered(around, left, state)
    assert control.text_of(left.sid) == "one\ntwo\nthree\n"
    assert [chunk.n for chunk in control.chunks[left.sid]] == [0, 1]
    assert control.chain_holds(left.sid)


async def test_a_chunk_that_was_stored_and_removed_is_known_by_the_log(
    around: Surroundings, left: Left, control: FakeControlPlane, state: Path
) -> None:
    before = left.progress
    cut = left.chunk(1, b"one\n")
    left.segment(9, line(2, b"two\n"), first=2)  # its checkpoint knows
    await delivered(around, left, state)
    assert control.text_of(left.sid) == "one\ntwo\n"

    other = Left(control, state, identities.load(state)[1].public_bytes)
    assert before.sid != other.sid
    cut = other.chunk(1, b"one\n")
    assert (other.progress.n, cut.n) == (1, 0)


async def test_a_cut_in_the_log_counts_like_its_file(
    around: Surroundings, left: Left, control: FakeControlPlane, state: Path
) -> None:
    start = left.progress
    cut = left.chunk(1, b"one\n")
    left.progress = start
    left.segment(1, line(1, b"one\n"), Frame(Type.CUT, 0, 2, 0, 0, 0, cut_payload(cut)), line(3, b"two\n"))
    await delivered(around, left, state)
    assert control.text_of(left.sid) == "one\ntwo\n"
    assert control.chain_holds(left.sid)


async def test_numbers_of_lines_that_only_reached_a_chunk_are_not_used_again(left: Left) -> None:
    # The chunk was cut from memory before the log's last frames were written, and then the process was killed.
    left.segment(1, line(1, b"one\n"))
    left.chunk(3, b"one\n", b"two\n", b"three\n")
    leftover = left.folder.read(read_log(left.log, left.keys).sessions[left.sid])
    assert leftover is not None
    assert (leftover.frames, leftover.next_seq) == ([], 4)


async def test_the_end_that_was_written_is_reported(
    around: Surroundings, left: Left, control: FakeControlPlane, state: Path
) -> None:
    left.segment(1, line(1, b"one\n"))
    left.folder.write_end(End("killed", "Bob ended it."))
    assert await delivered(around, left, state) == End("killed", "Bob ended it.")


async def test_a_torn_tail_is_nothing_to_speak_of(
    around: Surroundings, left: Left, control: FakeControlPlane, state: Path
) -> None:
    spoil(left.segment(1, line(1, b"one\n"), line(2, b"never acknowledged\n")), -3, zeros=True)
    end = await delivered(around, left, state)
    assert (end.message, control.text_of(left.sid)) == (recovery.RECOVERED, "one\n")
    assert not (state / "damaged").exists()


async def test_damage_is_kept_and_said(around: Surroundings, left: Left, control: FakeControlPlane, state: Path) -> None:
    path = left.segment(1, line(1, b"one\n"), line(2, b"unreadable\n"), line(3, b"behind\n"))
    spoil(path, -FRAME_BYTES - 10)
    whole = path.read_bytes()
    end = await delivered(around, left, state)
    assert end.message == recovery.RECOVERED + recovery.DAMAGED
    assert control.text_of(left.sid) == "one\nbehind\n"
    assert (state / "damaged" / path.name).read_bytes() == whole


async def test_an_unreadable_log_still_delivers_its_chunks(
    around: Surroundings, left: Left, control: FakeControlPlane, state: Path
) -> None:
    left.chunk(1, b"one\n")
    path = left.log / name(1, left.keys.salt)
    path.write_bytes(b"x" * 500)
    end = await delivered(around, left, state)
    assert recovery.DAMAGED in end.message
    assert control.text_of(left.sid) == "one\n"
    assert (state / "damaged" / path.name).exists()
    assert not path.exists()


async def test_what_an_older_version_left_is_refused_and_kept(around: Surroundings, left: Left, state: Path) -> None:
    (left.folder.path / "wal-00000001").write_bytes(b"SWL1")
    with pytest.raises(UnsealError, match="older version"):
        await recovered(around, left, state)
    assert (left.folder.path / "wal-00000001").exists()


async def test_a_chunk_that_this_agent_did_not_seal_is_refused_and_kept(around: Surroundings, left: Left, state: Path) -> None:
    left.segment(1, line(1, b"legible\n"))
    left.chunk(1, b"legible\n")
    (path,) = left.folder.path.glob("*.sealed")
    assert b"legible" not in path.read_bytes()
    spoil(path, -1)
    with pytest.raises(UnsealError, match="was not sealed by this agent"):
        await recovered(around, left, state)
    assert path.exists()
    assert left.log.joinpath(name(1, left.keys.salt)).exists()


async def test_a_folder_without_a_recording_is_removed(around: Surroundings, left: Left, state: Path) -> None:
    (left.folder.path / "000000.1.1.x.zst.tmp").write_bytes(b"half")
    (left.log / name(1, left.keys.salt)).write_bytes(b"SL" + bytes(500))
    assert await recovered(around, left, state) is None
    assert folders(state / "spool") == []


async def test_a_recovery_that_is_interrupted_begins_again(
    around: Surroundings, left: Left, control: FakeControlPlane, state: Path
) -> None:
    left.segment(1, line(1, b"one\n"), line(2, b"two\n"))
    control.faults["chunks"] = [Fault("unknown_session", "Not yet.")]
    found = await recovered(around, left, state)
    assert found is not None
    assert not found[0].stored
    await around.journal.close()
    around.journal = Journal(state / "spool", SpoolKeys(identities.load(state)[1].spool_secret), around.disk)
    left.folder = Folder(left.folder.path, around.journal.keys)
    end = await delivered(around, left, state)
    assert control.text_of(left.sid) == "one\ntwo\n"
    assert control.chain_holds(left.sid)
    assert end == End("ended", recovery.RECOVERED)


async def test_evidence_is_set_aside_under_a_name_of_its_own(left: Left, state: Path) -> None:
    left.segment(1, line(1, b"one\n"))
    write_whole(left.folder.path / "end.json", b"not json")
    leftover = left.folder.read(read_log(left.log, left.keys).sessions[left.sid])
    assert leftover is not None
    assert leftover.end is None
    first = left.folder.set_aside(state / "refused")
    left.folder.create()
    second = left.folder.set_aside(state / "refused")
    assert (first.name, second.name) == (left.sid, f"{left.sid}.1")
    assert sorted(path.name for path in first.iterdir()) == ["end.json"]
