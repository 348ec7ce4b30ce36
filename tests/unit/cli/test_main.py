from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from chalicelib.contracts.faults import CODES, Fault
from cli import __main__ as entry
from tests.fakes.http_control_plane import FakeControlPlane
from tests.unit.cli.conftest import Run


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(entry._Lazy, "get_command", lambda *_: click.Command("x", callback=fail))


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_fault_has_its_status(run: Run, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    failing(monkeypatch, Fault(code, "What happened.", hint="What to do."))
    ran = run("x")
    assert ran.status == CODES[code].exit
    assert ran.err == f"sallyport: What happened. [{code}]\n  What to do.\n"


def test_the_exit_statuses_are_documented() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/exit-codes.md").read_text()
    for code, kind in CODES.items():
        row = next(line for line in text.splitlines() if f"`{code}`" in line)
        assert row.startswith(f"| {kind.exit} "), code


def test_ctrl_c_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyboardInterrupt(), click.Abort()):
        failing(monkeypatch, error)
        assert run("x") == (130, "", "")


def test_our_own_mistakes_show_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("secret"))
    ran = run("x")
    assert ran.status == 70
    assert (
        ran.err
        == "sallyport: Something went wrong inside sallyport (ZeroDivisionError). [internal]\n  SALLYPORT_DEBUG=1 shows where.\n"
    )
    monkeypatch.setenv("SALLYPORT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("x")


def test_a_file_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, FileNotFoundError(2, "No such file or directory", "keys"))
    assert run("x") == (4, "", "sallyport: No such file or directory: keys [not_found]\n")


@pytest.mark.parametrize(
    ("typed", "advice"), [("lss", " Did you mean 'ls'?"), ("sesions", " Did you mean 'sessions'?"), ("zzz", "")]
)
def test_a_command_that_does_not_exist(run: Run, typed: str, advice: str) -> None:
    said = f"sallyport: There is no command {typed!r}.{advice} [bad_request]\n  Try: sallyport --help\n"
    assert run(typed) == (2, "", said)


def test_a_file_that_cannot_be_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, PermissionError(13, "Permission denied", "/etc/x"))
    assert run("x") == (6, "", "sallyport: Permission denied: /etc/x [conflict]\n")


def test_a_detail_is_for_those_who_look_for_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Fault("internal", "Sorry.", detail="why\x1b"))
    assert "why" not in run("x").err
    monkeypatch.setenv("SALLYPORT_DEBUG", "1")
    assert "detail: 'why\\x1b'" in run("x").err


def test_the_version(run: Run) -> None:
    ran = run("--version")
    assert ran.status == 0
    assert ran.out.startswith("sallyport ")


def test_a_reader_that_goes_away_is_no_error(logged_in: FakeControlPlane) -> None:
    command = f"{sys.executable} -m cli --help; echo $? >&2"
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(["sh", "-c", command], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert ran.stderr == "141\n"


def test_shells_can_complete(run: Run) -> None:
    environment = os.environ | {"_SALLYPORT_COMPLETE": "bash_complete", "COMP_WORDS": "sallyport se", "COMP_CWORD": "1"}
    ran = subprocess.run([sys.executable, "-m", "cli"], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["plain,sessions", "plain,session"]


def test_starting_up_imports_little() -> None:
    """ssh starts this program for every connection: what it does not need must not be imported."""
    code = "import cli.__main__, cli.commands.connect, cli.ways, sys; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {
        "boto3",
        "cryptography",
        "zstandard",
        "urllib3",
        "asyncio",
        "websockets",
        "cli.evidence",
        "cli.login_flow",
    }
