"""What one session has in the agent's write-ahead log: its frames, which of them are on disk, and which are still needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from agent.runtime.packing import Lines
from agent.runtime.wal import Frame, Progress, Type
from chalicelib.contracts.faults import Fault

if TYPE_CHECKING:
    from agent.runtime.journal import Journal

#: Called once a frame is on disk, with None; or with the fault for which it never will be.
Done = Callable[[Fault | None], None]

_new: Final = tuple.__new__


class SessionLog:
    """The log as one session sees it. Made by :meth:`~agent.runtime.journal.Journal.begin`."""

    def __init__(
        self,
        journal: Journal,
        sid: str,
        number: int,
        next_seq: int,
        progress: Callable[[], Progress],
        on_failure: Callable[[Fault], None],
        on_written: Callable[[], None],
    ) -> None:
        self._journal = journal
        self.sid: Final = sid
        self.number: Final = number
        self.progress = progress
        self.on_failure = on_failure
        self.on_written = on_written
        self.cipher = journal.keys.lines(journal.keys.salt, sid)
        self.next_seq = next_seq
        self.taken = self.durable = next_seq - 1
        """Number of the last frame that is on its way, and that is on disk."""
        self.backlog = 0
        """Bytes that are not on disk yet."""
        self.fault: Fault | None = None
        """Why nothing can be written any more; None while it can."""
        self.needs = 0
        """Segments that hold a frame from this number on must stay."""

    def append(self, kind: Type, channel: int, time_ms: int, operations: int, denied: int, payload: Lines) -> int:
        """Take a frame, to be written soon. Returns its number. Raises Fault(recording_failed)."""
        seq = self.next_seq
        # As Frame(…) makes one, without the call in between.
        self._journal.take(self, _new(Frame, (kind, channel, seq, time_ms, operations, denied, payload)))
        self.next_seq = seq + 1
        return seq

    def append_then(self, frame: Frame, done: Done) -> None:
        """Take ``frame``, which is number :attr:`next_seq`, and have ``done`` called once it is on disk, or will never be.

        As ``append`` and ``then``, in one step. Raises Fault(recording_failed).
        """
        self._journal.take_then(self, frame, done)
        self.next_seq += 1

    def then(self, seq: int, done: Done) -> None:
        """Have ``done`` called once frame ``seq`` is on disk, or will never be: later, in the order of frames."""
        self._journal.wait(self, seq, done)

    async def commit(self, seq: int) -> None:
        """Return when frame ``seq`` is on disk. Raises Fault(recording_failed)."""
        if seq <= self.durable:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(fault: Fault | None) -> None:
            if reached.done():
                return  # whoever waited was cancelled
            if fault is None:
                reached.set_result(None)
            else:
                reached.set_exception(fault)

        self.then(seq, done)
        await reached

    async def give_way(self) -> None:
        """Let all sessions go first who wait for a write: see :class:`~agent.runtime.way.Way`."""
        await self._journal.give_way()

    async def release(self, before: int) -> None:
        """Frames before number ``before`` are not needed any more: their lines are in chunks. Raises OSError."""
        self.needs = before
        await self._journal.tidy()

    async def forget(self) -> None:
        """Nothing of this session is needed any more. Raises OSError."""
        self._journal.forget(self.sid)
        await self._journal.tidy()
