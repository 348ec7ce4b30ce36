"""One connection of a client: its handshake, the server behind it, and two pumps around the engine.

The core's relay asks an engine for units and lets the gate decide each. Here an engine may have to wait for the server before
it can say what the client's next message means, and several statements are decided at once; so this plug-in has a driver of its
own. It performs effects with the core's ``Performer``, so an effect that fails is still the last one performed.

Everything that reaches the server is performed by one task, the client's pump: two would race each other while one waits for the
disk. The server's pump only shows answers, and wakes the other where it was waiting for one.

While a pump waits for its socket, small pieces are taken as they arrive (``Stream.taker``), in the same order and by the same
rules: waking a task costs more than most statements do. The pump is called where there is something to wait for.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import structlog

from agent.core.effects import Effect
from agent.core.policy import Decider
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Side
from agent.core.units import Stream as Shown
from agent.protocols.postgres import backend as server
from agent.protocols.postgres import estimate, greeting, login, messages
from agent.protocols.postgres.apart import Apart
from agent.protocols.postgres.backend import Backend
from agent.protocols.postgres.cancels import Cancellable, Cancels
from agent.protocols.postgres.catalogue import Catalogues
from agent.protocols.postgres.classify import Classifier
from agent.protocols.postgres.denial import farewell
from agent.protocols.postgres.engine import Engine
from agent.protocols.postgres.greeting import Greeted, Hangup
from agent.protocols.postgres.held import Hold, notice
from agent.protocols.postgres.judge import Judge
from agent.protocols.postgres.kept import kept_rows
from agent.protocols.postgres.knowledge import Knowledge
from agent.protocols.postgres.login import Hello
from agent.protocols.postgres.masks import Masks
from agent.protocols.postgres.snapshot import Snapshot
from agent.protocols.postgres.stream import Stream
from agent.runtime.relay import OK, Performer
from agent.runtime.serving import HANDSHAKE_S, Serving
from chalicelib.contracts.faults import CODES, Fault, Notice
from chalicelib.contracts.operation import Operation

_log: Final = structlog.get_logger()

CHANNEL: Final = 1
#: Seconds that the server may take to answer what was asked before the client hung up.
_LAST_WORDS_S: Final = 5.0

MakeClassifier = Callable[[Serving, Snapshot], Classifier]
MakeMasks = Callable[[Serving, Callable[[], Snapshot]], Masks]


class Plant(msgspec.Struct, frozen=True):
    """What all connections of the plug-in share."""

    tls: Callable[[], ssl.SSLContext]
    cancels: Cancels
    catalogues: Catalogues
    make_classifier: MakeClassifier
    make_masks: MakeMasks


class Connection:
    """One client whose ticket was checked."""

    def __init__(self, serving: Serving, plant: Plant) -> None:
        self._serving = serving
        self._plant = plant
        self._sid = serving.claims.sid
        self._writer = self._transcript()
        self._client: Stream
        self._secured = False
        self._native = False
        """The client came to the agent's own listener."""
        self._target: Stream
        self._backend: Backend
        self._engine: Engine
        self._wished: login.Wishes
        self._to_target: list[bytes] = []
        self._answered = asyncio.Event()
        self._apart = Apart()
        self._knowledge = Knowledge(serving, plant.catalogues, self._apart)
        self._rest: list[Effect] = []
        self._broken: Exception | None = None
        self._performing = False
        """What was asked last waits for the disk; nothing else of the client's may be read before it went on."""
        self._performed: asyncio.Event | None = None
        """Set when that is over, where somebody waits for it."""
        self._late: bytes | None = None
        """What the client said meanwhile."""
        self._over = False
        self._hold: Hold | None = None

    async def run(self, sock: socket.socket) -> Notice:
        """Serve the client behind ``sock`` until either side ends. Returns why it ended."""
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                self._client, self._secured = await greeting.begin(sock, self._plant.tls)
        except (OSError, Hangup):  # TimeoutError is one
            sock.close()
            return OK
        return await self._run(None)

    async def go_on(self, greeted: Greeted) -> Notice:
        """Serve a client that has said what it wants, and proved who it is. Returns why it ended."""
        self._client, self._native = greeted.stream, True
        return await self._run(greeted.hello)

    async def _run(self, hello: Hello | None) -> Notice:
        try:
            return await self._until_ended(hello)
        except Hangup:
            return OK
        except Fault as fault:
            self._explain(fault)
            return fault.notice
        except OSError:
            return OK
        finally:
            self._client.close()

    def _explain(self, fault: Fault) -> None:
        _log.warning("postgres.connection.failed", sid=self._sid, code=fault.code, detail=fault.detail)
        if CODES[fault.code].owner == "target":
            self._serving.report_target(fault.notice)
        self._client.write(farewell(fault.notice, self._sid))

    async def _until_ended(self, hello: Hello | None) -> Notice:
        """Run the connection, but no longer than its session."""
        work = asyncio.ensure_future(self._work(hello))
        try:
            await asyncio.wait({work, self._serving.ended}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                notice = self._serving.ended.result()
                self._remark({"event": "ended", "code": notice.code, "text": notice.message})
                self._client.write(farewell(notice, self._sid))
                return notice
            return work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _work(self, hello: Hello | None) -> Notice:
        asked = self._wished = self._wishes(hello or await self._greet())
        backend = await self._reach(asked)
        self._target, self._backend = backend.stream, backend
        pid, secret = secrets.randbelow(2**31 - 1) + 1, secrets.token_bytes(4)
        claims = self._serving.claims
        on_native = self._cancelled if self._native else None
        entry = Cancellable(secret, claims.sub, self._serving.target, backend.pid, backend.secret, on_native, self._withdraw)
        self._plant.cancels.add(pid, entry)
        over = False
        try:
            self._welcome(backend, pid, secret)
            notice = await self._pump()
            over = True
            return notice
        finally:
            self._plant.cancels.remove(pid)
            self._knowledge.close()
            if not over:
                # A statement may still run for somebody whose session has ended.
                await asyncio.shield(server.cancel(self._serving.target, entry.pid, entry.secret))
            self._target.close()

    # -- the client's handshake ----------------------------------------------------------------------------------------------

    async def _greet(self) -> Hello:
        """Return what the client wants, over TLS where the way is not ours. Raises Fault or Hangup."""
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                greeted = await greeting.greet(self._client, self._plant.tls, secured=self._secured)
        except TimeoutError:
            raise Fault("handshake_timeout", f"The client did not finish its handshake within {HANDSHAKE_S:.0f} s.") from None
        if greeted.hello.kind == "cancel":
            await self._cancel(greeted.hello)
            raise Hangup
        if self._serving.path == "relay" and not greeted.secured:
            hint = "Connect with: sallyport connect " + self._serving.target.name
            raise Fault("protocol_error", "The way through the relay needs TLS with the agent.", hint=hint)
        self._client.write(greeting.negotiate(greeted.hello))
        return greeted.hello

    def _wishes(self, hello: Hello) -> login.Wishes:
        database = self._serving.target.options.get("database")
        if not isinstance(database, str) or not database:
            raise Fault("target_login", f"No database is configured for {self._serving.target.name}.")
        return login.wishes(hello.parameters, database, self._serving.target.name)

    async def _cancel(self, hello: login.Hello) -> None:
        """Cancel a statement of the same person on the same target. Nobody is told whether there was one (§55.2.8)."""
        claims = self._serving.claims
        found = self._plant.cancels.find(hello.pid, hello.secret, claims.sub, self._serving.target.name)
        if found is None:
            return
        await self._record_cancel(hello.pid)
        if not found.withdraw():
            await server.cancel(found.target, found.pid, found.secret)

    async def _cancelled(self, shown_pid: int) -> None:
        """Somebody with this connection's key asks to cancel its statement, which is this session's own doing."""
        await self._apart.settled()
        await self._record_cancel(shown_pid)
        if self._withdraw():
            return
        await server.cancel(self._serving.target, self._backend.pid, self._backend.secret)

    async def _record_cancel(self, shown_pid: int) -> None:
        entry = {"event": "cancel", "process": shown_pid}
        lines = self._writer.remark(entry, self._serving.now_ms())
        await self._serving.recorder.write(CHANNEL, "jsonl", lines, durable=True)

    # -- the server ----------------------------------------------------------------------------------------------------------

    async def _reach(self, asked: login.Wishes) -> Backend:
        serving = self._serving
        account = serving.claims.login
        credential = await serving.credential(account)
        await self._knowledge.learn()
        return await server.connect(serving.target, account, credential, login.startup(account, asked, self._sid))

    def _welcome(self, backend: Backend, pid: int, secret: bytes) -> None:
        """Tell the client that it is logged in, with the server's settings and a key of our own for cancelling."""
        serving = self._serving
        known = self._knowledge.known
        classifier = self._plant.make_classifier(serving, known.current)
        masks = self._plant.make_masks(serving, lambda: known.current)
        self._decider = Decider(serving.claims, lambda: serving.policy)
        judge = Judge(self._decider, self._writer, originals=serving.sealer is not None)
        self._engine = Engine(judge, classifier, masks, self._sid, known, kept_rows(serving.target.options))
        # The client may be waiting for what was learned.
        self._knowledge.serve(self._engine, classifier, self._answered.set)
        hello = [messages.authentication(0)]
        hello += [messages.parameter_status(name, value) for name, value in backend.settings]
        hello += [messages.key_data(pid, secret), messages.ready("I")]
        self._client.write(b"".join(hello))
        serving.warn(self._warned)

    def _warned(self, words: str) -> None:
        """Say that time runs out. What is written here is whole messages, and a notice may stand between any two (§55.2.7)."""
        self._remark({"event": "warned", "text": words})
        self._client.write(notice(words, f"Session {self._sid}."))

    def _remark(self, entry: dict[str, str]) -> None:
        self._serving.recorder.write_soon(CHANNEL, "jsonl", self._writer.remark(entry, self._serving.now_ms()))

    def _transcript(self) -> JsonlWriter:
        claims = self._serving.claims
        heading = Heading(
            sid=claims.sid,
            target=claims.target,
            principal=claims.sub,
            login=claims.login,
            channel=CHANNEL,
            opened_ms=self._serving.now_ms(),
            title=f"{claims.sub} on {claims.target}",
        )
        return JsonlWriter(heading, protocol="postgres")

    # -- the two pumps -------------------------------------------------------------------------------------------------------

    def to_target(self, data: bytes) -> None:
        """Part of ``Stage``: one write for everything that one read has led to."""
        self._to_target.append(data)

    def to_client(self, data: bytes, stream: Shown) -> None:
        """Part of ``Stage``."""
        self._client.write(data)

    async def _pump(self) -> Notice:
        performer = Performer(self._serving, self)
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
            for task in (asking, answering):
                task.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)

    async def _ask(self, performer: Performer) -> None:
        """The client's pump. Ends when the client does."""
        self._client.taker = partial(self._asked_now, performer)
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

    async def _estimated(self, operation: Operation) -> list[str]:
        """Return what the planner says about a held statement, asked on a connection of its own."""

        async def connect(settings: dict[str, str]) -> Backend:
            serving, account = self._serving, self._serving.claims.login
            asked = msgspec.structs.replace(self._wished, application="estimate", settings=self._wished.settings | settings)
            credential = await serving.credential(account)
            return await server.connect(serving.target, account, credential, login.startup(account, asked, self._sid))

        return await estimate.facts(operation, self._engine.mark(), self._knowledge.known.temporaries(), connect)

    def _withdraw(self) -> bool:
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

    def _asked_now(self, performer: Performer, data: bytes) -> bool:
        """Take what the client says while its pump waits for it."""
        if self._performing:
            return False
        try:
            now_ms = self._serving.now_ms()
            self._knowledge.keep_up(now_ms)
            again = self._engine.repeat(data, now_ms)
            if again is not None:
                self._performing = True
                performer.repeat(again, self._asked)
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
        self._target.taker = partial(self._answered_now, performer)
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
            began = time.thread_time()
            await performer.perform(self._engine.receive(Side.TARGET, data, self._serving.now_ms()))
            self._target.appetite.fed(len(data), time.thread_time() - began)
            self._answered.set()
            await self._client.drain()
            self._knowledge.wish()
            # A long result must not keep other sessions from their turn.
            await asyncio.sleep(0)

    def _answered_now(self, performer: Performer, data: bytes) -> bool:
        """Show what the server says while its pump waits for it."""
        if self._serving.recorder.pressure() or not self._client.writable or self._apart.busy:
            return False
        try:
            now_ms = self._serving.now_ms()
            again = self._engine.show(data, now_ms)
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
