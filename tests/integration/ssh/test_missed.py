"""Questions of real shells that nobody heard: Ctrl-C takes what stands unread in a terminal, and they are asked again."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path
from typing import Final

import pexpect
import pytest

from agent.core.shell.guard import boot
from agent.core.shell.guard.dialogue import Dialogue
from agent.core.units import Asked, Housekeeping, Unit
from tests.integration.terminal import end
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

#: A terminal that says nothing for this long is in a lull.
LULL_S: Final = 0.15
QUESTION: Final = rb"\x1b\]7701;\w+;Q;[^\x07]*\x07"


class Guarded:
    """A guarded shell at a terminal of its own, whose answers are all a yes."""

    def __init__(self, shell: str, home: Path) -> None:
        (home / ".zshrc").write_text("")
        self.dialogue = Dialogue(secrets.token_hex(16), lambda: secrets.token_hex(16), HANG_S)
        env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "TERM": "xterm", "LANG": "C.UTF-8", "SHELL": shutil.which(shell) or ""}
        self.child = pexpect.spawn("/bin/sh", ["-c", boot.BOOT], env=env, timeout=HANG_S, dimensions=(30, 200), cwd=home)
        self.child.delaybeforesend = None
        self.answers = True

    def _perform(self, units: list[Unit]) -> None:
        for unit in units:
            if isinstance(unit, Housekeeping):
                self.child.send(unit.data)
            elif isinstance(unit, Asked):
                if self.answers:
                    self.child.send(unit.data)
                self.dialogue.allowed(0)

    def type(self, keys: bytes) -> None:
        self.child.send(self.dialogue.typed(keys))

    def go_on(self) -> None:
        """Type what waits for the shell to say what came of an Enter."""
        self._perform(self.dialogue.flush())

    def hear(self, data: bytes) -> None:
        self._perform(self.dialogue.receive(data, 0))

    def _listen(self) -> None:
        """Read what the shell says next. What waits for a lull goes on after each, as it does at the agent."""
        deadline = time.monotonic() + HANG_S
        while True:
            try:
                return self.hear(self.child.read_nonblocking(65536, LULL_S if self.dialogue.waits else HANG_S))
            except pexpect.TIMEOUT:
                if time.monotonic() > deadline:
                    raise
                self.go_on()

    def until(self, state: str) -> None:
        while self.dialogue.state != state:
            self._listen()

    def miss(self) -> bytes:
        """Read a question that never arrives, and what stood before it. Returns the question."""
        self.child.expect(QUESTION)
        assert isinstance(self.child.after, bytes)
        return self.child.after


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_question_that_nobody_heard_is_asked_again(shell: str, tmp_path: Path) -> None:
    guarded = Guarded(shell, tmp_path)
    try:
        guarded.until("prompt")
        guarded.type(b"echo >> made\r")
        asked = guarded.miss()
        again = guarded.miss()
        assert again == asked
        assert not (tmp_path / "made").exists()
        guarded.hear(again)
        guarded.until("prompt")
        assert (tmp_path / "made").read_text() == "\n"
        guarded.type(b"echo >> more\r")
        # Not until it runs: the verdict's echo and the next prompt may come in one read.
        guarded.until("prompt")
        assert (tmp_path / "more").read_text() == "\n"
    finally:
        end(guarded.child)


def test_what_was_typed_meanwhile_comes_back(tmp_path: Path) -> None:
    guarded = Guarded("bash", tmp_path)
    try:
        guarded.until("prompt")
        guarded.type(b'read -r line; echo "$line" > made\r')
        guarded.miss()
        guarded.child.send(b"ty")
        guarded.hear(guarded.miss())
        guarded.until("running")
        guarded.type(b"ped\r")
        guarded.until("prompt")
        assert (tmp_path / "made").read_text() == "typed\n"
    finally:
        end(guarded.child)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_verdict_that_nobody_read_costs_its_line_and_no_more(shell: str, tmp_path: Path) -> None:
    guarded = Guarded(shell, tmp_path)
    try:
        guarded.until("prompt")
        guarded.type(b"echo >> made\r")
        guarded.answers = False
        guarded.hear(guarded.miss())
        guarded.answers = True
        assert guarded.dialogue.state == "answered"
        guarded.type(b"echo >> more\r")
        # It is before a prompt of its own first, and then before the one behind what was typed meanwhile.
        guarded.until("entered")
        guarded.until("prompt")
        assert (tmp_path / "more").read_text() == "\n"
        assert not (tmp_path / "made").exists()
    finally:
        end(guarded.child)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_blanks_that_were_typed_ahead_come_back(shell: str, tmp_path: Path) -> None:
    guarded = Guarded(shell, tmp_path)
    try:
        guarded.until("prompt")
        guarded.type(b'IFS= read -r a; IFS= read -r b; echo "$a;$b" > made\r')
        asked = guarded.miss()
        guarded.child.send(b"y\r  n \r")
        guarded.hear(asked)
        guarded.until("prompt")
        assert (tmp_path / "made").read_text() == "y;  n \n"
    finally:
        end(guarded.child)
