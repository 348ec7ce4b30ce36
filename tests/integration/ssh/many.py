"""Many shells behind one connection, for rows of a table that would otherwise spend their time on handshakes.

    one ssh (ControlMaster) ──► one connection of the plug-in ──► one connection to sshd
        └── for each row: a terminal, a channel, a shell of its own, a recording of its own

What a row inherits from the row before is the connection and nothing of a shell: processes, variables, history, terminals and
nonces are its own, and policy is looked up at each decision. A row that breaks the connection fails, and the next one gets
another. So what is tested here is shells; what connections do when they begin and end is tested where each test has its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.fakes.agent_runtime import FakeIdentity, FakeServing, make_policy
from tests.integration.loop import Loop
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.terminal import end, status
from tests.patience import HANG_S, until

#: At the beginning of a line, this and a full stop close a channel, whatever runs in it.
ESCAPE = "\x1d"
#: Seconds without a prompt after which what was typed is taken for something that shows none.
LULL_S = 1.0
#: Seconds after which a prompt that was recorded will not be shown any more.
LOST_S = 10.0
_LANGUAGE = ("-o", "SendEnv=LANG")


def plain(piece: str) -> str:
    """The line in what is typed: keys that mean something else stand around it, or a second line behind it."""
    return max(re.split(r"[\x00-\x1f]+|\[20[01]~|\\$", piece), key=len).strip()


class Row:
    """One shell: its terminal, and what the gateway made of it."""

    def __init__(self, child: pexpect.spawn, serving: FakeServing, channel: int) -> None:
        self.child = child
        self.serving = serving
        self.channel = channel
        self._denied = serving.denied

    @property
    def denied(self) -> int:
        """Operations of this row that were denied."""
        return self.serving.denied - self._denied

    @property
    def commands(self) -> list[dict[str, Any]]:
        """Lines that ran, as the transcript tells them."""
        return [entry for entry in self.serving.recorder.lines(self.channel, "jsonl") if entry.get("event") == "command"]

    @property
    def text(self) -> str:
        """What the cast shows."""
        return self.serving.recorder.text(self.channel)

    @property
    def written(self) -> bytes:
        """Everything that was recorded of this shell."""
        return b"".join(data for (channel, _), data in self.serving.recorder.written.items() if channel == self.channel)

    @property
    def over(self) -> bool:
        """True once the shell's recording says how it ended."""
        lines = self.serving.recorder.lines(self.channel, "cast")
        return any(line[1] == "x" or line[2] == "the client left" for line in lines[1:])

    def settle(self, ready: str, seconds: float) -> bool:
        """Give what was typed the time to happen: until a prompt stands there again, ``seconds`` where none does.

        True where a prompt stands there.
        """
        return self.child.expect([ready, pexpect.TIMEOUT], timeout=seconds) == 0

    def begins(self, ready: str) -> bool:
        """True once the first prompt stands there; false where it was recorded, and is not shown."""
        if self.settle(ready, LOST_S):
            return True
        # The machine may be that slow. What was recorded is on its way for as long again.
        until(lambda: re.search(ready, self.text), "a prompt in the recording")
        return self.settle(ready, LOST_S)

    @property
    def decided(self) -> list[str]:
        """The lines and commands that there was a verdict on."""
        verdicts = (each.partition(": ") for each in self.serving.recorder.markers(self.channel))
        return [text for verdict, _, text in verdicts if verdict in ("allowed", "denied", "refused")]

    def attack(self, pieces: Collection[str], ready: str, *, reached: Collection[str] = (), denied: int = 0) -> None:
        """Type ``pieces`` at the prompt, which may do anything to the shell, and leave. ``ready`` is what a prompt ends with.

        Those of ``pieces`` in ``reached`` are lines on which a verdict must come before anything else is typed, and ``denied`` is
        how many verdicts must be a no by then: what is stopped by being late, or mistyped, is not stopped.
        """
        typed: Counter[str] = Counter()
        try:
            for piece in pieces:
                self.child.send((piece + "\r").encode("utf-8", "surrogateescape"))
                # The end of what a program reads ends it, and a prompt comes.
                back = self.settle(ready, HANG_S if piece == "\x04" else 0.15)
                if piece in reached and not self._reach(typed, plain(piece)) and not back:
                    # The verdict was slow, and so is what comes of it.
                    self.settle(ready, LULL_S)
            self.read_until(lambda: self.denied >= denied, f"only {self.denied} were denied")
            # Whatever is left open is left: nothing must have come of it by then, nor on the way out.
            if any(each in piece for piece in pieces for each in ("&", "sleep")):
                self.child.expect(pexpect.TIMEOUT, timeout=0.3)
            else:
                self.settle(ready, 0.3)
            self.child.send("\x03\x03\r")
            self.settle(ready, 0.1)
            self.child.send("exit\r")
        except pexpect.EOF:
            pass
        self.leave(LULL_S)
        # Two shells at one terminal, and marks that make no sense, end the session: that is a no as well.
        assert self.denied >= denied or "(shell_unguarded, " in self.text, self.decided

    def work(self, lines: Collection[str], ready: str) -> None:
        """Type innocent ``lines``, the last of which says "twin", and leave: none of them may have been denied."""
        for number, line in enumerate(lines, 1):
            self.child.send(line + "\r")
            if number == len(lines):
                self.child.expect("twin\r\n")
            self.child.expect(ready)
        self.close()
        assert self.denied == 0

    def _reach(self, typed: Counter[str], line: str) -> bool:
        typed[line] += 1
        return self.read_until(lambda: sum(line in each for each in self.decided) >= typed[line], f"no verdict on {line!r}")

    def read_until(self, happened: Callable[[], bool], otherwise: str) -> bool:
        """Read on until it has ``happened``, which takes as long as the machine takes. True where it had happened by now.

        Raises EOF where the shell ends first.
        """
        if happened():
            return True
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            self.child.expect(pexpect.TIMEOUT, timeout=0.01)
            if happened():
                return False
        pytest.fail(f"{otherwise}: {self.decided[-10:]!r}")

    def leave(self, seconds: float = HANG_S) -> int:
        """Wait for the end of the shell, which was told to end; returns its status, or -1 where it had to be closed."""
        if self.child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=seconds) == 1:
            return self.close()
        left = status(self.child)
        self._ended()
        return left

    def close(self) -> int:
        """Close the channel, whatever runs in the shell."""
        self.child.send(f"\r{ESCAPE}.")
        self.child.expect(pexpect.EOF)
        status(self.child)
        self._ended()
        return -1

    def _ended(self) -> None:
        until(lambda: self.over, "the end of the shell's recording")


class Many:
    """A gateway before ``sshd`` in a thread of its own, and terminals on one connection to it."""

    def __init__(self, sshd: Sshd, *rules: str, shell: str) -> None:
        async def make() -> FakeServing:
            return serving_for(sshd, *rules, shell=shell)

        self._make = make
        self._folder = tempfile.TemporaryDirectory(prefix="many")
        self._loop = Loop()
        self._gate = Gateway(FakeIdentity(), Path(self._folder.name))
        self._loop.run(self._gate.listen)
        self._socket = Path(self._folder.name) / "master"
        self._master: subprocess.Popen[bytes] | None = None
        self._rows = 0

    def close(self) -> None:
        """End everything."""
        if self._master is not None:
            self._master.terminate()
            self._master.wait(HANG_S)
        self._loop.run(self._gate.close)
        self._loop.stop()
        self._folder.cleanup()

    @contextmanager
    def row(self, *rules: str, greeting: str, ready: str, size: tuple[int, int] = (30, 100)) -> Iterator[Row]:
        """A shell at a terminal, decided by ``rules``, which has said ``greeting`` and shows a prompt that ends with ``ready``.

        Once in a thousand sessions OpenSSH's master passes nothing on of what it was sent behind the greeting, and never will.
        Where the recording says that the prompt was shown, it was; the row is given another shell.
        """
        for _ in range(3):
            row = self._open(rules, size)
            try:
                row.child.expect_exact(greeting)
                if row.begins(ready):
                    yield row
                    return
            finally:
                end(row.child)
        pytest.fail("OpenSSH's master shows nothing")

    def _open(self, rules: Sequence[str], size: tuple[int, int]) -> Row:
        self._connect()
        serving = self._gate.serving
        assert serving is not None
        if rules:
            serving.in_force = make_policy(*rules, target=serving.target)
        self._rows += 1
        options = ["-S", str(self._socket), "-e", "^]", *_LANGUAGE]
        command = self._gate.ssh(options=options)
        child = pexpect.spawn(
            command[0], command[1:], timeout=HANG_S, dimensions=size,
            env={"TERM": "xterm", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )  # fmt: skip
        child.delaybeforesend = None
        return Row(child, serving, self._rows)

    def _connect(self) -> None:
        if self._master is not None and self._master.poll() is None and self._socket.exists():
            return
        self._gate.serving = self._loop.run(self._make)
        self._rows = 0
        self._master = subprocess.Popen(
            self._gate.ssh(options=["-M", "-N", "-S", str(self._socket), *_LANGUAGE]),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        master = self._master
        until(lambda: self._socket.exists() or master.poll() is not None, "a connection, or its end")
        assert master.poll() is None, f"no connection: {self._gate.notices}"


@contextmanager
def one_each(shells: Collection[str], folder: Callable[[str], Path]) -> Iterator[dict[str, Sshd]]:
    """Servers whose account has each of ``shells``, in folders of those names."""
    running = {shell: Sshd(folder(shell), shell=shutil.which(shell)) for shell in shells}
    yield running
    for each in running.values():
        each.stop()


@contextmanager
def crowds_of(servers: dict[str, Sshd], *rules: str, shell: str = "guarded") -> Iterator[dict[str, Many]]:
    """Gateways before each of ``servers``, under ``rules``."""
    crowds = {name: Many(sshd, *rules, shell=shell) for name, sshd in servers.items()}
    yield crowds
    for each in crowds.values():
        each.close()
