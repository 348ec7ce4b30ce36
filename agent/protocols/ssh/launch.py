"""How a program comes to run on a channel: what was asked for is read, recorded and decided, and opened at the target.

    wish ──► unit ──► gate ──► what was permitted ──► the leg towards the target ──► a channel there

A program asks again where the account's shell turns out to have no guard: then for a locked shell, which policy decides anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import asyncssh
from msgspec import structs

from agent.core.recording.jsonl import JsonlWriter
from agent.core.shell.guard.broken import Unguardable
from agent.core.units import Asked, Refused
from agent.protocols.ssh import engine, masked, opening, shells, target_side
from agent.protocols.ssh.algorithms import window
from agent.protocols.ssh.asides import banner
from agent.protocols.ssh.engine import Wish
from agent.protocols.ssh.feed import ADVICE, Tape, script
from agent.protocols.ssh.held import WITHDRAWN
from agent.protocols.ssh.recorded import Recorded
from agent.protocols.ssh.shells import Shells
from chalicelib.contracts.faults import EXIT_DENIED, Fault

if TYPE_CHECKING:
    from agent.protocols.ssh.program import Program
    from agent.protocols.ssh.transport import Connection


class Launch:
    """What becomes of one wish."""

    def __init__(self, program: Program, connection: Connection) -> None:
        self._program = program
        self._connection = connection
        self._permitted: bytes | None = None
        self._permits = 0
        self._modes: list[str] = []
        """How a shell may be treated, best first."""
        self._greeted = False
        self._shells: Shells | None = None
        self._recorded: Recorded
        self._reaching: asyncio.Future[asyncssh.SSHClientConnection] | None = None
        """The way to the target, while it is waited for."""
        self.starting = False
        """A channel is being opened at the target."""

    def permit(self, data: bytes) -> None:
        """Keep what was permitted; it is what the target's channel is opened with."""
        self._permitted = data
        self._permits += 1

    def withdraw(self) -> bool:
        """Nobody wants what others are asked about for the way to the target. False where they are not."""
        if self._reaching is None or not self._connection.asks_about_target:
            return False
        self._reaching.cancel()
        return True

    async def run(self, wish: Wish) -> None:
        """Have ``wish`` decided, and run what was permitted. Raises Fault."""
        serving, program = await self._connection.serving(), self._program
        # The configuration in force counts: shells may have been switched off since the session opened.
        target_now = serving.policy.document.target(serving.target.name) or serving.target
        command = engine.feeds(wish)
        unit: Asked | Refused
        if command is not None:
            tape = Tape(serving, *self._open(command, wish, fed=True))
            async with self._connection.feeding:
                unit = await script(program.feed, wish, command, tape, lambda: program.say(ADVICE))
        else:
            self._modes = shells.permitted(wish, target_now, serving)
            unit = engine.read(wish, shell=self._modes[0] if self._modes else None)
            self._open(unit.operation.text, wish, stream=engine.STREAM in unit.operation.flags)
        await self._perform(unit)
        if self._permitted is None:
            program.close(EXIT_DENIED)
            return
        target = await self._reach()
        if program.over:
            return  # the session ended while the target was dialled
        for words in self._connection.take_notes():
            program.say(words)
        # Which one it will be is known once the account's shell is, where that may be one that cannot be guarded.
        if self._modes and not (self._modes[0] == engine.GUARDED and engine.LOCKED in self._modes):
            self.greet()
        await self._start(target, wish, self._permitted)

    def greet(self) -> None:
        """Say which kind of shell this is, once."""
        if not self._greeted:
            self._greeted = True
            # As the shell's own output: the two streams have no common order.
            self._program.say(self._banner(shells.HOW[self._modes[0]]), "out")

    def _banner(self, how: str) -> bytes:
        return banner(how, self._connection.opened.watchers(), self._connection.sid)

    async def refuse(self, refused: Refused) -> None:
        """Record and say that something unreadable was asked for. Raises Fault."""
        await self._connection.serving()
        self._open(refused.operation.text, Wish(kind="exec"))
        await self._perform(refused)
        self._program.close(EXIT_DENIED)

    async def lock(self, other: Unguardable) -> None:
        """The account's shell has no guard: open it locked, where the target lists that and policy permits it. Raises Fault."""
        permits, terminal = self._permits, self._program.terminal
        if engine.LOCKED in self._modes[1:]:
            await self._perform(engine.read(Wish(kind="shell", terminal=terminal), shell=engine.LOCKED))
        if self._permits == permits:
            raise Fault("shell_unguarded", other.message, hint=other.hint)
        assert terminal is not None
        assert self._shells is not None
        self._greeted = True
        how = f"{other.shell[:40]!r} cannot be guarded, so this is a {shells.HOW[engine.LOCKED]}"
        self._program.read_by(self._shells.instead(other, terminal, self._banner(how)))

    async def _perform(self, unit: Asked | Refused) -> None:
        await self._recorded.settle(unit, self._program.answered)

    def _open(
        self, command: str, wish: Wish, *, stream: bool = False, fed: bool = False
    ) -> tuple[JsonlWriter, Callable[[str], str]]:
        serving, program = self._connection.opened, self._program
        heading = masked.heading(serving, self._connection.next_channel(), command)
        seen = structs.replace(wish, terminal=program.terminal)  # of the size that it has by now
        if wish.kind == "subsystem":
            opened = opening.transfer(serving, heading, seen, program)
        else:
            opened = opening.screen(serving, heading, seen, self._modes, program, stream=stream, fed=fed)
        self._recorded, self._shells = opened.recorded, opened.shells
        program.record(opened.recorded)
        program.read_by(opened.relay)
        return opened.lines, opened.recorded.gate.kept

    async def _reach(self) -> asyncssh.SSHClientConnection:
        """Return the leg towards the target. Raises Fault, approval_withdrawn where the program did not want to wait for it."""
        self._reaching = asyncio.ensure_future(self._connection.target())
        try:
            await asyncio.wait([self._reaching])
            if self._reaching.cancelled():
                raise Fault("approval_withdrawn", WITHDRAWN)
            return self._reaching.result()
        finally:
            self._reaching.cancel()
            self._reaching = None

    async def _start(self, target: asyncssh.SSHClientConnection, wish: Wish, permitted: bytes) -> None:
        size = window(len(self._connection.programs) - 1)
        self.starting = True
        try:
            program = self._program
            channel = await target_side.start(target, program, wish, permitted, terminal=program.terminal, window=size)
        finally:
            self.starting = False
        self._program.adopt(channel)
