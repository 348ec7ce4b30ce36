"""How programs at a terminal end. pexpect gives a program a moment for that, and then tells nothing of how it ended, or fails."""

from __future__ import annotations

import signal
from typing import Final

import pexpect

_SLICE_S: Final = 0.05


def rest(child: pexpect.spawn, seconds: float) -> None:
    """Read what a program says for so many seconds of this process's own: while it was stopped, it has not waited.

    For what is to happen in the middle of something else. What must have happened is waited for by what shows it.
    """
    for _ in range(round(seconds / _SLICE_S)):
        child.expect(pexpect.TIMEOUT, timeout=_SLICE_S)


def end(child: pexpect.spawn) -> None:
    """End a program that may still run, whatever it does."""
    if child.isalive():
        child.kill(signal.SIGKILL)
    status(child)


def status(child: pexpect.spawn) -> int:
    """Return the exit status of a program that has let go of its terminal, however long it takes to be gone; -1 for a signal."""
    if not child.closed and child.isalive():
        child.wait()
    child.ptyproc.delayafterclose = 0
    child.close()
    return int(child.exitstatus if child.exitstatus is not None else -1)
