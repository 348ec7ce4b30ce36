"""The lines of recorded shells, as the screen shows them: real bash, zsh and fish, at a real terminal."""

from __future__ import annotations

import pexpect
import pytest

from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

SHELLS = {
    "bash": "exec env PS1='ready> ' bash --norc",
    "zsh": "exec env PS1='ready> ' zsh -f",
    "fish": "exec fish --no-config --init-command 'function fish_prompt; echo -n \"ready> \"; end'",
    "two-lines": "exec env PS1='\\n\\[\\e[1;36m\\]~/src\\[\\e[0m\\] on \\[\\e[35m\\]main\\[\\e[0m\\]\\nready> ' bash --norc",
}


def enter(child: pexpect.spawn, keys: str, shown: str) -> None:
    """Type ``keys`` one by one, each when the one before it is on the screen, which is what is read; and wait for what the line
    says and for the next prompt."""
    for key in keys:
        child.send(key)
        if key.isprintable() and not key.isdigit():  # a number may be masked
            child.expect_exact(key)
    child.send("\r")
    child.expect_exact(shown)
    child.expect_exact("ready> ")


@pytest.mark.parametrize("shell", SHELLS)
async def test_lines_are_seen_as_they_were_entered(gateway: Gateway, shell: str) -> None:
    def person(child: pexpect.spawn) -> None:
        child.expect_exact("this shell is recorded")
        child.expect(r"[$#%>] ")
        child.send(SHELLS[shell] + "\r")
        # Once as it was typed, once by the shell itself.
        child.expect(r"\n[^\n]*ready> ")
        enter(child, "printf '%s-%s\\n' a b", "a-b")
        child.send("\x1b[A")
        child.expect_exact("printf")
        enter(child, "", "a-b")
        enter(child, "printf '%s-%s\\n' axx\x7f\x7f c", "a-c")
        child.send("exit\r")

    await at_terminal(gateway.ssh(), person)
    await gateway.idle()
    twice = r"printf '%s-%s\n' a b"
    assert gateway.serving.recorder.seen(1)[-4:] == [twice, twice, r"printf '%s-%s\n' a c", "exit"]


async def test_what_does_not_echo_is_not_seen(gateway: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        child.expect_exact("this shell is recorded")
        child.expect(r"[$#%>] ")
        child.send(SHELLS["bash"] + "\r")
        child.expect(r"\n[^\n]*ready> ")
        child.send("read -s -p 'word? ' secret\r")
        child.expect_exact("word? ")
        child.expect_exact("word? ")
        child.send("hunter2-hunter2\r")
        child.expect_exact("ready> ")
        enter(child, "echo ${#secret}", "15")
        child.send("exit\r")

    await at_terminal(gateway.ssh(), person)
    await gateway.idle()
    assert gateway.serving.recorder.seen(1)[-3:] == ["read -s -p 'word? ' secret", "echo ${#secret}", "exit"]
    assert "hunter2" not in str(gateway.serving.recorder.lines(1, "cast"))


async def test_a_secret_that_was_typed_key_by_key_is_masked(gateway: Gateway, sshd: Sshd) -> None:
    gateway.serving = serving_for(sshd, 'permit(principal, action in [Action::"connect", Action::"run"], resource);')

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("this shell is recorded")
        child.expect(r"[$#%>] ")
        child.send(SHELLS["bash"] + "\r")
        child.expect(r"\n[^\n]*ready> ")
        enter(child, "echo 4111111111111111 | wc -c", "17")
        child.send("exit\r")

    await at_terminal(gateway.ssh(), person)
    await gateway.idle()
    line, last = gateway.serving.recorder.seen(1)[-2:]
    assert (line.startswith("echo "), line.endswith(" | wc -c"), last) == (True, True, "exit")
    assert "4111111111111111" not in line
