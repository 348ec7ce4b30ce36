"""Who has a lot to do lets those go first who wait for the disk.

A statement that has to be durable crosses the loop several times: asked, handed to the log's thread, told, forwarded, answered.
Beside a bulk result each of these waits for a turn of that, and the thread for the interpreter, which a turn holds. So one who is
about to take a long turn waits until the log has told those whom it owes an answer. That is one write; a disk that takes longer
than ``LONGEST_S`` is not waited for, so that a bulk result goes on at a part of its pace whatever others ask.
"""

from __future__ import annotations

import asyncio
from typing import Final

#: Three turns of a bulk result, about, and many times what a write takes.
LONGEST_S: Final = 0.002


class Way:
    """The way past those who wait for the log. Free at first."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self._patience: asyncio.TimerHandle | None = None

    async def freed(self) -> None:
        """Return when :meth:`free` was called, or ``LONGEST_S`` after the first who waits for it has come."""
        if self._patience is None:
            self._free.clear()
            self._patience = asyncio.get_running_loop().call_later(LONGEST_S, self.free)
        await self._free.wait()

    def free(self) -> None:
        """Let everybody go on."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._free.set()
