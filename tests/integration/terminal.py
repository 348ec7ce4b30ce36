"""How programs at a terminal end. pexpect gives a program a moment for that, and then tells nothing of how it ended, or fails."""

from __future__ import annotations

import signal

import pexpect


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
