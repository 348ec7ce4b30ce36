"""A locked shell in motion: the gateway's line editor before the runner at the target."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import asyncssh

from agent.core.effects import ToTarget
from agent.core.gate import Gate
from agent.core.recording.cast import CastWriter
from agent.core.recording.jsonl import JsonlWriter
from agent.core.shell.locked import completion
from agent.core.shell.locked.conversation import Locked
from agent.core.shell.locked.editor import Completing
from agent.core.units import Asked, Housekeeping, Output, Side, Tick, Unit
from agent.protocols.ssh import masked, target_side
from agent.protocols.ssh.decider import decider
from agent.protocols.ssh.denial import Words
from agent.protocols.ssh.shell import Owner, ShellRelay
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault

#: Returns the connection to the target.
Dial = Callable[[], Coroutine[Any, Any, asyncssh.SSHClientConnection]]


class LockedRelay(ShellRelay):
    """Edits, shows, and has every line decided before anything of it leaves the gateway."""

    def __init__(
        self,
        serving: Serving,
        locked: Locked,
        gate: Gate,
        recordings: tuple[CastWriter, JsonlWriter],
        owner: Owner,
        target: Dial,
    ) -> None:
        super().__init__(serving, locked, gate, recordings, owner)
        self._locked: Final = locked
        self._decider: Final = decider(serving)
        words, outputs = Words(serving.claims.sid, terminal=True), masked.outputs(serving, None, opaque=False)
        self._aside: Final = Gate(self._decider, self._commands, words, outputs=outputs)
        self._target: Final = target
        self._looking = False
        self._turn: asyncio.Handle | None = None
        self._size: tuple[int, int] | None = None

    def begin(self, words: bytes, shell: str) -> None:
        """Show ``words`` and begin: the boot line waits already, and the account's shell is ``shell``."""
        self._perform([Output(words, own=True), Housekeeping(Side.TARGET, self._locked.boot(shell))])

    def from_client(self, data: bytes) -> None:
        """Keys."""
        super().from_client(data)
        self._completing()
        self._soon()

    def _after(self) -> None:
        super()._after()
        self._completing()
        self._soon()

    def to_target(self, data: bytes) -> None:
        """What the gate lets pass."""
        super().to_target(self._locked.types(data))

    def client_eof(self) -> None:
        """The client types no more; lines that it has typed still run."""
        self._perform(self._locked.ended())

    def interrupted(self) -> None:
        """Draw the line that is edited anew, below what was said."""
        self._perform(self._locked.redrawn())
        self._owner.keep_pace()

    def resized(self, columns: int, rows: int) -> None:
        """Draw the line that is edited anew, once for all the sizes of one turn."""
        self._size = (columns, rows)
        self._soon()

    def _soon(self) -> None:
        """Go on in a turn of its own, after everybody else had one."""
        if self._turn is None and (self._locked.busy or self._size is not None):
            self._turn = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        size, self._size = self._size, None
        if self._finished:
            return
        try:
            if size is not None:
                self._perform(self._locked.resized(*size))
            self._perform(self._locked.go_on())
        except Fault as fault:
            self._owner.fail(fault)
            return
        self._owner.keep_pace()
        self._after()

    def _typed(self, data: bytes) -> list[Unit]:
        return self._locked.typed(data)

    def _allowed(self, shown_from: int) -> list[Unit]:
        return self._locked.allowed(self._serving.now_ms(), shown_from)

    def _denied(self) -> list[Unit]:
        return self._locked.denied()

    def _completing(self) -> None:
        """Look for the names that are wanted, if any are."""
        if self._locked.wanted is not None and not self._looking:
            self._looking = True
            self._owner.spawn(self._complete(self._locked.wanted))

    async def _complete(self, wanted: Completing) -> None:
        try:
            found = await self._names(wanted)
        finally:
            self._looking = False
        self._perform(self._locked.completed(found))
        self._owner.keep_pace()
        self._after()

    async def _names(self, wanted: Completing) -> list[str]:
        """Ask the target, where policy permits that: recorded like everything that is asked of it, and refused in silence."""
        cwd = self._locked.cwd
        operation = completion.question(wanted.word, cwd, program=wanted.first)
        if self._decider.decide(operation, self._serving.now_ms()).permit is None:
            return []
        question = completion.data(wanted.word, cwd, program=wanted.first)
        self._aside.handle(Tick(self._serving.now_ms()))
        *before, last = self._aside.handle(Asked(operation, question))
        if not isinstance(last, ToTarget):
            return []
        await self._performer.perform(before)
        answer = await target_side.aside(await self._target(), completion.HELPER, last.asked.data, completion.ANSWER_LIMIT)
        return completion.names(answer, wanted.word)
