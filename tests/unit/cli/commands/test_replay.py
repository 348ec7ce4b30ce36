from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.contracts.session import State
from tests.fakes.http_control_plane import FakeControlPlane
from tests.unit.cli.conftest import NOW_MS, Run, session

CAST = b'{"version":3}\n[0,"o","\\u001b]52;c;x\\u0007hi\\r\\n"]\nnot a line\n'


@pytest.fixture
def sid(logged_in: FakeControlPlane) -> str:
    return logged_in.record(session(1), [("ch01.cast", NOW_MS, CAST)]).sid


def test_a_file_holds_what_was_recorded(run: Run, sid: str, tmp_path: Path) -> None:
    file = tmp_path / "x.cast"
    assert run("replay", sid, "--to", str(file)).status == 0
    assert file.read_bytes() == CAST
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("name", "kept"), [("x.cast", CAST), ("x", CAST), ("x.jsonl", b'{"version":1}\n')])
def test_a_terminal_and_the_lines_beside_it_are_two_files(
    run: Run, logged_in: FakeControlPlane, tmp_path: Path, name: str, kept: bytes
) -> None:
    two = logged_in.record(session(2), [("ch01.cast", NOW_MS, CAST), ("ch01.jsonl", NOW_MS, b'{"version":1}\n')]).sid
    assert run("replay", two, "--channel", "1", "--to", str(tmp_path / name)).status == 0
    assert (tmp_path / name).read_bytes() == kept


def test_a_file_holds_one_channel(run: Run, logged_in: FakeControlPlane, tmp_path: Path) -> None:
    two = logged_in.record(session(2), [("ch01.cast", NOW_MS, CAST), ("ch02.cast", NOW_MS, CAST)]).sid
    ran = run("replay", two, "--to", str(tmp_path / "x.cast"))
    assert ran.status != 0
    assert "channels 1, 2; a file holds one" in ran.err
    assert not (tmp_path / "x.cast").exists()


def test_evidence_replaces_no_file(run: Run, sid: str, tmp_path: Path) -> None:
    file = tmp_path / "x.cast"
    file.write_text("mine")
    assert run("replay", sid, "--to", str(file)).status == 6
    assert file.read_text() == "mine"


def test_what_is_not_understood_is_told(run: Run, sid: str) -> None:
    ran = run("replay", sid)
    assert ran.out == "hi\n"
    assert ran.err.endswith("warning: 1 recorded line not understood and left out; --to keeps everything.\n")


def test_altered_evidence_leaves_no_file(run: Run, sid: str, logged_in: FakeControlPlane, tmp_path: Path) -> None:
    logged_in.blobs[f"{sid}/0"] += b"x"
    assert run("replay", sid, "--to", str(tmp_path / "x.cast")).status == 7
    assert list(tmp_path.glob("*.cast")) == []


def test_the_recording_of_another_session_is_refused(run: Run, sid: str, logged_in: FakeControlPlane) -> None:
    other = logged_in.record(session(2), [("ch01.cast", NOW_MS, CAST)]).sid
    logged_in.recordings[sid] = logged_in.recordings[other]
    assert run("replay", sid).status == 7


def test_what_has_not_arrived_is_told(run: Run, logged_in: FakeControlPlane) -> None:
    recorded = logged_in.record(
        session(1, state=State.LIVE), [("ch01.cast", NOW_MS, CAST), ("ch01.cast", NOW_MS, b'[0,"o","x"]\n')]
    )
    del logged_in.blobs[f"{recorded.sid}/1"]
    ran = run("replay", recorded.sid)
    assert ran.status == 0
    assert "registered 1 chunk more" in ran.err


@pytest.mark.parametrize("words", [("--speed", "0"), ("--speed", "-1"), ("--idle-limit", "-1"), ("--channel", "x"), ("--json",)])
def test_options_that_mean_nothing(run: Run, sid: str, words: tuple[str, ...]) -> None:
    assert run("replay", sid, *words).status == 2
