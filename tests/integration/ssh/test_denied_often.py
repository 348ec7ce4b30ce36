"""Denied lines in great numbers, typed as people, pastes and programs type them, beside lines that must all run.

``DENIED_LINES=3000`` types so many in each shell (``make stress`` does); the suite types a sample. ``DENIED_SEED`` chooses
other ones.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pexpect
import pytest

from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.locked import GREETING as LOCKED
from tests.integration.ssh.locked import account
from tests.integration.ssh.many import Many, Row
from tests.integration.ssh.test_guarded import NOT
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

LINES: Final = int(os.environ.get("DENIED_LINES", "40"))
SEED: Final = int(os.environ.get("DENIED_SEED", "1"))
#: Lines that are typed before anybody looks at what became of them.
BATCH: Final = 8
GUARDED: Final = "every line is decided before it runs"
#: How prompts end, whosever they are.
READY: Final = r"[#$%>] ?(\x1b(\[[?0-9;]*[a-zA-Z]|[=>])| |\r)*\Z"
#: What is not known is not permitted.
PERMIT: Final = 'permit(principal, action, resource) unless { context.effects.contains("unknown") };'
SHELLS: Final = [
    ("guarded", "bash"), ("guarded", "zsh"), ("guarded", "fish"), ("locked", "dash"), ("locked", "bash"), ("locked", "busybox"),
]  # fmt: skip
UP: Final = "\x1b[A"
SEQUENCE: Final = re.compile(r"(\x1b\[[0-9]*[A-Z~])")

#: Spellings of what is forbidden, each one line.
SPELLINGS: Final = [
    "touch {f}", "  touch {f}", "/usr/bin/touch {f}", "command touch {f}", "env A=1 touch {f}", "true; touch {f}",
    "true && touch {f}", "touch {f} && true", "touch {f} > /dev/null", "touch {f} | cat",
]  # fmt: skip
POSIX: Final = [
    "(touch {f})", "{{ touch {f}; }}", "echo $(touch {f})", "for i in 1\rdo touch {f}\rdone", "if true\rthen touch {f}\rfi",
    "cat <<X\r$(touch {f})\rX", "touch '{f}\r'", "touch {f} \\\r-c",
]  # fmt: skip
FISH: Final = [
    "begin; touch {f}; end",
    "echo (touch {f})",
    "for i in 1\rtouch {f}\rend",
    "if true\rtouch {f}\rend",
    "touch '{f}\r'",
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Sshd]]:
    running = {}
    for mode, shell in SHELLS:
        folder = tmp_path_factory.mktemp(f"{mode}-{shell}")
        running[mode, shell] = account(folder, shell) if mode == "locked" else Sshd(folder, shell=shutil.which(shell))
        (running[mode, shell].home / ".zshrc").write_text("")
    yield running
    for each in running.values():
        each.stop()


class Typist:
    """Types at a shell by chance, and knows what must have become of it."""

    def __init__(self, row: Row, chance: random.Random, folder: Path, shell: str) -> None:
        self._row, self._chance, self._folder, self._shell = row, chance, folder, shell
        self.typed = 0
        """Lines that are forbidden."""
        self.questions = 0
        """How many of them the gateway must have said no to, at the least."""
        self.twins = 0
        self._interrupts = 0

    def batch(self) -> None:
        """Type some lines without waiting, and wait for what comes of them."""
        for _ in range(self._chance.randint(1, BATCH)):
            what = self._chance.random()
            if what < 0.15:
                self._twin()
            elif what < 0.25:
                self._send(UP + "\r")
            elif what < 0.4:
                self._paste()
            else:
                self._line()
        self._row.read_until(lambda: self._row.denied >= self.questions and self._ran() == self.twins, "a verdict on each line")
        if self._chance.random() < 0.2:
            self._interrupted()

    def _victim(self) -> str:
        self.typed += 1
        return f"{self._folder}/victim-{self.typed}"

    def _line(self) -> None:
        more = FISH if self._shell == "fish" else POSIX
        self._send(self._chance.choice(SPELLINGS + more).format(f=self._victim()) + self._chance.choice("\r\r\n"))
        self.questions += 1

    def _paste(self) -> None:
        lines = [f"touch {self._victim()}" for _ in range(self._chance.randint(1, 3))]
        self._send("\x1b[200~" + "\n".join(lines) + "\x1b[201~\r")
        # As many as the shell makes of it: the lines of one paste are one in most.
        self.questions += 1

    def _twin(self) -> None:
        self.twins += 1
        self._send(f"echo {self.twins} >> {self._folder}/twins\r")

    def _interrupted(self) -> None:
        """Ctrl-C in a line, or behind Enter. What is typed right behind it may be lost on the shell, as without a gateway."""
        enter = self._chance.choice(["", "\r"])
        self._send(f"touch {self._victim()}{enter}\x03")
        self._interrupts += 1
        file, told = self._folder / "synced", f"{self._interrupts}\n"
        deadline = time.monotonic() + HANG_S
        while not (file.exists() and file.read_text().endswith(told)):
            assert time.monotonic() < deadline, f"the shell takes no more lines: {self._row.decided[-10:]!r}"
            self._row.settle(READY, 0.3)
            self._row.child.send(f"\x15echo {self._interrupts} >> {file}\r")
            self._row.settle(READY, 0.3)
        # What was damaged on its way there was denied as well, maybe.
        self.questions = self._row.denied

    def _send(self, keys: str) -> None:
        """In pieces, as keys and networks come. Terminals send the sequence of one key at once, and fish waits 30 ms for it."""
        pieces = SEQUENCE.split(keys)
        while pieces:
            keys, pieces = pieces[0], pieces[1:]
            while keys:
                size = len(keys) if keys.startswith("\x1b") else self._chance.choice([1, 2, 5, 40, len(keys)])
                self._type(keys[:size])
                keys = keys[size:]

    def _type(self, keys: str) -> None:
        self._row.child.send(keys)
        if self._chance.random() < 0.1:
            self._row.child.expect(pexpect.TIMEOUT, timeout=self._chance.choice([0.001, 0.01, 0.03]))

    def _ran(self) -> int:
        file = self._folder / "twins"
        return len(set(file.read_text().split())) if file.exists() else 0


@pytest.mark.parametrize(("mode", "shell"), SHELLS, ids=[" ".join(each) for each in SHELLS])
def test_not_one_runs(servers: dict[tuple[str, str], Sshd], tmp_path: Path, mode: str, shell: str) -> None:
    many = Many(servers[mode, shell], PERMIT, NOT, shell=mode)
    try:
        with many.row(greeting=GUARDED if mode == "guarded" else LOCKED, ready=READY) as row:
            typist = Typist(row, random.Random(f"{SEED} {mode} {shell}"), tmp_path, shell)
            while typist.typed < LINES:
                typist.batch()
            row.close()
            denied = row.denied
    finally:
        many.close()
    assert not list(tmp_path.glob("victim*"))
    assert denied >= typist.questions
    assert (tmp_path / "twins").exists()
    told = f"{mode} {shell}: {typist.typed} forbidden lines typed, {denied} denied, 0 ran; {typist.twins} twins, all ran"
    print(told)  # noqa: T201 - what `make stress` is read for
