"""What an agent remembers, of the log and of hosts that came first, and how a person lets it begin anew."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from agent.__main__ import main
from agent.runtime.host_keys import HostKeys, Learned
from agent.runtime.witness import Memory, Owed
from chalicelib.contracts.api import WitnessAlarm
from chalicelib.contracts.translog.checkpoints import Checkpoint
from tests.fakes.note_keys import NoteKey


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("SALLYPORT_AGENT_STATE", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(main, ["witness", *arguments])


def remember(state: Path, alarm: WitnessAlarm | None) -> None:
    note = NoteKey.ed25519("gw.example/log").sign(Checkpoint("gw.example/log", 7, b"r" * 32).text())
    memory = Memory(checkpoint=str(note), cosigned=7, owed={"evt_1": Owed("ses_1", "ab", 1)}, alarm=alarm)
    (state / "witness.json").write_bytes(msgspec.json.encode(memory))


def test_what_is_remembered_is_said(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert "cosigned    0 entries" in run().output
    remember(tmp_path, None)
    said = run().output
    assert "verified    7 entries" in said
    assert "owed        1 sessions" in said
    assert "alarm" not in said


def test_an_alarm_is_said_and_forgotten_only_when_asked(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    remember(tmp_path, WitnessAlarm(kind="fork", message="There are two logs.", kept="a", shown="b"))
    assert "alarm       fork: There are two logs." in run().output
    assert run("--start-again").output.startswith("Forgotten; kept in ")
    assert len(list((tmp_path / "witness-alarms").glob("*-forgotten.json"))) == 1
    assert "alarm" not in run().output
    assert run("--start-again").output == "There was nothing to forget.\n"


def test_a_memory_that_cannot_be_read_is_told(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "witness.json").write_text("{")
    found = run()
    assert found.exit_code != 0
    assert "cannot be read" in found.output


def test_learned_host_keys_are_listed_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_AGENT_STATE", str(tmp_path))

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["host-keys", *arguments])
        return done.exit_code, done.output

    assert run() == (0, "")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDQ"
    one = Learned(target="lab-7", address="10.0.0.7:22", key=key, principal="ann", sid="ses_1", time_ms=1_700_000_000_000)
    HostKeys(tmp_path).learn(one)
    assert run() == (
        0,
        f"lab-7 at 10.0.0.7:22, {one.fingerprint}, 2023-11-14T22:13:20Z by ann in ses_1\n  {key}\n",
    )
    status, said = run("--forget", "lab-8")
    assert (status, "No host key of lab-8 was learned." in said) == (4, True)
    assert run("--forget", "lab-7") == (0, f"Forgotten: lab-7 at 10.0.0.7:22, ssh-ed25519 {one.fingerprint}\n")
    assert run() == (0, "")
    (tmp_path / "host-keys.json").write_text("{")
    status, said = run()
    assert (status, "cannot tell which host keys" in said) == (5, True)


@pytest.mark.parametrize("ask", ["-h", "--help"])
def test_each_command_is_told_in_a_whole_sentence(ask: str) -> None:
    listed = CliRunner().invoke(main, [ask], terminal_width=80).output.partition("Commands:\n")[2].partition("\n\n")[0]
    lines = [line.strip() for line in listed.splitlines()]
    assert [line.split(" ")[0] for line in lines] == sorted(main.commands)
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("sallyport-agent 0.")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = tmp_path / "file" / "state"
    done = CliRunner().invoke(main, ["enrol", "--url", "https://127.0.0.1:1", "--token", "x", "--state", str(state)])
    assert done.exit_code == 6
    assert done.output.startswith(f"sallyport-agent: {state}: Not a directory.\n  The user who runs the agent")
