"""What an agent could not deliver, opened for its operator by ``sallyport-agent unseal``: bytes, hashes, and lines of the log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.__main__ import main
from agent.bootstrap import locked
from agent.runtime.packing import Packed
from agent.runtime.salvage import held
from chalicelib.contracts import recording
from chalicelib.contracts.faults import Fault
from tests.fakes.chunks import text_of
from tests.fakes.control_plane import FakeControlPlane
from tests.unit.agent.runtime.conftest import RunRig, until
from tests.unit.agent.runtime.left_behind import Left, line, spoil
from tests.unit.agent.runtime.served import serve_one

Run = Callable[..., Result]


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SALLYPORT_AGENT_STATE", str(state))
    return lambda *arguments: CliRunner().invoke(main, ["unseal", *arguments])


def text(path: Path) -> bytes:
    return text_of(path.read_bytes())


async def test_what_was_refused_is_opened_as_it_would_have_been_stored(
    run_rig: RunRig, run: Run, control: FakeControlPlane, state: Path, tmp_path: Path
) -> None:
    async with run_rig() as rig:
        control.faults["chunks"] = [Fault("unknown_session", "There is no such session.")]
        sid, tunnel = await serve_one(rig)
        tunnel.client.close()
        await until(lambda: held(state) and held(state)[0].place == "refused")
        listed = run()
    assert (listed.exit_code, sid in listed.output, "1 chunks" in listed.output) == (0, True, True)
    opened = run(sid[-7:].lower(), "--into", str(tmp_path / "case"))
    assert (opened.exit_code, "1 chunks, and 0 lines" in opened.output) == (0, True), opened.output
    (chunk,) = (tmp_path / "case" / "refused" / sid).glob("000000_*Z.ch01.*.zst")
    assert text(chunk) == b"hello\n"
    assert (chunk.stat().st_mode & 0o777, chunk.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    fact = json.loads((chunk.parent / "chunks.jsonl").read_text())
    assert fact["sha256"] == hashlib.sha256(chunk.read_bytes()).hexdigest()
    assert held(state)[0].chunks == 1, "nothing is removed"
    again = run(sid, "--into", str(tmp_path / "case"))
    assert (again.exit_code != 0, "File exists" in again.output) == (True, True)


async def test_lines_that_are_in_no_chunk_yet(left: Left, run: Run, state: Path, tmp_path: Path) -> None:
    left.segment(1, line(1, b"one\n"), line(2, b"two\n"), line(3, b"three\n", channel=2))
    left.chunk(1, b"one\n")
    with locked(state):
        beside = run(left.sid, "--into", str(tmp_path / "beside"))
    assert "The agent is running" in beside.output
    assert "1 chunks, and 0 lines" in beside.output
    opened = run(left.sid, "--into", str(tmp_path / "case"))
    assert "1 chunks, and 2 lines" in opened.output
    place = tmp_path / "case" / "spool" / left.sid
    assert (place / "lines.ch01.cast").read_bytes() == b"two\n"
    assert (place / "lines.ch02.cast").read_bytes() == b"three\n"
    fact = json.loads((place / "chunks.jsonl").read_text())
    assert fact["chain"] == recording.link(left.seed, 0, fact["time_ms"], fact["sha256"]) == left.progress.chain


async def test_what_flooded_and_is_in_no_chunk_yet(left: Left, run: Run, tmp_path: Path) -> None:
    flood = b"y" * 5000 + b"\n"
    packed = line(2, b"")._replace(payload=Packed([flood, b"two\n"]))
    left.segment(1, line(1, b"one\n"), packed, line(3, b"three\n"))
    assert run(left.sid, "--into", str(tmp_path)).exit_code == 0
    assert (tmp_path / "spool" / left.sid / "lines.ch01.cast").read_bytes() == b"one\n" + flood + b"two\nthree\n"


async def test_one_that_cannot_be_opened_keeps_nobody_from_the_rest(left: Left, run: Run, tmp_path: Path) -> None:
    left.chunk(1, b"one\n")
    left.chunk(2, b"two\n")
    spoil(min(left.folder.path.glob("*.sealed")), -1)
    opened = run(left.sid, "--into", str(tmp_path / "case"))
    assert opened.exit_code != 0
    assert "is damaged, or was not sealed by this agent" in opened.output
    (chunk,) = (tmp_path / "case" / "spool" / left.sid).glob("*.zst")
    assert text(chunk) == b"two\n"


async def test_a_folder_that_was_set_aside_twice_is_opened_by_the_same_key(
    left: Left, run: Run, state: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        left.chunk(1, b"one\n")
        left.folder.set_aside(state / "refused")
        left.folder.create()
    opened = run(left.sid, "--into", str(tmp_path / "case"))
    assert opened.exit_code == 0, opened.output
    assert len(list((tmp_path / "case").glob("refused/*/*.zst"))) == 2


@pytest.mark.parametrize("words", [["ses_nothing", "--into", "x"], ["7X5B1HR"]])
async def test_what_is_not_there_is_told(run: Run, words: list[str]) -> None:
    found = run(*words)
    assert found.exit_code not in (0, 1)
    assert found.output.startswith("sallyport-agent: ")
