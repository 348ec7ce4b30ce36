"""Agents that are born ready: everything is imported once, and each life is a fork that runs the agent's own command line.

    python -m tests.crash.nursery          one JSON line in (a command), one JSON line out (its answer)

    {"do": "start", "config": …, "log": …, "synced": …}   ─►  {"pid": …}
    {"do": "wait", "pid": …}                              ─►  {"status": …}     negative: the signal that ended it

A life is a process like any other: it is killed by its pid, and its sockets, threads and files go with it. Only its patience is
shorter than an operator's agent's, so that a test sees many chunks, segments, beats and retries in a second, and what it synced
is noted in ``synced``: what a power cut may take is what was written and not synced (see power.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from typing import Any

import agent.__main__
import agent.bootstrap
import agent.protocols.postgres.plugin
import agent.protocols.ssh.plugin
from agent.runtime.backoff import Backoff
from agent.runtime.control_socket import ControlSocket
from agent.runtime.journal import Journal
from agent.runtime.recorder import SpoolRecorder
from agent.runtime.room import Room
from agent.runtime.writer import Open


def main() -> None:
    alive: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "start":
            answer = {"pid": _start(asked["config"], asked["log"], asked["synced"])}
            alive.add(answer["pid"])
        else:
            answer = {"status": os.waitstatus_to_exitcode(os.waitpid(asked["pid"], 0)[1])}
            alive.discard(asked["pid"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in alive:  # whoever asked is gone, perhaps without having tidied
        os.kill(pid, signal.SIGKILL)


def _start(config: str, log: str, synced: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setsid()
        _redirect(os.devnull, os.O_RDONLY, 0)
        for descriptor in (1, 2):
            _redirect(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, descriptor)
        _hurry()
        _note_syncs(synced)
        agent.__main__.main(["run", "--config", config], standalone_mode=False)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else status
    finally:
        os._exit(status)


def _redirect(path: str, flags: int, descriptor: int) -> None:
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)


def _hurry() -> None:
    shorten(SpoolRecorder.__init__, chunk_seconds=0.3)
    shorten(Journal.__init__, segment_bytes=32 * 1024)
    shorten(ControlSocket.__init__, beat_s=1.0, stable_s=0.2)
    shorten(Backoff.__init__, first_s=0.02, longest_s=0.4)
    shorten(Room.__init__, every_s=0.1)


def shorten(function: Any, **defaults: float) -> None:
    """Change defaults of ``function``. Raises KeyError for one that it does not have: a test that hurries nothing shows
    little."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    positional = dict(zip(names[len(names) - len(function.__defaults__ or ()) :], function.__defaults__ or (), strict=True))
    keywords = dict(function.__kwdefaults__ or {})
    for name, value in defaults.items():
        place = keywords if name in keywords else positional
        place[name] = type(place[name])(value)
    function.__defaults__ = tuple(positional.values()) or None
    function.__kwdefaults__ = keywords or None


def _note_syncs(path: str) -> None:
    """Write what was synced, after the kernel said so: inode and size of a file, inode and names of a folder."""
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def noting(sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            # Before the call: what another thread writes meanwhile may not be part of it.
            note = _note(descriptor)
            sync(descriptor)
            os.write(notes, note)

        return synced

    os.fdatasync = noting(os.fdatasync)
    os.fsync = noting(os.fsync)
    os.pwrite = _noting_writes(notes, os.pwrite)


def _noting_writes(notes: int, pwrite: Callable[[int, Any, int], int]) -> Callable[[int, Any, int], int]:
    """Note each write into a file that was opened with O_DSYNC, before it and after it: then it is on disk (open(2))."""

    def written(descriptor: int, data: Any, at: int) -> int:
        if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DSYNC:
            return pwrite(descriptor, data, at)
        # Of the zeros that are written ahead nothing can be lost: what may be torn, or spoiled, is in front of them and behind.
        size = min(len(data), ends.pop(at, len(data)))
        place = {"log": os.fstat(descriptor).st_ino, "at": at, "to": at + size}
        os.write(notes, json.dumps(place | {"done": False}).encode() + b"\n")
        done = pwrite(descriptor, data, at)
        os.write(notes, json.dumps(place | {"to": at + min(size, done), "done": True}).encode() + b"\n")
        return done

    ends: dict[int, int] = {}
    append = Open.append

    def appended(self: Open, data: bytes) -> tuple[int, bytes]:
        at, made = append(self, data)
        ends[at] = len(data)
        return at, made

    Open.append = appended  # type: ignore[method-assign]
    return written


def _note(descriptor: int) -> bytes:
    about = os.fstat(descriptor)
    if stat.S_ISDIR(about.st_mode):
        names = {entry.name: entry.inode() for entry in os.scandir(descriptor)}
        return json.dumps({"folder": about.st_ino, "names": names}).encode() + b"\n"
    return json.dumps({"file": about.st_ino, "size": about.st_size}).encode() + b"\n"


if __name__ == "__main__":
    main()
