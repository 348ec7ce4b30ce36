"""Watchers at the agent's door: from the control plane's order to the end of the watch.

    order ─► tunnel ─► the watcher presents the same ticket ─► policy in force ─► TLS with the agent's key ─► Audience

The tunnel is one like a session's, with sockets of its own. Everything is checked here again: the ticket's signature, agent, time
and single use, that the session is live, and that the policy in force now still lets this person watch it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from agent.runtime.agent_tls import AgentTls
from agent.runtime.identity import Identity
from agent.runtime.serving import HANDSHAKE_S
from agent.runtime.session import LiveSession
from agent.runtime.watching import LEFT
from agent.telemetry import logger
from chalicelib.contracts import relay, watching
from chalicelib.contracts.capability import WatchClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.policy import Moment, Policy

#: Seconds that a watcher may take to read why it is over.
_LAST_WORDS_S: Final = 2.0
#: Watches of this agent, at the door or inside: each has a WebSocket and a TLS connection.
OPEN: Final = 128
#: Tickets that are remembered as used; each is good for a minute, and the control plane makes one per question.
_USED: Final = 10_000


class Tunnel(Protocol):
    """One watch's way through the relay; like ``supervisor.Tunnel``."""

    async def opening(self) -> bytes:
        """Return what the watcher said first: the ticket. Raises Fault."""
        ...

    def socket(self) -> Any:
        """Return the agent's end of the stream; call once, after ``opening``."""
        ...

    async def abort(self, notice: Notice) -> None:
        """End the tunnel and tell the watcher why."""
        ...


#: Opens the tunnel of a watch, for its session and with its ticket.
OpenWatch = Callable[[str, str], AbstractAsyncContextManager[Tunnel]]


class Onlookers:
    """Lets watchers in. ``find`` returns a live session; ``spawn`` runs something beside everything else."""

    def __init__(
        self,
        identity: Identity,
        open_watch: OpenWatch,
        find: Callable[[str], LiveSession | None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        policy: Callable[[], Policy],
    ) -> None:
        self._identity = identity
        self._open_watch = open_watch
        self._find = find
        self._spawn = spawn
        self._policy = policy
        self._tls = AgentTls(identity)
        self._open = 0
        self._known: dict[str, None] = {}
        """Watches that were let in or turned away. The control plane repeats an order while its watcher asks for the agent."""

    def asked(self, order: relay.Watch) -> None:
        """Somebody wants to look on."""
        try:
            claims = self._identity.watch_ticket(order.ticket)
            if claims.sid != order.sid:
                raise Fault("ticket_mismatch", "The order and its ticket name different sessions.")
        except Fault as fault:
            logger(sid=order.sid).warning("watch.refused", code=fault.code, reason=fault.message)
            return
        if claims.wid in self._known:
            return
        if self._open >= OPEN:
            logger(sid=order.sid).warning("watch.refused", code="too_many", reason="This agent has as many watchers as it may.")
            return
        self._known[claims.wid] = None
        if len(self._known) > _USED:
            del self._known[next(iter(self._known))]
        self._open += 1
        self._spawn(self._admit(claims, order.ticket))

    def recheck(self, session: LiveSession) -> None:
        """Policy may have changed: end every watch of ``session`` that is not permitted any more."""

        def refusal(claims: WatchClaims) -> Notice | None:
            try:
                self._check(session, claims)
            except Fault as fault:
                return fault.notice
            return None

        session.audience.recheck(refusal)

    async def _admit(self, claims: WatchClaims, ticket: str) -> None:
        try:
            await self._serve(claims, ticket)
        except (OSError, TimeoutError) as error:
            # Nobody came, or what came does not speak TLS: the other side's doing, and the end of this watch alone.
            logger(sid=claims.sid, wid=claims.wid).info("watch.failed", reason=f"{type(error).__name__}: {error}")
        finally:
            self._open -= 1

    async def _serve(self, claims: WatchClaims, ticket: str) -> None:
        told = logger(sid=claims.sid, wid=claims.wid)
        async with asyncio.timeout(self._seconds(claims.exp * 1000)) as patience, self._open_watch(claims.sid, ticket) as tunnel:
            try:
                if (await tunnel.opening()).decode("ascii", "replace") != ticket:
                    raise Fault("ticket_mismatch", "The ticket is for another watch.")
                session = self._find(claims.sid)
                if session is None or session.is_over or session.ending is not None:
                    raise Fault("session_ended", "The session is over.")
                self._check(session, claims)
            except Fault as fault:
                told.info("watch.refused", code=fault.code, reason=fault.message)
                await tunnel.abort(fault.notice)
                return
            patience.reschedule(None)
            reader, writer = await _secure(tunnel.socket(), self._tls.context())
            try:
                await self._show(session, claims, ticket, reader, writer)
            finally:
                writer.close()

    def _check(self, session: LiveSession, claims: WatchClaims) -> None:
        """Raise Fault unless the policy in force lets this person look on."""
        policy = self._policy()
        target = policy.document.target(session.claims.target)
        if target is None:
            raise Fault("denied", "The target was taken out of the gateway's configuration.")
        about = (session.sid, session.claims.sub, "live")
        # As of the question: rules about the hour of the day decide about beginning, not about going on.
        moment = Moment(now_ms=claims.iat * 1000, source_ip=claims.source_ip)
        verdict = policy.watch(claims.principal, about, target, moment)
        if not verdict.allowed:
            raise Fault("denied", verdict.message, hint=f"Decided by rule {verdict.rule}." if verdict.rule else "")

    async def _show(
        self, session: LiveSession, claims: WatchClaims, ticket: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        of = session.claims
        try:
            watch = session.audience.enter(claims, ticket)
        except Fault as fault:
            writer.write(watching.encode(watching.Over(code=fault.code, message=fault.message)))
            await writer.drain()
            return
        session.report_watch(watch)
        told, notice = logger(sid=claims.sid, wid=claims.wid), LEFT
        told.info("watch.began")
        try:
            begun = watching.Begun(sid=of.sid, owner=of.sub, target=of.target, login=of.login, protocol=session.target.protocol)
            writer.write(watching.encode(begun))
            notice = await watch.run(reader, writer, self._seconds(claims.deadline_ms))
        finally:
            session.report_watch(watch, notice)
            session.audience.leave(watch)
            told.info("watch.ended", code=notice.code, shown=watch.shown)
        await watch.last_words(writer, _LAST_WORDS_S)

    def _seconds(self, until_ms: int) -> float:
        return max(0.0, (until_ms - self._identity.now_ms()) / 1000)


async def _secure(connection: Any, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the streams behind TLS, as its server. Raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[asyncio.StreamWriter] = loop.create_future()
    reader = asyncio.StreamReader(limit=1024)  # a watcher says nothing

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.set_result(writer)

    protocol = asyncio.StreamReaderProtocol(reader, connected)
    await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context, ssl_handshake_timeout=HANDSHAKE_S)
    return reader, await made
