"""Ctrl-C at each moment of a question: zsh is stopped behind every system call, from there to where it waits."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import itertools
import os
import platform
import re
import signal
import struct
import termios
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

import pytest

from tests.integration.ssh.test_missed import Guarded
from tests.integration.terminal import end
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

PROMPT: Final = rb"(?s)\x1b\]7701;\w+;D;.*;B\x07"
#: ptrace(2): requests, the option that marks stops at system calls, and what kind of one it is.
_DETACH, _SYSCALL, _SEIZE, _INTERRUPT, _INFO = 17, 24, 0x4206, 0x4207, 0x420E
_MARKED: Final = 1
_ENTRY, _EXIT = 1, 2
#: struct ptrace_syscall_info: the kind, the architecture, where it is, and for an entry the number and its arguments.
_CALL: Final = struct.Struct("=B3xIQQ7Q")
#: The numbers of *read* and *write*.
_NUMBERS: Final = {"x86_64": (0, 1), "aarch64": (63, 64)}
#: What machines say on which nobody may stop another process, or be told where it stopped.
_REFUSED: Final = (errno.EPERM, errno.EIO, errno.ENOSYS, errno.EINVAL)


class Stepped:
    """A process that stops where it enters and leaves the kernel."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._libc.ptrace.restype = ctypes.c_long
        self._ask(_SEIZE, None, _MARKED)
        self._ask(_INTERRUPT)
        os.waitpid(pid, 0)

    def _ask(self, request: int, address: int | None = None, data: int | None = None) -> None:
        if self._libc.ptrace(request, self._pid, address, data) == -1:
            raise OSError(ctypes.get_errno(), "ptrace")

    def step(self) -> tuple[int, int, int, int]:
        """Go on to the next stop. Returns its kind, and for an entry the call, its text's address and its size."""
        delivered = 0
        while True:
            self._ask(_SYSCALL, None, delivered)
            _, status = os.waitpid(self._pid, 0)
            assert os.WIFSTOPPED(status), "it ended"
            if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
                break
            delivered = os.WSTOPSIG(status) if status >> 16 == 0 else 0
        found = ctypes.create_string_buffer(_CALL.size)
        self._ask(_INFO, _CALL.size, ctypes.addressof(found))
        kind, _, _, _, number, _, address, size, *_ = _CALL.unpack(found.raw)
        return kind, number, address, size

    def text(self, address: int, size: int) -> bytes:
        """What it is about to write."""
        with Path(f"/proc/{self._pid}/mem").open("rb", 0) as memory:
            memory.seek(address)
            return memory.read(size)

    def until_signalled(self, number: int) -> None:
        """Wait until a signal stands before it."""
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            status = Path(f"/proc/{self._pid}/status").read_text()
            if any(int(pending, 16) >> (number - 1) & 1 for pending in re.findall(r"(?:Sig|Shd)Pnd:\s*(\w+)", status)):
                return
            time.sleep(0.001)
        raise AssertionError("no signal came")

    def let_go(self) -> None:
        """Let it run."""
        self._ask(_DETACH)


def unread(tty: FileIO) -> int:
    """Return how many keys stand in a terminal."""
    count = array.array("i", [0])
    fcntl.ioctl(tty, termios.FIONREAD, count)
    return count[0]


def stop_at(stepped: Stepped, moment: int, tty: FileIO) -> bool:
    """Stop where it has left the kernel for the ``moment``-th time since it asked. False where it waits before that."""
    read, write = _NUMBERS[platform.machine()]
    asked, left = False, 0
    while True:
        kind, number, address, size = stepped.step()
        if kind == _EXIT and asked:
            left += 1
            if left == moment:
                return True
        elif kind == _ENTRY and number == write:
            asked = asked or b";Q;" in stepped.text(address, size)
        elif kind == _ENTRY and number == read and asked and not unread(tty):
            return False


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    shell = Guarded("zsh", tmp_path)
    yield shell
    end(shell.child)


def interrupted(guarded: Guarded, moment: int) -> bool:
    """Type a line and more, and Ctrl-C at a moment of the line's question. False where the shell waits before that."""
    stepped = Stepped(guarded.child.pid)
    with Path(f"/proc/{guarded.child.pid}/fd/0").open("rb", 0) as tty:
        guarded.type(b"echo >> made\rahead")
        guarded.go_on()
        within = stop_at(stepped, moment, tty)
        guarded.type(b"\x03")
        stepped.until_signalled(signal.SIGINT)
        stepped.let_go()
    return within


@pytest.mark.skipif(platform.machine() not in _NUMBERS, reason="system calls have other numbers here")
def test_ctrl_c_at_any_moment_of_a_question_leads_to_a_prompt(guarded: Guarded, tmp_path: Path) -> None:
    guarded.until("prompt")
    for moment in itertools.count(1):
        try:
            within = interrupted(guarded, moment)
        except OSError as refused:
            if refused.errno not in _REFUSED:
                raise
            pytest.skip(f"no process can be stopped here: {refused}")
        # What it said before is lost, the question too.
        guarded.child.expect(PROMPT)
        guarded.hear(guarded.child.after)
        guarded.type(b"echo >> more\r")
        guarded.until("prompt")
        assert len((tmp_path / "more").read_text()) == moment
        assert not (tmp_path / "made").exists()
        if not within:
            break
    assert moment > 8
