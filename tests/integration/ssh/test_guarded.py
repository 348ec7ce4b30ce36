"""Guarded shells: real ssh, sshd and bash; every line is decided before it runs."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest

from tests.fakes.agent_runtime import FakeServing
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_held import ALLOW, HOLD
from tests.integration.ssh.test_shell import at_terminal
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

#: Lines of the stress test.
LINES = 300
#: The prompt, and whatever readline says behind it.
READY = r"ready> (\x1b\[[?0-9]*[a-zA-Z])*$"
PERMIT = "permit(principal, action, resource);"
NOT = '@message("Not that.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("touch") };'


@pytest.fixture
async def guarded(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose shells are guarded; ``touch`` is forbidden."""
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd, PERMIT, NOT, shell="guarded")
    await gate.listen()
    yield gate
    await gate.close()


def victims(folder: Path) -> list[Path]:
    return list(folder.glob("victim*"))


def prompt(child: pexpect.spawn) -> None:
    child.expect_exact("every line is decided before it runs")
    child.sendline("PS1='ready''> '")
    child.expect(READY)


async def test_lines_run_or_do_not(guarded: Gateway, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline("echo $((6*7))-is-it")
        child.expect("42-is-it")
        child.expect_exact("ready> ")
        child.sendline(f"echo a; touch {victim}; echo b")
        child.expect_exact("sallyport: Not that.")
        child.expect_exact("ready> ")
        child.sendline("echo status $?")
        child.expect("status 130")
        child.sendline("exit 5")

    assert await at_terminal(guarded.ssh(), person) == 5
    await guarded.idle()
    assert not victim.exists()
    recorder = guarded.serving.recorder
    assert recorder.markers(1)[2:] == [
        "allowed: echo $((6*7))-is-it (rule-1)",
        f"denied: echo a; touch {victim}; echo b (rule-2)",
        "allowed: echo status $? (rule-1)",
        "allowed: exit 5 (rule-1)",
    ]
    assert not re.search("7701|__sp_", recorder.text(1))
    commands = [entry for entry in recorder.lines(1, "jsonl") if entry.get("event") == "command"]
    assert [(each["text"], each["exit"]) for each in commands[1:]] == [
        ("echo $((6*7))-is-it", 0),
        ("echo status $?", 0),
        ("exit 5", 5),
    ]
    begin, end = commands[1]["cast"]
    assert b"42-is-it" in recorder.written[1, "cast"][begin:end]
    assert guarded.serving.operations == 6
    assert guarded.serving.denied == 1


async def test_the_last_word_of_a_command_is_what_it_was(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline(f"mkdir {tmp_path}/made && cd $_ && pwd")
        child.expect_exact(f"{tmp_path}/made\r\n")
        child.expect(READY)
        child.sendline("true one two")
        child.expect(READY)
        child.sendline("echo $_-is-it")
        child.expect_exact("two-is-it\r\n")
        child.sendline("exit")

    await at_terminal(guarded.ssh(), person)


async def test_a_denied_line_is_never_run_however_often(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        prompt(child)
        for number in range(LINES):
            child.send(f"touch {tmp_path}/victim-{number}\r")
            if number % 10 == 9:
                for _ in range(10):
                    child.expect_exact("sallyport: Not that.")
        child.expect(READY)
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    assert guarded.serving.denied == LINES


async def test_a_shell_that_says_no_hello_is_ended(guarded: Gateway, sshd: Sshd) -> None:
    guarded.serving = serving_for(sshd, PERMIT, NOT, shell="guarded", shell_start_s=3)
    profile = sshd.home / ".bash_profile"
    profile.write_text("exec cat\n")

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("sallyport: The shell did not start its guard within 3 s, so it was ended.")
        child.expect_exact("Run one command at a time")

    try:
        assert await at_terminal(guarded.ssh(), person) == 126
    finally:
        profile.unlink()


async def test_lines_of_a_file_are_decided_after_its_end(guarded: Gateway, tmp_path: Path) -> None:
    """``ssh -tt host < file``: the end of what is typed comes before the first line is asked about."""
    victim = tmp_path / "victim"
    typed = f"echo $((6*7))-is-it\ntouch {victim}\nexit 5\n".encode()
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*guarded.ssh(options=["-tt"]), stdin=pipe, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(HANG_S):
        said, errors = await process.communicate(typed)
    assert process.returncode == 5, errors
    # Behind the echo of what was typed ahead, or before it.
    assert b"42-is-it\r\n" in said
    assert b"sallyport: Not that." in said
    assert not victim.exists()


async def test_marks_of_others_are_dropped_and_told(guarded: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline(r"printf 'see\033]7701;0123;Q;L;1;2;3;4\007 this\n'")
        child.expect_exact("see this")
        child.sendline("exit")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert "1 sequence(s) that imitate the shell's guard were dropped" in guarded.serving.recorder.markers(1)


async def test_the_guard_cannot_be_looked_at(guarded: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        for line in ("declare -f __sp_ask", "unset -f __sp_gate", "__sp_s=0", "readonly PS0; PS0=; __sp_belt() { :; }"):
            child.sendline(line)
            child.expect_exact("The shell's guard cannot be looked at or changed.")
        child.sendline("exit")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert guarded.serving.denied == 4


@pytest.fixture
async def held(guarded: Gateway, sshd: Sshd) -> FakeServing:
    """A session in which ``touch`` waits for a DBA."""
    guarded.serving = serving_for(sshd, ALLOW, HOLD, shell="guarded")
    return guarded.serving


async def test_a_held_line_runs_by_itself_after_the_yes(guarded: Gateway, held: FakeServing, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send(f"touch {tmp_path}/victim\r")
        child.expect_exact("for dba to agree: https://gw.example/approvals/req_1")
        child.send("echo typed ahead\r")
        child.expect(r"waiting, (?!0:00)\d+:\d\d")
        loop.call_soon_threadsafe(held.approvals.release.set)
        child.expect(r"\rtyped ahead\r\n")
        child.send("exit\r")

    assert await at_terminal(guarded.ssh(), person) == 0
    await guarded.idle()
    assert victims(tmp_path)
    markers = held.recorder.markers(1)
    assert markers[2].startswith(f"allowed: touch {tmp_path}/victim (")
    assert markers[2].endswith("approved by carol@example.com (req_1)")
    assert markers[3].startswith("allowed: echo typed ahead")
    (operation, _), *_ = held.approvals.asked
    assert dict(operation.environment)["PWD"] == pwd.getpwuid(os.getuid()).pw_dir


async def test_ctrl_c_withdraws_a_held_line_and_the_shell_goes_on(guarded: Gateway, held: FakeServing, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send(f"touch {tmp_path}/victim\r")
        child.expect_exact("for dba to agree")
        child.send("\x03")
        child.expect_exact("You withdrew the request, so nothing ran.")
        child.expect_exact("ready> ")
        child.send("echo still $((1+1))\r")
        child.expect("still 2")
        child.send("exit\r")

    assert await at_terminal(guarded.ssh(), person) == 0
    await guarded.idle()
    assert not victims(tmp_path)
    assert held.approvals.used == []


async def test_what_runs_before_a_prompt_is_nobodys_line(guarded: Gateway, sshd: Sshd) -> None:
    # A denied one would abort the prompt, which would run it again, for ever.
    guarded.serving = serving_for(sshd, PERMIT, NOT.replace("touch", "true"), shell="guarded")
    profile = sshd.home / ".bash_profile"
    profile.write_text("PROMPT_COMMAND='x=1; true'\n")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline("true")
        child.expect_exact("sallyport: Not that.")
        child.sendline("PROMPT_COMMAND='y=2; true; echo before'")
        child.expect_exact("before\r\n")
        child.sendline("true")
        child.expect_exact("sallyport: Not that.")
        child.expect_exact("before\r\n")
        child.sendline("echo $x$y")
        child.expect("12\r\n")
        child.sendline("exit")

    try:
        assert await at_terminal(guarded.ssh(), person) == 0
    finally:
        profile.unlink()
    await guarded.idle()
    assert guarded.serving.denied == 2


async def test_a_shell_that_prompts_without_end_is_ended(guarded: Gateway, sshd: Sshd) -> None:
    profile = sshd.home / ".bash_profile"
    profile.write_text("PS1='$(kill -INT $$)$ '\n")

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("sallyport: The shell asked without end, so it was ended.")

    try:
        assert await at_terminal(guarded.ssh(), person) == 126
    finally:
        profile.unlink()
