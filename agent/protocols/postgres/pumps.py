"""The two pumps of a connection: what either side says goes through the engine, and what follows from it is performed.

Everything that reaches the server is performed by one task, the client's pump: two would race each other while one waits for the
disk. The server's pump only shows answers, and wakes the other where it was waiting for one.

While a pump waits for its socket, small pieces are taken as they arrive (``Stream.taker``), in the same order and by the same
rules: waking a task costs more than most statements do. The pump is called where there is something to wait for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from agent.core.effects import Effect
from agent.core.policy import Decider
from agent.core.units import Side
from agent.core.units import Stream as Shown
from agent.protocols.postgres import messages
from agent.protocols.postgres.apart import Apart
from agent.protocols.postgres.engine import Engine
from agent.protocols.postgres.greeting import Hangup
from agent.protocols.postgres.held import Hold
from agent.protocols.postgres.knowledge import Knowledge
from agent.protocols.postgres.stream import LEAST, Stream
from agent.runtime.relay import OK, Performer
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.operation import Operation

#: Seconds that the server may take to answer what was asked before the client hung up.
_LAST_WORDS_S: Final = 5.0
_READY: Final = tuple(messages.ready(status) for status in "ITE")


class Pumps:
    """Both directions of one connection, from the welcome until either side ends."""

    def __init__(
        self,
        serving: Serving,
        streams: tuple[Stream, Stream],
        engine: Engine,
        knowledge: Knowledge,
        apart: Apart,
        decider: Decider,
        estimated: Callable[[Operation], Awaitable[list[str]]],
    ) -> None:
        """``streams`` are the client's and the server's. ``estimated`` says what the planner thinks of a held statement."""
        self._serving = serving
        self._client, self._target = streams
        self._engine = engine
        self._repeats: Final = engine.repeats
        self._knowledge = knowledge
        self._apart = apart
        self._decider = decider
        self._estimated = estimated
        self._performer = Performer(serving, self)
        self._now_ms: Final = serving.now_ms
        self._pressure: Final = serving.recorder.pressure
        self._to_target: list[bytes] = []
        self._answered = asyncio.Event()
        self.learned: Final = self._answered.set
        """The client may be waiting for what was learned."""
        self._rest: list[Effect] = []
        self._broken: Exception | None = None
        self._performing = False
        """What was asked last waits for the disk; nothing else of the client's may be read before it went on."""
        self._performed: asyncio.Event | None = None
        """Set when that is over, where somebody waits for it."""
        self._late: bytes | None = None
        """What the client said meanwhile."""
        self._over: bool = False
        self._hold: Hold | None = None

    def to_target(self, data: bytes) -> None:
        """Part of ``Stage``: one write for everything that one read has led to."""
        self._to_target.append(data)

    def to_client(self, data: bytes, stream: Shown) -> None:
        """Part of ``Stage``."""
        self._client.write(data)

    async def run(self) -> Notice:
        """Pump both ways until either side ends. Returns why. Raises Fault, Hangup, OSError."""
        performer = self._performer
        asking = asyncio.ensure_future(self._ask(performer))
        answering = asyncio.ensure_future(self._answer(performer))
        try:
            await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not answering.done():
                asking.result()
                # What was sent before the goodbye is still answered by the server, and recorded, until it hangs up.
                async with asyncio.timeout(_LAST_WORDS_S):
                    await asyncio.wait({answering})
            if answering.done():
                answering.result()
            if asking.done():
                asking.result()
            elif not self._engine.over:
                raise Fault("target_closed", f"{self._serving.target.name} ended the connection.")
        except TimeoutError:
            # Nobody waits for the answer any more, so what still runs is cancelled.
            raise Hangup from None
        else:
            return OK
        finally:
            self._over = True
            # What the server still says is not shown behind the words that end the session.
            self._client.taker = self._target.taker = None
            for task in (asking, answering):
                task.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)

    async def _ask(self, performer: Performer) -> None:
        """The client's pump. Ends when the client does."""
        self._client.taker = self._asked_now
        while True:
            await self._catch_up(performer)
            if self._engine.over:
                return
            if self._engine.held is not None:
                effects = await self._others_agree(performer, self._engine.held)
            elif self._engine.waiting:
                self._knowledge.wish()
                await self._answered.wait()
                self._answered.clear()
                effects = await self._read(self._engine.proceed)
            else:
                data = await self._said()
                if data is None:
                    continue
                if not data:
                    return
                self._knowledge.keep_up(self._serving.now_ms())
                effects = await self._read(partial(self._engine.receive, Side.CLIENT, data, self._serving.now_ms()), data)
            await performer.perform(effects)

    async def _said(self) -> bytes | None:
        """Return what the client says, nothing at its end; None where its last words led to something that comes first."""
        if self._late is not None:
            data, self._late = self._late, None
            return data
        data = await self._client.read()
        if self._client.called():
            return None
        if self._performing:
            self._performed = performed = asyncio.Event()
            await performed.wait()
            self._performed = None
            self._late = data
            return None
        return data

    async def _read(self, act: Callable[[], list[Effect]], data: bytes = b"") -> list[Effect]:
        """Return what the engine makes of the client's ``data``, or of what had to wait; apart where that is long."""
        return await self._apart.run(act) if self._engine.long(data) else act()

    async def _others_agree(self, performer: Performer, operation: Operation) -> list[Effect]:
        """Wait for others; nothing that the client sends is read meanwhile, and what runs already goes on."""
        await performer.perform([self._engine.waits()])
        self._hold = Hold(self._serving, self._decider, self._client, self._estimated)
        try:
            answer = await self._hold.answer(operation)
        finally:
            self._hold = None
        return await self._read(partial(self._engine.answered, answer, self._serving.now_ms()))

    def withdraw(self) -> bool:
        """Ask nobody any more about what is held. Returns False where nothing is."""
        if self._hold is None:
            return False
        self._hold.withdraw()
        return True

    async def _catch_up(self, performer: Performer) -> None:
        """Finish what was begun where nothing could be waited for."""
        if self._broken is not None:
            raise self._broken
        if self._rest:
            rest, self._rest = self._rest, []
            await performer.perform(rest)
        if self._to_target:
            self._send()
        if not self._target.writable:
            await self._target.drain()

    def _send(self) -> None:
        self._target.write(b"".join(self._to_target))
        self._to_target.clear()

    def _asked_now(self, data: bytes) -> bool:
        """Take what the client says while its pump waits for it."""
        if self._performing:
            return False
        performer = self._performer
        try:
            now_ms = self._now_ms()
            knowledge = self._knowledge
            if now_ms > knowledge.old_ms or knowledge.catalogues.readings != knowledge.readings:
                knowledge.keep_up(now_ms)
            again = self._repeats.asked(data, now_ms)
            if again is not None:
                self._performing = True
                performer.repeat(again, self._asked_again)
                return True
            if self._engine.long(data):
                return False
            effects = self._engine.receive(Side.CLIENT, data, now_ms)
        except Exception as error:  # noqa: BLE001 - raised again by the pump
            self._asked([], error)
            return True
        self._performing = True
        performer.perform_then(effects, self._asked)
        return True

    def _asked_again(self, data: bytes, error: Exception | None) -> None:
        """What the client asked again is on disk, so ``data`` is forwarded; or nothing is, because of ``error``."""
        if error is not None or self._over or self._to_target or self._performed is not None:
            if data:
                self._to_target.append(data)
            self._asked([], error)
            return
        self._performing = False
        self._target.write(data)
        if not self._target.writable:
            self._client.call()

    def _asked(self, rest: list[Effect], error: Exception | None) -> None:
        """What the client said is performed, up to the ``rest`` that a task has to wait for."""
        self._performing = False
        if self._performed is not None:
            self._performed.set()
        self._rest, self._broken = rest, error
        if self._over:
            return  # the session ended while the disk was waited for: nothing is forwarded any more
        if self._to_target and not rest and error is None:
            self._send()
        if rest or error is not None or self._engine.waiting or self._engine.over or not self._target.writable:
            self._client.call()

    async def _answer(self, performer: Performer) -> None:
        """The server's pump. Ends when the server does."""
        self._target.taker = self._answered_now
        self._target.gathers = True
        while True:
            data = await self._target.read()
            if self._target.called():
                assert self._broken is not None
                raise self._broken
            if not data:
                return
            if self._serving.recorder.pressure():
                await self._serving.recorder.relieved()
            await self._apart.settled()
            if len(data) >= LEAST:
                await self._serving.recorder.give_way()
            began = time.thread_time()
            await performer.perform(self._engine.receive(Side.TARGET, data, self._serving.now_ms()))
            self._target.appetite.fed(len(data), time.thread_time() - began)
            if data.endswith(_READY):
                self._target.appetite.ended()
            self._answered.set()
            await self._client.drain()
            self._knowledge.wish()
            # A long result must not keep other sessions from their turn.
            await asyncio.sleep(0)

    def _answered_now(self, data: bytes) -> bool:
        """Show what the server says while its pump waits for it."""
        if self._pressure() or not self._client.writable or self._apart.busy:
            return False
        performer = self._performer
        try:
            now_ms = self._now_ms()
            again = self._repeats.answered(data, now_ms)
            if again is not None:
                performer.show(again)
                if self._knowledge.owed:
                    self._knowledge.wish()
                return True
            if performer.perform_now(self._engine.receive(Side.TARGET, data, now_ms)):
                raise AssertionError("an answer never waits for the disk")
            self._knowledge.wish()
        except Exception as error:  # noqa: BLE001 - raised again by the pump
            self._broken = error
            self._target.call()
        if self._engine.waiting:
            self._answered.set()
        return True
