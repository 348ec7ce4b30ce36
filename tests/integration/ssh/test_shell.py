"""Interactive shells through the plug-in: a person at a real terminal, with real ssh, bash and vim."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.integration.plugin_listener import run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.terminal import end, status
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


#: A prompt of either kind of shell, and nothing behind it. A prompt as wide as the terminal is followed by what makes it wrap.
ANY_PROMPT = r"[$#] ( \r)?(\x1b\[[?0-9]*[a-zA-Z])*\Z"


async def at_terminal(command: list[str], person: Callable[[pexpect.spawn], None], size: tuple[int, int] = (30, 200)) -> int:
    """Let ``person`` sit before ``command``; pexpect blocks, so they sit in a thread. Returns the exit status.

    The terminal is wide by default: prompts show the folder of a test, and how long its name is depends on the machine.
    """

    def sit() -> int:
        child = pexpect.spawn(
            command[0],
            command[1:],
            timeout=HANG_S,
            dimensions=size,
            env={"TERM": "xterm", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
        try:
            person(child)
            child.expect(pexpect.EOF)
            return status(child)
        finally:
            end(child)

    return await asyncio.to_thread(sit)


def prompt(child: pexpect.spawn) -> None:
    child.sendline("PS1='ready''> '; stty -echo 2>/dev/null; set +o history")
    child.expect("ready> ")


async def test_a_shell_is_announced_recorded_and_ends_with_its_status(gateway: Gateway) -> None:
    sid = gateway.serving.claims.sid

    def person(child: pexpect.spawn) -> None:
        child.expect_exact(f"sallyport: this shell is recorded ({sid})")
        prompt(child)
        child.sendline("echo $((6*7))-is-it")
        child.expect("42-is-it")
        child.sendline("exit 5")

    assert await at_terminal(gateway.ssh(), person) == 5
    await gateway.idle()
    recorder = gateway.serving.recorder
    assert recorder.markers(1) == ["allowed: interactive shell (rule-1)"]
    assert "this shell is recorded" in recorder.text(1)
    assert "42-is-it" in recorder.text(1)
    assert recorder.lines(1, "cast")[0]["term"] == {"cols": 200, "rows": 30, "type": "xterm"}
    assert recorder.lines(1, "cast")[-1][1:] == ["x", "5"]


async def test_what_is_typed_unseen_is_not_recorded(gateway: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline("read -s secret; echo got ${#secret}")
        child.sendline("hunter2-hunter2")
        child.expect("got 15")
        child.sendline("exit")

    await at_terminal(gateway.ssh(), person)
    await gateway.idle()
    assert b"hunter2" not in gateway.serving.recorder.written[1, "cast"]


async def test_the_size_follows_the_window(gateway: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline("stty size")
        child.expect("30 200")
        child.setwinsize(41, 133)
        child.sendline("for i in $(seq 50); do stty size | grep '41 133' && break; sleep 0.1; done")
        child.expect("41 133")
        child.sendline("exit")

    assert await at_terminal(gateway.ssh(), person) == 0
    await gateway.idle()
    assert ["r", "133x41"] in [line[1:] for line in gateway.serving.recorder.lines(1, "cast")[1:]]


async def test_control_c_and_completion(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "a-rather-long-name").write_text("found-it")

    def person(child: pexpect.spawn) -> None:
        child.sendline("PS1='ready''> '")
        child.expect("ready> ")
        child.sendline("echo in''side; cat")
        # The terminal echoes what it is sent once it is the program's.
        child.expect_exact("inside\r\n")
        child.sendline("echoed")
        child.expect("echoed\r\nechoed")
        child.sendintr()
        child.expect("ready> ")
        child.sendline("echo status $?")
        child.expect("status 130")
        child.send(f"cat {tmp_path}/a-ra\t")
        child.expect("ther-long-name")
        child.sendline("")
        child.expect("found-it")
        child.expect("ready> ")
        child.sendline("exit 0")

    assert await at_terminal(gateway.ssh(), person) == 0


@pytest.mark.skipif(shutil.which("vim") is None, reason="vim is not installed")
async def test_vim_opens_saves_and_quits(gateway: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline(f"vim -u NONE -n {tmp_path}/note")
        child.expect("~")
        child.send("ihello from vim\x1b")
        child.send(":wq\r")
        child.expect("ready> ")
        child.sendline("exit")

    assert await at_terminal(gateway.ssh(), person) == 0
    assert (tmp_path / "note").read_text() == "hello from vim\n"
    await gateway.idle()
    assert "hello from vim" in gateway.serving.recorder.text(1)


async def test_a_shell_without_a_terminal_is_decided_by_what_it_is_fed(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    gateway.serving = serving_for(
        sshd, 'permit(principal, action == Action::"run", resource) unless { context.verbs.contains("touch") };'
    )
    ran = await run(gateway.ssh("-T"), f"touch {tmp_path}/evidence\n".encode())
    assert ran.status == 126
    assert b"(denied, " in ran.err
    assert not (tmp_path / "evidence").exists()


async def test_without_the_option_there_are_no_shells(gateway: Gateway, sshd: Sshd) -> None:
    gateway.serving = serving_for(sshd, shell=None)

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("Interactive shells are not enabled on this target.")

    assert await at_terminal(gateway.ssh(), person) == 126
    assert gateway.serving.denied == 1


async def test_policy_can_deny_shells(gateway: Gateway, sshd: Sshd) -> None:
    rule = '@message("No shells on Fridays.") forbid(principal, action, resource) when { context.flags.contains("shell") };'
    gateway.serving = serving_for(sshd, "permit(principal, action, resource);", rule)

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("sallyport: No shells on Fridays. (denied, ")

    assert await at_terminal(gateway.ssh(), person) == 126
    assert (await run(gateway.ssh("echo but commands"))).out == b"but commands\n"
