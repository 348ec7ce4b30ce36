"""An sftp channel in motion: the pure engine's units, performed between two asyncssh channels."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from agent.core.effects import Ask, Effect, ToTarget
from agent.core.gate import Gate
from agent.core.units import Answered, Asked, Output, Refused, Remark, Side, Stream, Tick, Unit
from agent.protocols.ssh.denial import plain
from agent.protocols.ssh.sftp import SftpEngine
from agent.protocols.ssh.sftp_turns import turns
from agent.runtime.relay import Performer
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault


class Owner(Protocol):
    """What the channel does for its file relay."""

    def hold_client(self, held: bool) -> None:
        """Stop or go on reading from the client."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Future[Any]:
        """Run something that has to wait, and fail the channel if it fails."""
        ...

    async def answered(self, asked: Asked) -> Answered | Refused:
        """Wait for others, who are asked about ``asked``. Returns what they said."""
        ...

    def withdraw(self) -> bool:
        """Nobody wants what others are asked about now. False where nobody is asked."""
        ...

    def send_target(self, data: bytes) -> None:
        """Send to the target's file server."""
        ...

    def send_target_eof(self) -> None:
        """End the stream towards the target."""
        ...

    def to_client(self, data: bytes, stream: Stream) -> None:
        """Send to the client."""
        ...


class FileRelay:
    """Forwards requests in their order. While one waits, for the disk, for others, or for the target to say where its paths lead,
    those behind it wait with it; answers never do, so what runs at the target already goes on."""

    def __init__(self, serving: Serving, engine: SftpEngine, make_gate: Callable[[SftpEngine], Gate], owner: Owner) -> None:
        self._serving = serving
        self._engine: Final = engine
        self._gate: Final = make_gate(engine)
        self._performer: Final = Performer(serving, self)
        self._owner = owner
        self._units: deque[Unit] = deque()
        """What was read of the client's requests and not performed yet."""
        self._waiting = bytearray()
        """What was not even read. Reading is paused then; this is what had been on its way already."""
        self._busy = False
        self._eof = False
        self._turns: Final = turns(serving.claims.sub, serving.target.address)

    def from_client(self, data: bytes) -> None:
        """Requests. Raises Fault(protocol_error)."""
        if self._stopped:
            self._waiting += data
        else:
            self._take(self._engine.receive(Side.CLIENT, data))

    def from_target(self, data: bytes) -> None:
        """Answers. Raises Fault(target_closed) where they make no sense, and what ``from_client`` raises."""
        self._gate.handle(Tick(self._serving.now_ms()))
        requests: list[Unit] = []
        for unit in self._engine.receive(Side.TARGET, data):
            if isinstance(unit, Output | Remark):
                self._performer.perform_now(self._gate.handle(unit))
            else:
                requests.append(unit)
        if requests:
            self._take(requests)
        self._turns.keep(self, self._engine.awaits)

    def client_eof(self) -> None:
        """The client sends no more requests. One that waits for others is withdrawn: file clients end so, and read no more."""
        self._eof = True
        self._owner.withdraw()
        if not self._stopped:
            self._owner.send_target_eof()

    def finish(self, status: int | None) -> None:
        """The channel is over, with the file server's ``status``: record what was left open."""
        self._turns.leave(self)
        self._gate.handle(Tick(self._serving.now_ms()))
        for unit in self._engine.receive(Side.TARGET, b""):
            self._performer.perform_now(self._gate.handle(unit))

    def to_target(self, data: bytes) -> None:
        """What the gate lets pass."""
        self._owner.send_target(data)

    def to_client(self, data: bytes, stream: Stream) -> None:
        """Answers, the target's and ours."""
        self._owner.to_client(data, stream)

    @property
    def _stopped(self) -> bool:
        return self._busy or self._engine.waits

    def _take(self, units: list[Unit]) -> None:
        self._units.extend(units)
        if self._busy:
            return
        self._gate.handle(Tick(self._serving.now_ms()))
        while self._units:
            left = self._performer.perform_now(self._gate.handle(self._units.popleft()))
            if left:
                self._busy = True
                self._owner.hold_client(True)
                self._owner.spawn(self._wait(left))
                return
        self._go_on()

    async def _wait(self, left: list[Effect]) -> None:
        await self._perform(left)
        while self._units:
            self._gate.handle(Tick(self._serving.now_ms()))
            await self._perform(self._gate.handle(self._units.popleft()))
        self._busy = False
        self._go_on()

    def _go_on(self) -> None:
        """Nothing is to be performed: say what was said, and read what waited, unless the target is being asked."""
        self._turns.keep(self, self._engine.awaits)
        for words in self._engine.take_words():
            self._owner.to_client(f"sallyport: {plain(words)}\n".encode(), "err")
        units = self._engine.go_on()
        if not units and self._waiting and not self._engine.waits:
            data, self._waiting = bytes(self._waiting), bytearray()
            units = self._engine.receive(Side.CLIENT, data)
        if units:
            self._take(units)
            return
        self._owner.hold_client(self._engine.waits)
        if self._eof and not self._engine.waits:
            self._owner.send_target_eof()

    async def _perform(self, effects: list[Effect]) -> None:
        if not effects or not isinstance(last := effects[-1], Ask):
            await self._in_turn(effects)
            return
        await self._performer.perform(effects[:-1])
        asked = last.asked
        answer = await self._owner.answered(asked)
        try:
            self._gate.handle(Tick(self._serving.now_ms()))
            await self._in_turn(self._gate.handle(answer))
        except Fault as fault:
            if fault.code == "recording_failed":
                raise
            refused = Refused(asked.operation, fault.code, fault.message, asked.tag)
            await self._performer.perform(self._gate.handle(refused))

    async def _in_turn(self, effects: list[Effect]) -> None:
        """Perform ``effects``. Where they ask the target where a path leads, nothing else of the person's may come in between."""
        asked = next((each.asked for each in effects if isinstance(each, ToTarget)), None)
        changes = None if asked is None else self._engine.begins(asked.tag)
        if asked is not None and changes is not None:
            try:
                await self._turns.entered(self, asked.tag, changes=changes)
            except Fault as fault:
                self._gate.handle(Tick(self._serving.now_ms()))
                effects = self._gate.handle(Refused(asked.operation, fault.code, fault.message, asked.tag))
        await self._performer.perform(effects)
