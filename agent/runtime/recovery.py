"""What an earlier process left of a session: read, cut into the chunks that were due, uploaded and closed.

Nothing is trusted but what this agent has sealed. What the log cannot read is copied aside before anything is removed, and the
session's closing message says so. The control plane may have marked the session ``interrupted`` by now; it still takes the rest
(``session.NEXT``).
"""

from __future__ import annotations

import asyncio
from typing import Final

from agent.runtime.backoff import is_final
from agent.runtime.session import Recording, Surroundings
from agent.runtime.spool import End, Folder, Leftover, UnsealError
from agent.telemetry import logger
from chalicelib.contracts.faults import Fault

RECOVERED: Final = "The agent stopped during this session; what it had recorded was recovered."
DAMAGED: Final = " Part of its spool could not be read and is kept on the agent."


async def recover(around: Surroundings, folder: Folder) -> tuple[Recording, End] | None:
    """Deliver what is left of a session; None if nothing was recorded, and then the folder is gone.

    Raises Fault(recording_failed) where the folder cannot be read now, or the disk fails again; UnsealError where something in it
    was not sealed by this agent, which no time heals. The folder stays then, and what the log has of it.
    """
    journal = around.journal
    try:
        leftover = await around.disk.run(folder.read, journal.left(folder.sid), damaged=bool(journal.damaged))
        if leftover is None:
            await around.disk.run(folder.remove)
            journal.forget(folder.sid)
            return None
    except UnsealError:
        raise
    except OSError as error:
        raise Fault("recording_failed", "A session that was left in the spool cannot be read.", detail=str(error)) from None
    logger(sid=folder.sid).info(
        "session.recovering", chunks=leftover.chunks, frames=len(leftover.frames), damaged=leftover.damaged
    )
    return await _deliver(around, folder, leftover)


async def _deliver(around: Surroundings, folder: Folder, leftover: Leftover) -> tuple[Recording, End]:
    recording = Recording(around, folder, leftover.progress, lambda fault: _failed(folder.sid, fault))
    end = leftover.end or End("ended", RECOVERED)
    if leftover.damaged:
        end = End(end.state, (end.message or RECOVERED) + DAMAGED)
    await recording.recorder.open(leftover)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recording.recorder.run())
        await recording.recorder.close(end)
    return recording, end


def _failed(sid: str, fault: Fault) -> None:
    told = logger(sid=sid)
    (told.error if is_final(fault) else told.warning)("recovery.failed", code=fault.code, detail=fault.detail)
