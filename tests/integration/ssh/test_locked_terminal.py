"""The terminal of a locked shell: its programs have it to themselves, names are completed, and lines come back whole."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.ssh.locked import READY, commands, locked, prompt, server, servers
from tests.integration.ssh.test_guarded import PERMIT
from tests.integration.ssh.test_shell import at_terminal
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

__all__ = ["locked", "server", "servers"]

#: It says that it has the terminal.
SLEEPS = "sh -c 'echo a''sleep; exec sleep 300'"


def interrupted(child: pexpect.spawn, *, pressed: bool = False) -> None:
    """Press Ctrl-C until a prompt comes. One that comes while the shell starts its program may meet neither of them."""
    if pressed and child.expect([READY, pexpect.TIMEOUT], timeout=0.5) == 0:
        return
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        child.send("\x03")
        if child.expect([READY, pexpect.TIMEOUT], timeout=0.5) == 0:
            return
    pytest.fail("Ctrl-C ends nothing")


async def test_programs_have_the_terminal_to_themselves(locked: Gateway, tmp_path: Path) -> None:
    typing = tmp_path / "typing"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("stty -echo; printf 'Password: '; read -r p; stty echo; echo ${#p}\r")
        child.expect_exact("\x1b[?2004lPassword: ")
        child.send("hunter2\r")
        child.expect_exact("7\r\n")
        child.expect(READY)
        child.send(f"{SLEEPS}\r")
        child.expect_exact("asleep\r\n")
        child.send("\x03")
        child.expect(READY)
        child.send("echo after $?\r")
        child.expect_exact("after 130")
        child.send(f"{SLEEPS}\r")
        child.expect_exact("asleep\r\n")
        child.send("\x1a")
        child.expect(READY)
        child.send("fg\r")
        # It says what goes on, and the line is not withdrawn by the key behind it.
        child.expect_exact("sleep 300")
        interrupted(child)
        child.setwinsize(40, 90)
        # ssh may read a key before it sees that its window has changed.
        child.send("until stty size | grep '40 90'; do sleep 0.1; done\r")
        child.expect_exact("40 90\r\n")
        child.expect(READY)
        child.send(f"(until [ -e {typing} ]; do sleep 0.1; done; echo late) & \r")
        child.expect(READY)
        child.send("echo ha")
        child.expect_exact("echo ha")
        typing.touch()
        child.expect_exact("late\r\n")
        child.expect(r"\$ echo ha\Z")
        child.send("lf\r")
        child.expect_exact("\x1b[?2004lhalf\r\n")
        child.send("vi -u NONE\r")
        child.expect_exact("\x1b[?1049h")
        child.send(":q!\r")
        child.expect(READY)
        child.send("exit 3\r")

    assert await at_terminal(locked.ssh(), person) == 3
    await locked.idle()
    assert b"hunter2" not in b"".join(locked.serving.recorder.written.values())


async def test_long_lines_run_at_once_and_ctrl_c_behind_them_is_for_their_program(locked: Gateway) -> None:
    paste = "cat > /dev/null <<'X'\n" + "a 'quoted' line; with $signs & \"more\"\n" * 400 + "X\n"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        # What has to be quoted on its way is several times as long there.
        child.send(f"\x1b[200~{paste}\x1b[201~\r")
        child.expect_exact("\x1b[?2004l")
        child.expect(READY)
        child.send(": " + "é" * 10_000 + "; sleep 60\r\x03")
        interrupted(child, pressed=True)
        child.send("echo $((2*$?))-is-it\r")
        child.expect_exact("260-is-it")
        child.send("exit 0\r")

    assert await at_terminal(locked.ssh(options=["-o", "SendEnv=LANG"]), person) == 0
    await locked.idle()
    assert [each["exit"] for each in commands(locked.serving)] == [0, 130, 0, 0]


async def test_tab_completes_names(locked: Gateway, tmp_path: Path) -> None:
    (tmp_path / "one long name").write_text("it is\n")
    (tmp_path / "two-a").write_text("")
    (tmp_path / "two-b").write_text("")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send(f"cd {tmp_path}\r")
        child.expect(READY)
        child.send("cat one\t")
        child.expect_exact("one\\ long\\ name ")
        child.send("\r")
        child.expect_exact("it is\r\n")
        child.expect(READY)
        child.send("echo tw\t")
        child.expect_exact("echo two-")
        child.send("\t")
        child.expect_exact("two-a  two-b\r\n")
        child.send("b\r")
        child.expect(READY)
        child.send("mkd\t")
        child.expect_exact("mkdir ")
        child.send("$no\t\x15exit\r")

    assert await at_terminal(locked.ssh(), person) == 0
    await locked.idle()
    assert [each["text"] for each in commands(locked.serving)][1:] == ["cat one\\ long\\ name ", "echo two-b", "exit"]
    asked = [entry for entry in locked.serving.recorder.lines(1, "jsonl") if entry.get("kind") == "complete"]
    assert [(each["text"], each["verdict"], each["objects"]) for each in asked] == [
        ("one", "allowed", [str(tmp_path)]),
        ("tw", "allowed", [str(tmp_path)]),
        ("two-", "allowed", [str(tmp_path)]),
        ("mkd", "allowed", []),
    ]


async def test_nothing_is_completed_where_policy_forbids_it(locked: Gateway, server: Sshd) -> None:
    forbid = 'forbid(principal, action, resource) when { context.kind == "complete" };'
    locked.serving = serving_for(server, PERMIT, forbid, shell="locked")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("cat /etc/pass\t")
        child.expect_exact("\x07")
        child.send("\x15exit\r")

    assert await at_terminal(locked.ssh(), person) == 0
    await locked.idle()
    assert not [entry for entry in locked.serving.recorder.lines(1, "jsonl") if entry.get("kind") == "complete"]
    assert locked.serving.denied == 0


async def test_what_is_said_beside_the_shell_leaves_its_line(locked: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("echo ha" + "l" * 120)
        child.expect("l{20}\\Z")
        loop.call_soon_threadsafe(warn)
        child.expect_exact("sallyport: 5 minutes left")
        child.expect("l{30}\\Z")
        child.send("f\r")
        child.expect_exact("\r\n\x1b[?2004lha" + "l" * 120 + "f")
        child.send("exit\r")

    def warn() -> None:
        locked.serving.warned("5 minutes left")

    loop = asyncio.get_running_loop()
    assert await at_terminal(locked.ssh(), person) == 0
