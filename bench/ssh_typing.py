"""Somebody at a shell: types a line, presses Enter, and looks for its first output."""

from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import termios
import time
import tty
from fcntl import ioctl

from bench.ssh_server import PROMPT
from bench.ways import Way

#: Seconds without a byte after which a shell has nothing more to draw.
QUIET_S = 0.02
_PATIENCE_S = 30.0


class Shell:
    """A shell in a terminal of its own; ``words`` start it where it is not the login shell."""

    def __init__(self, way: Way, *words: str) -> None:
        master, slave = pty.openpty()
        tty.setraw(slave)
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = way.command("ssh", "-tt", "-e", "none", way.host, *words)
        self._process = subprocess.Popen(command, env=way.environment, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL)
        os.close(slave)
        self._master = master
        self._number = 0
        try:
            self._until(PROMPT)
            self._settle()
        except BaseException:
            self.close()
            raise

    def enter(self, count: int) -> list[float]:
        """Run ``count`` commands; return the milliseconds from Enter until the first output of each."""
        return [self._once() for _ in range(count)]

    def close(self) -> None:
        """End it."""
        os.close(self._master)
        self._process.terminate()
        self._process.wait()

    def _once(self) -> float:
        self._number += 1
        # What is typed never looks like what is said: the shell takes the quotes out.
        os.write(self._master, b"echo q''%d" % self._number)
        self._settle()
        said = b"q%d" % self._number
        began = time.perf_counter()
        os.write(self._master, b"\r")
        rest = self._until(said)
        took = (time.perf_counter() - began) * 1000
        self._until(PROMPT, rest)
        self._settle()
        return took

    def _until(self, wanted: bytes, seen: bytes = b"") -> bytes:
        while wanted not in seen:
            if not select.select([self._master], [], [], _PATIENCE_S)[0]:
                raise RuntimeError(f"{wanted!r} did not come for {_PATIENCE_S:.0f} s, but {seen[-200:]!r}")
            seen += os.read(self._master, 65536)
        return seen[seen.index(wanted) + len(wanted) :]

    def _settle(self) -> None:
        while select.select([self._master], [], [], QUIET_S)[0]:
            os.read(self._master, 65536)
