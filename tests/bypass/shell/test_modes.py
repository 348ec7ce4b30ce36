"""Terminals that swallow characters: what the gateway types to start a shell must arrive as it was typed.

A terminal with flow control takes out what stands for "go on", whatever character that is, and one with keys for signals takes
out those. The client says which they are before there is a shell (RFC 4254 §8), and ``stty`` may say so later. Without its k's a
guard had no ``kill`` to discard a line with.
"""

from __future__ import annotations

import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pexpect
import pytest

from agent.core.shell.guard import boot
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, gateway, identity, serving_for, sshd
from tests.integration.ssh.test_nested import PROMPT, begin, enter, say
from tests.integration.ssh.test_shell import at_terminal
from tests.integration.ssh.test_transfers import connect
from tests.patience import HANG_S

__all__ = ["gateway", "identity", "sshd"]

#: What is typed.
GUARD = "\n".join(dialect.guard("0123456789abcdef", login=True) for dialect in boot.GUARDS.values())


def goes_on(modes: list[Any], key: bytes) -> None:
    """Have the terminal's output go on at ``key``."""
    modes[0] |= termios.IXON
    modes[6][termios.VSTART] = key


def suspends(modes: list[Any], key: bytes) -> None:
    """Suspend programs at ``key``, of which the first of a session takes no notice."""
    modes[3] |= termios.ISIG | termios.NOFLSH
    modes[6][termios.VSUSP] = key


def people_have(modes: list[Any], key: bytes) -> None:
    """Leave it as people have it."""


def started(setting: Callable[[list[Any], bytes], None], key: bytes) -> pexpect.spawn:
    """A first half that runs at a terminal which is set so."""

    def prepare() -> None:
        modes = termios.tcgetattr(0)
        setting(modes, key)
        termios.tcsetattr(0, termios.TCSANOW, modes)

    child = pexpect.spawn("/bin/sh", ["-c", boot.code("none")], timeout=HANG_S, preexec_fn=prepare)
    child.delaybeforesend = None
    child.expect_exact("7701;boot;none\x07")
    return child


@pytest.mark.parametrize("setting", [goes_on, suspends, people_have])
@pytest.mark.parametrize("key", [b"k", b"z", b"!", b"-", b"8", b"@"])
def test_what_starts_a_shell_arrives_whole(tmp_path: Path, setting: Callable[[list[Any], bytes], None], key: bytes) -> None:
    child = started(setting, key)
    child.send(boot._line(boot.WORD, f"printf %s {boot.quoted(GUARD)} > {tmp_path}/guard; exit\n"))
    child.expect(pexpect.EOF)
    child.close()
    assert (tmp_path / "guard").read_text() == GUARD


@pytest.mark.servers
@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("setting", "user"), [("ixon start Z", "noZbody"), ("noflsh susp Z", "noZbody"), ("iuclc", "NOBODY")])
async def test_a_shell_starts_as_it_was_decided_or_not(
    sshd: Sshd, identity: FakeIdentity, tmp_path: Path, shell: str, setting: str, user: str
) -> None:
    """Its innocent twins are those of tests/integration/ssh/test_nested.py."""
    gateway = Gateway(identity, tmp_path)
    gateway.serving = serving_for(sshd, "permit(principal, action, resource);", shell="guarded")
    await gateway.listen()

    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, shell)
        say(child, f"sudo -u {user} bash", "unknown user")
        say(child, f"stty {setting}; echo set-$((40+2))", "set-42")
        child.send("\x10\x10\r")  # the line before, typed while the terminal was as it should be
        child.expect_exact("Run: stty sane")
        say(child, "stty sane; id -un", "root\r\n")
        child.send("exit\r")
        child.expect(PROMPT)
        child.send("exit\r")

    try:
        await at_terminal(gateway.ssh(), person)
        await gateway.idle()
    finally:
        await gateway.close()


@pytest.mark.servers
async def test_keys_of_a_terminal_are_no_letters(gateway: Gateway) -> None:
    asked = {
        asyncssh.PTY_VINTR: ord("d"), asyncssh.PTY_VSTART: ord("k"), asyncssh.PTY_VSUSP: ord("z"), asyncssh.PTY_IXON: 1,
        asyncssh.PTY_IUCLC: 1, asyncssh.PTY_VEOF: 4, asyncssh.PTY_VKILL: 24, asyncssh.PTY_VERASE: 127, asyncssh.PTY_ECHOCTL: 0,
    }  # fmt: skip
    async with await connect(gateway) as conn:
        done = await conn.run("stty -a", term_type="xterm", term_size=(80, 24), term_modes=asked)
    said = " ".join(str(done.stdout).split())
    for each in ("intr = ^C;", "start = ^Q;", "susp = ^Z;", " ixon ", " -iuclc "):
        assert each in said
    # What people do ask for.
    for each in ("kill = ^X;", "erase = ^?;", "eof = ^D;", " -echoctl"):
        assert each in said
