"""An operation that waits for others: said on standard error; withdrawn by Ctrl-C, a closed channel or the end of the session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from agent.core import held
from agent.core.effects import Ask, Effect
from agent.core.gate import Gate
from agent.core.policy import Yes
from agent.core.units import Answered, Asked, Event, Refused, Tick
from agent.protocols.ssh.denial import plain
from agent.runtime.relay import Performer
from agent.runtime.serving import Serving
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation

#: Seconds between two changes of the line that a terminal shows.
TICK_S: Final = 1.0
#: Bytes that may be typed ahead at a terminal while something waits; from there on, the window holds the rest.
TYPED_LIMIT: Final = 4 * 1024
#: What a terminal in raw mode sends for Ctrl-C and Ctrl-\\.
_INTERRUPTS: Final = (b"\x03", b"\x1c")

#: How a person withdraws. OpenSSH's sftp keeps Ctrl-C to itself and goes on to wait for its answer; Ctrl-\\ ends it.
INTERRUPT: Final = "Ctrl-C"
QUIT: Final = "Ctrl-\\"

WITHDRAWN: Final = "You withdrew the request, so nothing ran."

Show = Callable[[bytes, bool], None]
"""Shows bytes on standard error; True where they also belong in the recording."""


def interrupts(data: bytes) -> bool:
    """Tell whether somebody at a terminal who typed ``data`` wants no more."""
    return any(each in data for each in _INTERRUPTS)


class Hold:
    """One operation's wait. ``show`` writes to standard error; ``key`` is what its owner presses to withdraw."""

    def __init__(self, serving: Serving, show: Show, *, terminal: bool, key: str = INTERRUPT) -> None:
        self._serving = serving
        self._show = show
        self._terminal = terminal
        self._key = key
        self._withdrawn = asyncio.Event()
        self._typed = 0

    def withdraw(self) -> None:
        """Its owner does not want it any more."""
        self._withdrawn.set()

    def typed(self, data: bytes) -> bool:
        """Input came while it waits. Returns whether more of it may be read."""
        if self._terminal and interrupts(data):
            self.withdraw()
        self._typed += len(data)
        return self._terminal and self._typed < TYPED_LIMIT

    async def agreed(self, operation: Operation) -> Yes:
        """Return the yes. Raises Fault for every no: withdrawn, denied, expired, session over."""
        asking = asyncio.ensure_future(self._serving.approvals.agreed(operation, held.risks(operation), self._told))
        left = asyncio.ensure_future(self._withdrawn.wait())
        try:
            await self._first(asking, left, self._serving.ended)
            if asking.done() and not left.done():
                return asking.result()
            if self._serving.ended.done():
                notice = self._serving.ended.result()
                raise Fault(notice.code, notice.message, hint=notice.hint)
            raise Fault("approval_withdrawn", WITHDRAWN)
        finally:
            for task in (asking, left):
                task.cancel()
            await asyncio.gather(asking, left, return_exceptions=True)
            if self._terminal:
                self._show(b"\r\x1b[K", False)

    async def _first(self, *waiting: Awaitable[object]) -> None:
        """Return when one of them is done; meanwhile a terminal sees that time passes."""
        begun = asyncio.get_running_loop().time()
        futures = {asyncio.ensure_future(each) for each in waiting}
        while True:
            done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED, timeout=TICK_S if self._terminal else None)
            if done:
                return
            seconds = int(asyncio.get_running_loop().time() - begun)
            self._show(f"\r\x1b[Ksallyport: waiting, {seconds // 60}:{seconds % 60:02}".encode(), False)

    def _told(self, standing: RequestStanding | None) -> None:
        line = f"sallyport: {plain(held.waiting(standing, self._key))} ({self._serving.claims.sid})"
        self._show(line.encode() + (b"\r\n" if self._terminal else b"\n"), True)


class Waits:
    """What one channel waits for: at most one operation at a time."""

    def __init__(self, show: Show, left: Callable[[Operation], None]) -> None:
        """``show`` as in :class:`Hold`. ``left`` is told what others were asked about when the client went away."""
        self._show = show
        self._left = left
        self._hold: Hold | None = None

    def withdraw(self) -> bool:
        """Nobody wants what others are asked about now. False where nobody is asked."""
        if self._hold is None:
            return False
        self._hold.withdraw()
        return True

    def typed(self, data: bytes) -> bool:
        """Input came that nobody reads yet. Returns whether more of it may be read."""
        return self._hold is not None and self._hold.typed(data)

    async def answered(
        self, serving: Serving, asked: Asked, *, terminal: bool, key: str, more: Callable[[Hold], None]
    ) -> Answered | Refused:
        """Ask others about ``asked``, and return what they said. ``more`` is told of the wait before it begins."""
        self._hold = Hold(serving, self._show, terminal=terminal, key=key)
        try:
            more(self._hold)
            return Answered(asked, await self._hold.agreed(asked.operation))
        except Fault as fault:
            return Refused(asked.operation, fault.code, fault.message, asked.tag)
        except asyncio.CancelledError:
            self._left(asked.operation)
            raise
        finally:
            self._hold = None


async def settled(
    gate: Gate,
    performer: Performer,
    now_ms: Callable[[], int],
    unit: Asked | Refused,
    answered: Callable[[Asked], Awaitable[Answered | Refused]],
) -> None:
    """Have ``unit`` decided, wait for what others ``answered`` where policy says so, perform what follows. Raises Fault."""

    def follows(event: Event) -> list[Effect]:
        gate.handle(Tick(now_ms()))
        return gate.handle(event)

    effects = follows(unit)
    if not effects or not isinstance(last := effects[-1], Ask):
        await performer.perform(effects)
        return
    await performer.perform(effects[:-1])
    try:
        await performer.perform(follows(await answered(last.asked)))
    except Fault as fault:
        if fault.code == "recording_failed":
            raise
        # The control plane would not count the use of a yes.
        await performer.perform(follows(Refused(last.asked.operation, fault.code, fault.message)))
