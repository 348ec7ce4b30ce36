"""How much room there is to record, and what follows from it.

    roomy ──► tight       the disk has less than ``floor`` free, or the spool holds more than ``quota``: no new sessions
      ▲         ▼
      └──── critical      half of the floor, or half as much again as the quota: the live sessions end, recorded to the last byte

The margins are there so that a session can always be recorded whole: what is left below half of the floor belongs to its end. The
file system is asked, and the spool measured, at intervals that are long beside what either costs; nothing is paid per statement.
A disk that fills faster than that fails a write, and then the sessions end by that (``journal``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec

from agent.runtime.spool import Disk, free_bytes
from agent.telemetry import logger
from chalicelib.contracts.faults import Fault, Notice

EVERY_S: Final = 2.0
#: Measuring may take this share of the time: a spool of hours has hundreds of thousands of files.
_SHARE: Final = 0.02
_SPOOL: Final = "spool"
_HINT: Final = "Tell whoever runs the agent to look at the disk of its state directory (sallyport-agent status)."
MEGABYTE: Final = 1_000_000


class Level(IntEnum):
    """Whether there is room; larger is worse."""

    ROOMY = 0
    TIGHT = 1
    CRITICAL = 2


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """Bytes. A quota of 0 is none."""

    floor: int
    quota: int = 0


class Measured(msgspec.Struct, kw_only=True, frozen=True):
    """Bytes that the disk has free for this process, and that the spool holds."""

    free: int
    spooled: int


def level(measured: Measured, limits: Limits) -> Level:
    """Return what ``measured`` means under ``limits``."""
    free, spooled, floor, quota = measured.free, measured.spooled, limits.floor, limits.quota
    if free < floor // 2 or (quota and spooled > quota + quota // 2):
        return Level.CRITICAL
    return Level.TIGHT if free < floor or (quota and spooled > quota) else Level.ROOMY


class Room:
    """The room under the state directory ``state``. ``on_change`` is called on the loop with each new level."""

    def __init__(
        self,
        state: Path,
        disk: Disk,
        limits: Limits,
        *,
        on_change: Callable[[Level], None] = lambda level: None,
        free: Callable[[Path], int] = free_bytes,
        every_s: float = EVERY_S,
    ) -> None:
        self.level = Level.ROOMY
        self.on_change = on_change
        self._state = state
        self._disk = disk
        self._limits = limits
        self._free = free
        self._every_s = every_s
        self._found = Measured(free=0, spooled=0)

    @property
    def refusal(self) -> Fault | None:
        """Why no session may begin now; None while there is room."""
        if self.level is Level.ROOMY:
            return None
        words = "The agent has no room left to record, so it takes no new sessions."
        return Fault("spool_full", words, hint=_HINT, detail=f"{self._found.free} bytes free, {self._found.spooled} in the spool")

    @property
    def ending(self) -> Notice:
        """What the people are told whose sessions end."""
        words = "The agent has no room left to record, so this session ends here; all of it is on record."
        return Notice("spool_full", words, _HINT)

    async def look(self) -> None:
        """Ask the file system. The spool counts as it was measured last."""
        try:
            free = await self._disk.run(self._free, _place(self._state))
        except OSError:
            free = 0  # a disk that does not answer has no room
        self._learn(Measured(free=free, spooled=self._found.spooled))

    async def watch(self) -> None:
        """Look, and measure the spool, for as long as the agent runs."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            spooled = await self._disk.run(spooled_bytes, self._state)
            took = loop.time() - began
            self._found = Measured(free=self._found.free, spooled=spooled)
            await self.look()
            await asyncio.sleep(max(self._every_s, took / _SHARE))

    def _learn(self, found: Measured) -> None:
        self._found = found
        now = level(found, self._limits)
        if now is self.level:
            return
        before, self.level = self.level, now
        told = logger(free_mb=found.free // MEGABYTE, spooled_mb=found.spooled // MEGABYTE)
        (told.error if now > before else told.info)("spool.room", level=now.name.lower())
        self.on_change(now)


def measure(state: Path) -> Measured:
    """Measure at once. Blocks, and raises OSError."""
    return Measured(free=free_bytes(_place(state)), spooled=spooled_bytes(state))


def _place(state: Path) -> Path:
    """Return where the spool's disk is asked: it may be one of its own, and is not there before the first session."""
    spool = state / _SPOOL
    return spool if spool.is_dir() else state


def spooled_bytes(state: Path) -> int:
    """Return how many bytes the spool's files have. What cannot be looked at, or is removed meanwhile, is not counted."""
    total, folders = 0, [str(state / _SPOOL)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total
