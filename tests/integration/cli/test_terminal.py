"""What a person at a terminal sees: colours, questions, playback, and a terminal that is as it was when it is over."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pexpect
import pytest

from chalicelib.contracts import api
from chalicelib.contracts.session import Session, State
from cli.home import Home
from cli.terminal_filter import RESET
from tests.bypass.evidence.vault import good
from tests.fakes.http_control_plane import PRINCIPAL, FakeControlPlane
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
HEADING = b'{"version":3,"term":{"cols":80,"rows":24},"timestamp":1795168980}\n'


def spawn(*words: str) -> pexpect.spawn[str]:
    environment = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    return pexpect.spawn(
        sys.executable, ["-m", "cli", *words], env={**os.environ, **environment}, encoding="utf-8", timeout=HANG_S
    )


def ended(process: pexpect.spawn[str]) -> tuple[str, int | None]:
    """Wait for the end and return what was printed last, and the exit status."""
    process.expect(pexpect.EOF)
    process.close()
    return process.before or "", process.exitstatus


def record(plane: FakeControlPlane, events: bytes) -> None:
    now = plane.now_ms
    session = Session(
        sid=SID, state=State.ENDED, principal=PRINCIPAL, target="prod-web", protocol="ssh", agent="edge-1", policy_version=1,
        opened_ms=now, started_ms=now, ended_ms=now, deadline_ms=now,
    )  # fmt: skip
    plane.record(session, [("ch01.cast", now, HEADING + events)])


def test_a_recording_plays_and_its_tricks_do_not(home: Home, plane: FakeControlPlane) -> None:
    record(
        plane,
        b'[0,"o","$ ls"]\n[0,"m","allowed: ls"]\n'
        b'[0,"o","\\r\\n\\u001b[1;34msrc\\u001b[0m\\u001b]52;c;eA==\\u0007\\u001b[6n\\r\\n"]\n'
        b'[0,"m","denied: rm -rf / (no-rm)"]\n[0,"x","126"]\n',
    )
    out, status = ended(spawn("replay", SID))
    out = out.replace("\r\r\n", "\r\n")  # the terminal's own carriage returns
    assert status == 0
    assert "$ ls\r\n\x1b[0;2m▸ allowed: ls\x1b[0m\r\n\x1b[1;34msrc\x1b[0m\r\n\x1b[0;31m▸ denied: rm -rf / (no-rm)\x1b[0m" in out
    assert "]52;" not in out
    assert "[6n" not in out
    assert out.endswith(RESET)


def test_ctrl_c_leaves_the_terminal_as_it_was(home: Home, plane: FakeControlPlane) -> None:
    record(plane, b'[0,"o","\\u001b[?1049h\\u001b[?25lvim"]\n[9000,"o","later"]\n')
    process = spawn("replay", SID, "--idle-limit", "0")
    process.expect_exact("vim")
    process.send("keys that nobody asked for")
    process.sendintr()
    out, status = ended(process)
    assert status == 130
    assert f"\x1b[?1049l{RESET}" in out
    assert "Traceback" not in out
    assert "later" not in out
    assert "keys" not in out


def test_a_recorded_terminal_that_is_larger_is_told(home: Home, plane: FakeControlPlane) -> None:
    record(plane, HEADING.replace(b"80", b"200") + b'[0,"o","x"]\n')
    out, _ = ended(spawn("replay", SID))
    assert "Recorded on a terminal of 200x24; yours is 80x24" in out


@pytest.fixture
def folder(tmp_path: Path, plane: FakeControlPlane) -> Path:
    plane.plan = api.ConfigPlan(version=3, changes=[api.Change(sign="+", what="target prod-web")], warnings=[])
    gateway = tmp_path / "gateway"
    gateway.mkdir()
    (gateway / "gateway.yaml").write_text("version: 1\n")
    return gateway


@pytest.mark.parametrize(("answer", "status", "applied"), [("y", 0, 1), ("n", 130, 0), ("", 130, 0)])
def test_apply_asks(home: Home, plane: FakeControlPlane, folder: Path, answer: str, status: int, applied: int) -> None:
    process = spawn("apply", str(folder))
    process.expect_exact("+ target prod-web")
    process.expect(re.escape("Apply 1 change? [y/N]: "))
    process.sendline(answer)
    out, exited = ended(process)
    assert exited == status
    assert ("Nothing was applied." in out) == (not applied)
    assert len(plane.applied) == applied


def test_errors_are_red_and_lists_are_coloured(home: Home, plane: FakeControlPlane) -> None:
    out, status = ended(spawn("connect", "no-such"))
    assert status == 4
    assert "\x1b[31;1msallyport:\x1b[0m There is no such target." in out
    record(plane, b"")
    assert "ended" in ended(spawn("sessions"))[0]


def test_no_color_is_honoured(home: Home, plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in ended(spawn("connect", "no-such"))[0]


def test_a_long_proof_shows_how_far_it_is(home: Home, tmp_path: Path) -> None:
    vault = good(tmp_path / "bucket")
    keys = tmp_path / "keys"
    keys.write_text(f"{vault.notary.key()}\n")
    # What takes a moment shows nothing; here every proof is a long one.
    hurry = "import sys; from cli import __main__, progress; progress._DELAY_S = 0.0; sys.exit(__main__.main(sys.argv[1:]))"
    words = ["-c", hurry, "verify", "--all", "--from", str(vault.folder), "--keys", str(keys)]
    environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    out, status = ended(pexpect.spawn(sys.executable, words, env=environment, encoding="utf-8", timeout=HANG_S))
    assert status == 0, out
    bars = re.findall(r"\r\x1b\[K(?:\x1b\[[0-9;]*m)*[━╌]{24} +\d+ %  (\w+)", out)
    assert bars, out
    assert not re.search("[━╌]", out.rpartition("\r\x1b[K")[2]), "and nothing of it is left"
