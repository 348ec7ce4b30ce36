"""One connection of a client: its handshake, the server behind it, and what ends it.

The core's relay asks an engine for units and lets the gate decide each. Here an engine may have to wait for the server before
it can say what the client's next message means, and several statements are decided at once; so this plug-in has a driver of its
own (``pumps``). It performs effects with the core's ``Performer``, so an effect that fails is still the last one performed.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import structlog

from agent.core.policy import Decider, Decision
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.protocols.postgres import backend as server
from agent.protocols.postgres import estimate, greeting, login, messages, replication
from agent.protocols.postgres.apart import Apart
from agent.protocols.postgres.backend import Backend
from agent.protocols.postgres.cancels import Cancellable, Cancels
from agent.protocols.postgres.catalogue import Catalogues
from agent.protocols.postgres.classify import Classifier
from agent.protocols.postgres.denial import farewell
from agent.protocols.postgres.engine import Engine
from agent.protocols.postgres.greeting import Greeted, Hangup
from agent.protocols.postgres.held import notice
from agent.protocols.postgres.judge import Judge
from agent.protocols.postgres.kept import kept_rows
from agent.protocols.postgres.knowledge import Knowledge
from agent.protocols.postgres.login import Hello
from agent.protocols.postgres.masks import Masks
from agent.protocols.postgres.pumps import Pumps
from agent.protocols.postgres.snapshot import Snapshot
from agent.protocols.postgres.stream import Stream
from agent.protocols.postgres.walsender import Walsender, unmasked
from agent.runtime.relay import OK
from agent.runtime.serving import HANDSHAKE_S, Serving
from chalicelib.contracts.faults import CODES, Fault, Notice
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import DENY, Verdict

_log: Final = structlog.get_logger()

CHANNEL: Final = 1

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
        self._pumps: Pumps
        self._wished: login.Wishes
        self._apart = Apart()
        self._knowledge = Knowledge(serving, plant.catalogues, self._apart)

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
        if asked.replication:
            await self._replicates(asked.replication)
        backend = await self._reach(asked)
        self._target, self._backend = backend.stream, backend
        secret = secrets.token_bytes(4)
        claims = self._serving.claims
        on_native = self._cancelled if self._native else None
        entry = Cancellable(secret, claims.sub, self._serving.target, backend.pid, backend.secret, on_native, self._withdraw)
        self._plant.cancels.add(entry)
        over = False
        try:
            self._welcome(backend, secret)
            notice = await self._pumps.run()
            over = True
            return notice
        finally:
            self._plant.cancels.remove(entry)
            self._knowledge.close()
            self._break_off()
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

    async def _replicates(self, mode: Literal["true", "database"]) -> None:
        """Raise Fault where a replication connection is nothing for this person on this target."""
        serving = self._serving
        if serving.target.options.get("replication") is not True:
            hint = "Its configuration would have to say: replication: true"
            raise Fault("not_supported", f"Replication is not available on {serving.target.name}.", hint=hint)
        operation = replication.connection(mode)
        now_ms = serving.now_ms()
        decision = Decider(serving.claims, lambda: serving.policy).decide(operation, now_ms)
        hidden = self._plant.make_masks(serving, lambda: self._knowledge.known.current).hidden()
        if decision.held or (decision.permit is not None and not hidden):
            return  # what is asked for there is decided, one by one
        if decision.permit is not None:
            decision = Decision(verdict=Verdict(DENY, message=unmasked(hidden)), code="denied", version=decision.version)
        line = self._writer.decided(operation, decision, now_ms, (operation.text, ()))
        await serving.recorder.write(CHANNEL, "jsonl", line, durable=True)
        serving.count(operations=1, denied=1)
        serving.report_denied(operation, decision.verdict, operation.text)
        rules = ", ".join(decision.verdict.rules)
        raise Fault(decision.code, decision.message, hint=f"Decided by rule {rules}." if rules else "")

    async def _cancel(self, hello: login.Hello) -> None:
        """Cancel a statement of the same person on the same target. Nobody is told whether there was one (§55.2.8)."""
        claims = self._serving.claims
        found = self._plant.cancels.find(hello.pid, hello.secret, claims.sub, self._serving.target.name)
        if found is None:
            return
        await self._record_cancel(hello.pid)
        if not found.withdraw():
            await server.cancel(found.target, found.pid, found.secret)

    async def _cancelled(self, pid: int) -> None:
        """Somebody with this connection's key asks to cancel its statement, which is this session's own doing."""
        await self._apart.settled()
        await self._record_cancel(pid)
        if self._pumps.withdraw():
            return
        await server.cancel(self._serving.target, self._backend.pid, self._backend.secret)

    async def _record_cancel(self, pid: int) -> None:
        entry = {"event": "cancel", "process": pid}
        lines = self._writer.remark(entry, self._serving.now_ms())
        await self._serving.recorder.write(CHANNEL, "jsonl", lines, durable=True)

    # -- the server ----------------------------------------------------------------------------------------------------------

    async def _reach(self, asked: login.Wishes) -> Backend:
        serving = self._serving
        account = serving.claims.login
        credential = await serving.credential(account)
        await self._knowledge.learn(asked.path)
        return await server.connect(serving.target, account, credential, login.startup(account, asked, self._sid))

    def _welcome(self, backend: Backend, secret: bytes) -> None:
        """Tell the client that it is logged in, with the server's settings and a key of our own for cancelling."""
        serving = self._serving
        known = self._knowledge.known
        classifier = self._plant.make_classifier(serving, known.current)
        masks = self._plant.make_masks(serving, lambda: known.current)
        decider = Decider(serving.claims, lambda: serving.policy)
        judge = Judge(decider, self._writer, originals=serving.sealer is not None)
        self._engine = self._spoken(judge, classifier, masks)
        streams = (self._client, self._target)
        self._pumps = Pumps(serving, streams, self._engine, self._knowledge, self._apart, decider, self._estimated)
        self._knowledge.serve(self._engine, classifier, self._pumps.learned)
        hello = [messages.authentication(0)]
        hello += [messages.parameter_status(name, value) for name, value in backend.settings]
        hello += [messages.key_data(backend.pid, secret), messages.ready("I")]
        self._client.write(b"".join(hello))
        serving.warn(self._warned)

    def _spoken(self, judge: Judge, classifier: Classifier, masks: Masks) -> Engine:
        rows, known, mode = kept_rows(self._serving.target.options), self._knowledge.known, self._wished.replication
        if mode:
            return Walsender(judge, classifier, masks, self._sid, known, rows, physical=mode == "true")
        return Engine(judge, classifier, masks, self._sid, known, rows)

    def _break_off(self) -> None:
        """Say of a stream how far it has come."""
        if hasattr(self, "_engine"):
            for entry in self._engine.broken_off(self._serving.now_ms()):
                self._remark(entry)

    async def _estimated(self, operation: Operation) -> list[str]:
        """Return what the planner says about a held statement, asked on a connection of its own."""

        async def connect(settings: dict[str, str]) -> Backend:
            serving, account = self._serving, self._serving.claims.login
            asked = msgspec.structs.replace(self._wished, application="estimate", settings=self._wished.settings | settings)
            credential = await serving.credential(account)
            return await server.connect(serving.target, account, credential, login.startup(account, asked, self._sid))

        return await estimate.facts(operation, self._engine.mark(), self._knowledge.known.temporaries(), connect)

    def _withdraw(self) -> bool:
        return self._pumps.withdraw()

    def _warned(self, words: str) -> None:
        """Say that time runs out. What is written here is whole messages, and a notice may stand between any two (§55.2.7)."""
        self._remark({"event": "warned", "text": words})
        self._client.write(notice(words, f"Session {self._sid}."))

    def _remark(self, entry: dict[str, Any]) -> None:
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
