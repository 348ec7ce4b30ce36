"""Locked shells: real ssh and sshd before dash, busybox and bash; the gateway edits the lines, and decides about them first."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pexpect
import pytest

from chalicelib.contracts.faults import Notice
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.locked import READY, commands, locked, prompt, server, servers
from tests.integration.ssh.test_guarded import LINES, PERMIT, victims
from tests.integration.ssh.test_held import ALLOW, HOLD
from tests.integration.ssh.test_shell import ANY_PROMPT, at_terminal
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

__all__ = ["locked", "server", "servers"]


async def test_lines_run_or_do_not(locked: Gateway, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("cd /tmp; v=7; echo $((6*7))-is-it\r")
        child.expect("42-is-it\r\n")
        child.expect(r"@web:/tmp\$ \Z")
        child.send(f"echo a; touch {victim}; echo b\r")
        child.expect_exact("sallyport: Not that.")
        child.expect(READY)
        child.send("echo status $? $v\r")
        child.expect("status 126 7")
        child.expect(READY)
        child.send("exit 5\r")

    assert await at_terminal(locked.ssh(), person) == 5
    await locked.idle()
    assert not victim.exists()
    recorder = locked.serving.recorder
    assert recorder.markers(1) == [
        "allowed: interactive shell (rule-1)",
        "allowed: cd /tmp; v=7; echo $((6*7))-is-it (rule-1)",
        f"denied: echo a; touch {victim}; echo b (rule-2)",
        "allowed: echo status $? $v (rule-1)",
        "allowed: exit 5 (rule-1)",
    ]
    assert not re.search("7701|__sp_", recorder.text(1))
    ran = commands(locked.serving)
    assert [(each["text"], each["exit"], each["cwd"]) for each in ran[1:]] == [
        ("echo status $? $v", 0, "/tmp"),
        ("exit 5", 5, "/tmp"),
    ]
    begin, end = ran[0]["cast"]
    assert b"42-is-it" in recorder.written[1, "cast"][begin:end]
    assert locked.serving.denied == 1


async def test_a_denied_line_is_never_run_however_often(locked: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        for number in range(LINES):
            child.send(f"touch {tmp_path}/victim-{number}\r")
            if number % 10 == 9:
                for _ in range(10):
                    child.expect_exact("sallyport: Not that.")
        child.expect(READY)
        child.send("exit\r")

    assert await at_terminal(locked.ssh(), person) == 126
    await locked.idle()
    assert not victims(tmp_path)
    assert locked.serving.denied == LINES


async def test_what_is_typed_at_a_program_is_never_run_undecided(locked: Gateway, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("echo go; sleep 0.5\r")
        child.expect_exact("go\r\n")
        child.send(f"touch {victim}\r")
        child.send("echo typ''ed ahead\r")
        child.expect_exact("sallyport: Not that.")
        child.expect_exact("typed ahead\r\n")
        child.expect(READY)
        child.send("cat\r")
        child.send("to cat\r")
        child.expect("to cat\r\n")
        child.send("\x04")
        child.expect(READY)
        child.send("\x04")

    assert await at_terminal(locked.ssh(), person) == 0
    await locked.idle()
    assert not victim.exists()
    assert [each["text"] for each in commands(locked.serving)] == ["echo go; sleep 0.5", "echo typ''ed ahead", "cat"]


async def test_nothing_of_a_line_reaches_the_target_before_its_verdict(locked: Gateway, server: Sshd) -> None:
    locked.serving = serving_for(server, ALLOW, HOLD, shell="locked")
    held = locked.serving

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("touch nothing-of-it\r")
        child.expect_exact("for dba to agree: https://gw.example/approvals/req_1")
        shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert "nothing-of-it" not in shown.replace("ps -eo", "")
        child.send("\x03")
        child.expect_exact("You withdrew the request, so nothing ran.")
        child.expect(READY)
        child.send("exit\r")

    await at_terminal(locked.ssh(), person)
    await locked.idle()
    assert held.approvals.used == []


async def test_a_held_line_runs_by_itself_after_the_yes(locked: Gateway, server: Sshd, tmp_path: Path) -> None:
    locked.serving = serving_for(server, ALLOW, HOLD, shell="locked")
    held = locked.serving
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send(f"cd {tmp_path}\r")
        child.expect(READY)
        child.send("touch victim\r")
        child.expect_exact("for dba to agree")
        child.send("echo typed ahead\r")
        loop.call_soon_threadsafe(held.approvals.release.set)
        child.expect_exact("\x1b[?2004ltyped ahead\r\n")
        child.send("exit\r")

    assert await at_terminal(locked.ssh(), person) == 0
    await locked.idle()
    assert victims(tmp_path)
    (operation, _), *_ = held.approvals.asked
    assert operation.text == "touch victim"
    assert dict(operation.environment)["PWD"] == str(tmp_path)


@pytest.mark.parametrize("shell", ["locked", "guarded"])
async def test_the_line_that_ran_when_the_session_was_ended_is_on_record(
    servers: dict[str, Sshd], identity: FakeIdentity, tmp_path: Path, shell: str
) -> None:
    gate = Gateway(identity, tmp_path)
    serving = gate.serving = serving_for(servers["bash"], PERMIT, shell=shell)
    await gate.listen()
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect(ANY_PROMPT)
        child.send("echo $((6*7)); sleep 60\r")
        child.expect_exact("42\r\n")
        loop.call_soon_threadsafe(serving.ended.set_result, Notice("session_killed", "Somebody ended it."))
        child.expect_exact("Somebody ended it.")

    try:
        assert await at_terminal(gate.ssh(), person) == 255
        await gate.idle()
        (ran,) = commands(serving)
        assert (ran["text"], ran["exit"]) == ("echo $((6*7)); sleep 60", None)
        assert "42\r\n" in serving.recorder.text(1)
    finally:
        await gate.close()


async def test_a_runner_that_is_killed_ends_the_shell(locked: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("kill -9 $$\r")

    assert await at_terminal(locked.ssh(), person) not in (0, -1)
    await locked.idle()
    (ran,) = commands(locked.serving)
    assert ran["text"] == "kill -9 $$"


async def test_start_up_files_of_the_account_are_not_read(locked: Gateway, server: Sshd) -> None:
    files = [server.home / name for name in (".profile", ".bash_profile", ".shrc")]
    for each in files:
        each.write_text("exec cat\n")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("exit 4\r")

    try:
        assert await at_terminal(locked.ssh(), person) == 4
    finally:
        for each in files:
            each.unlink()


async def test_lines_that_were_sent_in_advance_run_and_then_the_shell_ends(locked: Gateway) -> None:
    def run() -> subprocess.CompletedProcess[bytes]:
        text = b"echo $((6*7))\ntouch /nowhere\nsh -c 'exit 3'\n"
        return subprocess.run(locked.ssh(options=["-tt"]), input=text, capture_output=True, timeout=HANG_S, check=False)

    done = await asyncio.to_thread(run)
    assert b"42\r\n" in done.stdout
    assert b"Not that." in done.stdout
    assert done.returncode == 3
    await locked.idle()
    assert [each["exit"] for each in commands(locked.serving)] == [0, 3]


async def test_secrets_in_a_line_are_masked_where_it_is_recorded(locked: Gateway, server: Sshd) -> None:
    locked.serving = serving_for(server, 'permit(principal, action == Action::"run", resource);', shell="locked")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        for key in "echo 4111111111111111":
            child.send(key)
            child.expect(pexpect.TIMEOUT, timeout=0.02)
        child.send(" x\x1b[D\x1b[D\r")
        child.expect(READY)
        child.send("exit\r")

    await at_terminal(locked.ssh(), person)
    await locked.idle()
    assert b"4111111111111111" not in b"".join(locked.serving.recorder.written.values())
