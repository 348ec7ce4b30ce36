"""Names that one person's file transfers follow, and those that they change, at one machine: never both in one moment.

Where a path leads is asked first, and the request is sent then (``sftp_links.py``). A link that is put there in between would
lead it elsewhere, and a second transfer of the same person can put it there. So a request that changes where names lead (a
rename, a new link) waits until no other channel of theirs has one under way whose path was asked about, and the other way round.
Mostly that is one answer of the target. Who waits for people has no turn meanwhile, unless they are asked about what a path led
to.

One channel's own requests need no turns: its file server does them in their order. Everybody has turns of their own, so nobody
waits for somebody else's transfer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from chalicelib.contracts.faults import Fault

#: Seconds that a request waits for its turn. A file that never opens (a FIFO) keeps it for as long as its channel is open.
TURN_S: Final = 30.0

NO_TURN: Final = "Another file transfer of yours follows names here, or changes them. Try again when it is done."


class _Waiter:
    def __init__(self, who: object, number: int, *, changes: bool) -> None:
        self.who = who
        self.number = number
        self.changes = changes
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Turns:
    """Whose requests are under way. ``who`` is a channel, which gives each of its requests a ``number``."""

    def __init__(self) -> None:
        self._inside: dict[object, dict[int, bool]] = {}
        """Requests that have a turn, and whether they change names."""
        self._waiting: deque[_Waiter] = deque()

    async def entered(self, who: object, number: int, *, changes: bool) -> None:
        """Take a turn when it comes; first come, first served. Raises Fault(conflict) where it does not come."""
        waiter = _Waiter(who, number, changes=changes)
        self._waiting.append(waiter)
        self._next()
        try:
            async with asyncio.timeout(TURN_S):
                await waiter.turn
        except TimeoutError:
            if waiter.turn.cancelled():
                raise Fault("conflict", NO_TURN) from None
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                self._next()

    def keep(self, who: object, awaits: Callable[[int], bool]) -> None:
        """Keep those turns of ``who`` whose requests ``awaits`` knows as under way."""
        if who in self._inside:
            self._inside[who] = {number: changes for number, changes in self._inside[who].items() if awaits(number)}
            self._next()

    def leave(self, who: object) -> None:
        """``who`` has nothing under way, and never will."""
        self._inside.pop(who, None)
        self._next()

    def _next(self) -> None:
        while self._waiting and self._free(first := self._waiting[0]):
            self._waiting.popleft()
            if not first.turn.done():
                self._inside.setdefault(first.who, {})[first.number] = first.changes
                first.turn.set_result(None)

    def _free(self, waiter: _Waiter) -> bool:
        others = (changes for who, theirs in self._inside.items() if who is not waiter.who for changes in theirs.values())
        return not any(waiter.changes or changes for changes in others)


_all: Final[WeakValueDictionary[tuple[str, str], Turns]] = WeakValueDictionary()


def turns(person: str, machine: str) -> Turns:
    """Return the turns of everything that ``person`` transfers to and from ``machine``, for as long as anybody has them."""
    return _all.setdefault((person, machine), Turns())
