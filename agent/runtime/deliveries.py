"""What becomes of recordings when there is nothing more to record: delivered and removed, set aside, or kept where they are.

a session that is over ──────────────┐
what an earlier process left ─► read ┴─► uploaded, its end told ─► removed
                                             ├─ the control plane takes no more of it ─► set aside in state/refused
                                             └─ the disk failed ─► kept, and the agent ends
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.runtime import recovery
from agent.runtime.backoff import persist
from agent.runtime.salvage import REFUSED
from agent.runtime.session import Recording, Surroundings
from agent.runtime.spool import SPOOL, End, Folder, UnsealError, folders
from agent.telemetry import logger
from chalicelib.contracts.faults import Fault

#: Leftovers that are recovered at the same time.
RECOVERING: Final = 8
SOUND_DISK: Final = "Nothing that was acknowledged is lost. Start the agent again once its disk has room and is sound."

#: Runs work beside everything else.
Spawn = Callable[..., object]


class Deliveries:
    """The ends of recordings. ``underway`` are the sessions whose recording is not where it belongs yet."""

    def __init__(self, around: Surroundings, state: Path, spawn: Spawn, give_up: Callable[[Fault], None]) -> None:
        """``spawn(work, sid=…)`` runs work beside everything else, ``give_up`` ends the agent."""
        self._around = around
        self._state = state
        self._spawn = spawn
        self._give_up = give_up
        self.underway: Final[set[str]] = set()

    @property
    def spool(self) -> Path:
        """Where sessions are recorded to."""
        return self._state / SPOOL

    def folder(self, path: Path) -> Folder:
        """Return the folder of one session's recording."""
        return Folder(path, self._around.journal.keys)

    async def leftovers(self) -> list[Path]:
        """Return what earlier processes left. To be asked before anything is recorded."""
        return await self._around.disk.run(folders, self.spool)

    def recover(self, leftovers: list[Path]) -> None:
        """Deliver ``leftovers``, a few at a time."""
        turn = asyncio.Semaphore(RECOVERING)
        for path in leftovers:
            folder = self.folder(path)
            self.underway.add(folder.sid)
            self._spawn(self._recover(folder, turn), sid=folder.sid)

    async def _recover(self, folder: Folder, turn: asyncio.Semaphore) -> None:
        async with turn:
            try:
                recovered = await persist(
                    lambda: recovery.recover(self._around, folder),
                    event="recovery.delayed",
                    backoff=self._around.backoff(),
                    sid=folder.sid,
                )
                if recovered is not None:
                    await self.finish(*recovered)
            except UnsealError as error:
                logger(sid=folder.sid).error("recovery.unreadable", detail=str(error), kept=str(folder.path))
            self.underway.discard(folder.sid)

    async def finish(self, kept: Recording, end: End) -> None:
        """Tell the control plane the end of a recording, and put the recording where it belongs."""
        folder, told = kept.folder, logger(sid=kept.folder.sid)
        refusal = await kept.deliver_end(end) if kept.stored else kept.refusal
        if kept.stored and (refusal is None or refusal.code != "chunk_conflict"):
            await self._around.disk.run(folder.remove)
            await kept.recorder.forget()
            told.info("session.closed", chunks=kept.recorder.progress.n)
        elif refusal is not None and kept.recorder.complete:
            place = await self._around.disk.run(folder.set_aside, self._state / REFUSED)
            await kept.recorder.forget()
            told.error("recording.refused", code=refusal.code, detail=refusal.detail, kept=str(place))
        elif kept.recorder.complete:
            told.error("recording.unreadable", detail=kept.unread.detail if kept.unread else "", kept=str(folder.path))
        else:
            told.error("recording.incomplete", kept=str(folder.path))
            self._give_up(Fault("recording_failed", f"The spool could not be written: {folder.path}.", hint=SOUND_DISK))
