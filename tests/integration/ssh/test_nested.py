"""Shells inside of guarded shells: real bash, zsh, fish, su, sudo and ssh, each with a guard of its own."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import NOT, victims
from tests.integration.ssh.test_held import ALLOW, HOLD
from tests.integration.ssh.test_shell import at_terminal
from tests.patience import until

pytestmark = pytest.mark.servers

#: What cannot be known is not permitted, so every one of these shells is known to be guarded.
KNOWN = 'permit(principal, action, resource) unless { context.effects.contains("unknown") || context.flags.contains("opaque") };'
#: The last prompt that a shell shows, however it ends.
PROMPT = r"[$#>](\x1b(\[[?0-9;]*[a-zA-Z]|[=>])| |\r)*$"
#: Ways into another shell that need no password, as root.
WAYS = {
    "bash": "bash",
    "login": "bash -l",
    "sudo -i": "sudo -i",
    "sudo -s": "sudo -s",
    "sudo bash": "sudo -u root bash",
    "sudo su": "sudo su -",
    "su": "su",
    "su -": "su -",
    "env": "env -i TERM=xterm bash",
    "exec": "exec bash",
}


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    missing = [name for name in ("sudo", "zsh", "fish") if shutil.which(name) is None]
    if missing:
        pytest.fail(f"missing: apt-get install {' '.join(missing)} (make setup does)")
    if os.getuid() != 0:
        pytest.skip("su and sudo ask for no password only as root")


@pytest.fixture
async def guarded(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd, KNOWN, NOT, shell="guarded")
    await gate.listen()
    yield gate
    await gate.close()


def begin(child: pexpect.spawn) -> None:
    child.delaybeforesend = None
    child.expect_exact("every line is decided before it runs")
    child.expect(PROMPT)


def enter(child: pexpect.spawn, line: str) -> None:
    """Go into another shell, or out of it."""
    child.send(line + "\r")
    child.expect(PROMPT)


def say(child: pexpect.spawn, line: str, answer: str) -> None:
    child.send(line + "\r")
    child.expect_exact(answer)
    child.expect(PROMPT)


def commands(gateway: Gateway) -> list[tuple[str, int, int | None]]:
    """Each line that ran: its text, its depth, its status."""
    entries = gateway.serving.recorder.lines(1, "jsonl")
    return [(each["text"], each.get("depth", 0), each["exit"]) for each in entries if each.get("event") == "command"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_shell_in_a_shell_is_guarded(guarded: Gateway, tmp_path: Path, way: str) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, way)
        say(child, "echo in-$((6*7))", "in-42\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        child.send("exit 5\r")
        if not way.startswith("exec"):
            child.expect(PROMPT)
            say(child, "echo out-$?", "out-5\r\n")
            child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    recorder = guarded.serving.recorder
    assert not victims(tmp_path)
    depth = 0 if way.startswith("exec") else 1
    inner = [("echo in-$((6*7))", depth, 0), ("exit 5", depth, 5)]
    assert commands(guarded) == (
        [(way, 0, None), *inner] if not depth else [*inner, (way, 0, 5), ("echo out-$?", 0, 0), ("exit", 0, 0)]
    )
    assert "7701" not in recorder.text(1)
    assert "__sp_" not in recorder.text(1)
    assert "stty" not in recorder.text(1)
    assert guarded.serving.denied == 1


def another() -> str:
    """The name of an account that is not root's, and has bash."""
    for each in pwd.getpwall():
        if each.pw_uid and each.pw_shell.endswith("/bash") and Path(each.pw_dir).is_dir():
            return each.pw_name
    pytest.skip("no other account here has bash")


@pytest.mark.parametrize("way", ["su {}", "su - {}", "sudo -u {} bash", "sudo su - {}", "sudo -iu {}"])
async def test_another_account_is_guarded(guarded: Gateway, tmp_path: Path, way: str) -> None:
    name = another()

    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, way.format(name))
        say(child, "echo in-$(id -un)", f"in-{name}\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit 5")
        say(child, "echo out-$?", "out-5\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    assert commands(guarded) == [
        ("echo in-$(id -un)", 1, 0),
        ("exit 5", 1, 5),
        (way.format(name), 0, 5),
        ("echo out-$?", 0, 0),
        ("exit", 0, 0),
    ]
    entries = [each for each in guarded.serving.recorder.lines(1, "jsonl") if each.get("event") == "command"]
    assert entries[0]["account"].startswith(f"{name}@")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_inside_of_bash(guarded: Gateway, tmp_path: Path, shell: str) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, shell)
        say(child, f"echo {shell}''-in", f"{shell}-in\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        # And bash in it again: each of the three starts others in its own way.
        enter(child, "bash")
        say(child, "echo bash''-in-$SHLVL", "bash-in-3\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        child.send("exit\r")
        child.expect(PROMPT)
        say(child, f"echo {shell}''-again", f"{shell}-again\r\n")
        child.send("exit\r")
        child.expect(PROMPT)
        say(child, "echo out''-again", "out-again\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    assert [(text, depth) for text, depth, _ in commands(guarded)] == [
        (f"echo {shell}''-in", 1),
        ("echo bash''-in-$SHLVL", 2),
        ("exit", 2),
        ("bash", 1),
        (f"echo {shell}''-again", 1),
        ("exit", 1),
        (shell, 0),
        ("echo out''-again", 0),
        ("exit", 0),
    ]
    recorder = guarded.serving.recorder
    assert "7701" not in recorder.text(1)
    assert "__sp_" not in recorder.text(1)


async def test_the_history_holds_what_was_typed(guarded: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, "bash")
        enter(child, "exit")
        child.send("\x1b[A")
        child.expect_exact("bash")
        child.send("\x03")
        child.expect(PROMPT)
        say(child, "history 2 | cut -c8-", "bash\r\nhistory 2 | cut -c8-\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)


async def test_shells_end_in_many_ways(guarded: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        for way, said in (("\x04", "exit"), ("kill -KILL $$\r", "Killed"), ("exit 3\r", "exit"), ("exec false\r", "exec false")):
            enter(child, "bash")
            say(child, "echo in''-it", "in-it\r\n")
            child.send(way)
            # The line itself looks like the end of a prompt.
            child.expect_exact(said + "\r\n")
            child.expect(PROMPT)
            say(child, "echo out-$?-$SHLVL", "-1\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    ran = commands(guarded)
    assert [each for each in ran if each[0].startswith(("kill", "exit 3", "exec", "bash"))] == [
        ("bash", 0, 0),
        ("kill -KILL $$", 1, 137),
        ("bash", 0, 137),
        ("exit 3", 1, 3),
        ("bash", 0, 3),
        ("exec false", 1, 1),
        ("bash", 0, 1),
    ]


async def test_a_stopped_shell_goes_on(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, "bash")
        say(child, "inner=yes", "inner=yes\r\n")
        child.send("kill -STOP $$\r")
        child.expect_exact("Stopped")
        child.expect(PROMPT)
        say(child, "echo outer-$inner-$?", "outer--147\r\n")
        child.send("fg\r")
        child.expect(PROMPT)
        say(child, "echo inner-$inner", "inner-yes\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)


async def test_five_deep(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        for way in ("bash", "sudo -i", "zsh", "su -", "bash -l"):
            enter(child, way)
        say(child, "echo deep-$((6*7))", "deep-42\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        for left in range(1, 6):
            child.send("exit\r")
            # Its own line and the one that had started it have ended. Before that, sudo and su drop what is typed.
            until(lambda left=left: len(commands()) > 2 * left, "the end of both lines")
            child.expect(PROMPT)
        say(child, "echo level-$SHLVL", "level-1\r\n")
        child.send("exit\r")

    def commands() -> list[dict[str, Any]]:
        return [each for each in guarded.serving.recorder.lines(1, "jsonl") if each.get("event") == "command"]

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    entries = commands()
    assert [each.get("depth", 0) for each in entries] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0, 0]
    assert entries[0]["account"].startswith("root@")


async def test_an_approval_of_a_line_is_of_the_shell_it_is_in(guarded: Gateway, sshd: Sshd) -> None:
    guarded.serving = serving_for(sshd, ALLOW, HOLD, shell="guarded")
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, "sudo -i")
        enter(child, "bash")
        child.send("touch /nonexistent/victim\r")
        child.expect_exact("for dba to agree")
        loop.call_soon_threadsafe(guarded.serving.approvals.release.set)
        child.expect_exact("cannot touch")
        child.expect(PROMPT)
        # What is typed ahead of sudo's end is dropped by sudo, guarded or not.
        enter(child, "exit")
        enter(child, "exit")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    (operation, _), *_ = guarded.serving.approvals.asked
    assert dict(operation.environment) == {"PWD": "/root", "INSIDE": "sudo -i > bash"}
    assert "nested" in operation.flags
