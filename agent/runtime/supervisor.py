"""The supervisor: every session of this agent, from an order of the control plane to the last stored chunk.

    offer ─► relay: tunnel opened, the client presents its ticket ─┐
    offer ─► direct: the client proves its certificate or ticket ──┼─► admit ─► plug-in serves ─► over ─► drained, closed
    native client without an offer: the control plane is asked ────┘

Every task of the agent hangs in one TaskGroup. A task that fails, fails alone: the only catch-all is ``_guard``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from agent.runtime.announcer import Announcer
from agent.runtime.backoff import is_final
from agent.runtime.deliveries import SOUND_DISK, Deliveries
from agent.runtime.door import Caller, ConnectionDoor
from agent.runtime.identity import Identity
from agent.runtime.listener import Place
from agent.runtime.offers import Offers, presented
from agent.runtime.onlookers import Onlookers, OpenWatch
from agent.runtime.opening import plugin_for
from agent.runtime.room import Level, Room
from agent.runtime.serving import HANDSHAKE_S, Plugin, plugin_named
from agent.runtime.session import LiveSession, Surroundings
from agent.runtime.witness import Witness
from agent.telemetry import logger
from chalicelib.contracts import recording, relay
from chalicelib.contracts.api import SessionClaim
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.policy import Moment

#: Seconds that stopping may take: plug-ins say goodbye, recordings are uploaded; the rest is recovered at the next start.
DRAIN_S: Final = 20.0
_INTERNAL: Final = Notice("internal", "The agent made a mistake; its log has more.")
_STOPPING: Final = Notice("agent_offline", "The agent is being stopped.")


class Tunnel(Protocol):
    """One session's way through the relay, already on its way up."""

    async def opening(self) -> bytes:
        """Return what the client said first: its ticket. Raises Fault."""
        ...

    def socket(self) -> socket.socket:
        """Return the agent's end of the stream; call once, after ``opening``."""
        ...

    async def abort(self, notice: Notice) -> None:
        """End the tunnel and tell the client why."""
        ...


#: Opens the tunnel of a session.
OpenTunnel = Callable[[str], AbstractAsyncContextManager[Tunnel]]


class Supervisor:
    """Owns the sessions. ``state`` is the agent's state directory."""

    def __init__(
        self,
        around: Surroundings,
        identity: Identity,
        announcer: Announcer,
        plugins: Sequence[Plugin],
        open_tunnel: OpenTunnel,
        *,
        state: Path,
        room: Room,
        silent: str = "",
        max_sessions: int = 200,
        witness: Witness | None = None,
        open_watch: OpenWatch | None = None,
    ) -> None:
        """``witness`` says whether the log is what it was; without one sessions begin whatever the log says.

        ``open_watch`` opens the tunnel of a watch; without it nobody can look on.
        """
        self._around = around
        self._identity = identity
        self._announcer = announcer
        self._plugins = plugins
        self._open_tunnel = open_tunnel
        self._state = state
        self._silent = silent
        self._max_sessions = max_sessions
        self._room = room
        room.on_change = self._room_changed
        self.on_refusing: Callable[[], None] = lambda: None
        """Called when ``refuses`` has changed."""
        self._offers = Offers(around.clock.now_ms)
        self._live: dict[str, LiveSession] = {}
        self._deliveries = Deliveries(around, state, self.spawn, self.give_up)
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._stop = asyncio.Event()
        self.failure: Fault | None = None
        """Why ``run`` ended by itself; None where it was told to."""
        self._witness = witness
        self._onlookers = (
            Onlookers(identity, open_watch, self._live.get, self.spawn, lambda: around.configuration.policy)
            if open_watch
            else None
        )
        announcer.on_change = self._end_orphans
        around.journal.on_fault = self._log_failed

    # --- the agent's life

    async def run(self, background: Iterable[Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
        """Run until ``stop`` or ``give_up``, then drain for ``DRAIN_S`` at most. ``background`` runs beside and ends first."""
        self._stop = stop
        leftovers = await self._deliveries.leftovers()
        await self._around.journal.open(self._state / "damaged")
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            beside = [tasks.create_task(each) for each in background]
            self._deliveries.recover(leftovers)
            await stop.wait()
            logger().info("agent.stopping", sessions=len(self._live))
            self._stopping = True
            for task in beside:
                task.cancel()
            await self._drain()

    async def _drain(self) -> None:
        self._offers.withdraw_all()
        for session in list(self._live.values()):
            session.end(_STOPPING)
        if self._running:
            await asyncio.wait(set(self._running), timeout=DRAIN_S)
        for task in self._running:
            task.cancel()
        if self._running:
            logger().warning("agent.undelivered", sessions=sorted({*self._live, *self._deliveries.underway}))

    def give_up(self, failure: Fault) -> None:
        """End the agent: its disk has failed, and what it holds can only be read again by a process that believes nothing."""
        if self.failure is None:
            logger().error("agent.giving_up", code=failure.code, reason=failure.message, detail=failure.detail)
            self.failure = failure
            self._stop.set()

    def _log_failed(self, fault: Fault) -> None:
        self.give_up(Fault(fault.code, fault.message, hint=SOUND_DISK, detail=fault.detail))

    def spawn(self, work: Coroutine[Any, Any, None], **bound: str) -> asyncio.Task[None]:
        """Run ``work`` beside everything else; what it raises is logged and ends it alone."""
        assert self._tasks is not None
        task = self._tasks.create_task(self._guard(work, bound))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _guard(self, work: Coroutine[Any, Any, None], bound: dict[str, str]) -> None:
        try:
            await work
        except Fault as fault:
            logger(**bound).warning("session.failed", code=fault.code, reason=fault.message, detail=fault.detail)
        except Exception:  # noqa: BLE001 - the one catch-all: one session's bug may not end the others
            logger(**bound).exception("agent.internal_fault")

    # --- orders of the control plane

    def offered(self, offer: relay.Offer) -> None:
        """Wait for the client of an offered session on the relay; it may also come directly."""
        try:
            claims = self._identity.ticket(offer.ticket)
            if claims.sid != offer.sid:
                raise Fault("ticket_mismatch", "The offer and its ticket name different sessions.")
        except Fault as fault:
            logger(sid=offer.sid).warning("offer.refused", code=fault.code, reason=fault.message)
            return
        if not self._stopping and self._offers.add(claims):
            self._offers.waits_in(claims.sid, self.spawn(self._relayed(claims), sid=claims.sid))

    def killed(self, kill: relay.Kill) -> None:
        """End a session now, or forget its offer."""
        logger(sid=kill.sid).info("session.killed", code=kill.code)
        self._offers.withdraw(kill.sid)
        session = self._live.get(kill.sid)
        if session is not None:
            session.end(Notice(kill.code, kill.message), killed=True)

    def watched(self, watch: relay.Watch) -> None:
        """Let somebody look on at a session, if policy still says so."""
        if self._onlookers is not None and not self._stopping:
            self._onlookers.asked(watch)

    def refreshed(self, version: str) -> None:
        """Learn the newest configuration, and what others have answered meanwhile."""
        self._announcer.ask()
        for session in self._live.values():
            session.waits.connected()

    def decided(self, decided: relay.Decided) -> None:
        """Wake whoever waits for this answer."""
        session = self._live.get(decided.sid)
        if session is not None:
            session.waits.decided(decided.rid, decided.approval)

    def live(self) -> list[str]:
        """Sessions that are served, uploaded or recovered."""
        return sorted({*self._live, *self._deliveries.underway})

    def refuses(self) -> str:
        """Return the fault code with which new sessions are turned away; empty while there is room."""
        refusal = self._room.refusal or (self._witness.refusal if self._witness is not None else None)
        return refusal.code if refusal is not None else ""

    def _room_changed(self, level: Level) -> None:
        self.on_refusing()
        if level is Level.CRITICAL:
            for session in list(self._live.values()):
                session.end(self._room.ending)

    def _end_orphans(self) -> None:
        """End what a newer configuration does not permit any more: a grant that is taken back is taken back at once."""
        policy = self._around.configuration.policy
        for session in self._live.values():
            claims = session.claims
            target = policy.document.target(claims.target)
            if target is None:
                session.end(Notice("session_ended", "The target was taken out of the gateway's configuration."))
                continue
            # As of its opening: rules about the hour of the day decide about opening, not about staying.
            moment = Moment(now_ms=claims.iat * 1000, reason=claims.reason, login=claims.login, source_ip=claims.source_ip)
            verdict = policy.connect(claims.principal, target, moment, frozenset(claims.approvals))
            if claims.login not in target.logins or not verdict.allowed:
                session.end(Notice("session_killed", "A newer policy does not permit this session."), killed=True)
            elif self._onlookers is not None:
                self._onlookers.recheck(session)

    # --- ways in

    async def _relayed(self, offer: TicketClaims) -> None:
        patience = asyncio.get_running_loop().time() + offer.exp - self._around.clock.now_ms() / 1000
        late = Fault("ticket_expired", "Nobody presented the ticket in time.")
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(patience):
                    tunnel = await stack.enter_async_context(self._open_tunnel(offer.sid))
            except TimeoutError:
                raise late from None
            try:
                try:
                    async with asyncio.timeout_at(patience):
                        text = await tunnel.opening()
                except TimeoutError:
                    raise late from None
                claims = presented(self._identity, offer, text.decode("ascii", "replace"))
                session = await self.admit(claims, "relay")
            except Fault as fault:
                logger(sid=offer.sid).info("session.refused", code=fault.code, reason=fault.message, detail=fault.detail)
                await tunnel.abort(fault.notice)
                return
            await self._serve(session, tunnel.socket())

    async def _serve(self, session: LiveSession, connection: socket.socket) -> None:
        plugin = plugin_named(self._plugins, session.target.protocol)
        assert plugin is not None  # admit has looked
        notice = _INTERNAL
        try:
            session.server = asyncio.current_task()
            notice = await plugin.serve(connection, session)
        except asyncio.CancelledError:
            connection.close()
            notice = session.ending or _STOPPING
            raise
        finally:
            session.over(notice)

    async def receive(self, connection: socket.socket, address: str, sid: str, place: Place) -> None:
        """Serve a native client that the listener accepted."""
        plugin = self._expected(sid) or await plugin_for(self._plugins, connection, self._silent)
        if plugin is None or self._stopping:
            if plugin is None:
                logger(source_ip=address).info("listener.not_recognised")
            connection.close()
            return
        try:
            async with asyncio.timeout(HANDSHAKE_S + 5) as patience:
                me = asyncio.current_task()

                def entered(session: LiveSession) -> None:
                    session.server = me
                    patience.reschedule(None)
                    place.leave()

                around = self._around
                caller = Caller(address, plugin.announcement.name, sid)
                door = ConnectionDoor(around.control, self._identity, self._offers, self.admit, caller, entered)
                try:
                    await plugin.accept(connection, address, sid, door)
                finally:
                    if door.session is not None:
                        door.session.over(Notice("ok", ""))
        except TimeoutError:
            logger(source_ip=address).info("listener.handshake_timeout")
            connection.close()

    def _expected(self, sid: str) -> Plugin | None:
        """Return the plug-in of the session that a client names, where it is offered already."""
        offer = self._offers.find(sid)
        target = self._around.configuration.policy.document.target(offer.target) if offer is not None else None
        return plugin_named(self._plugins, target.protocol) if target is not None else None

    async def admit(self, claims: TicketClaims, path: Literal["relay", "direct"], protocol: str = "") -> LiveSession:
        """Make a session of a verified ticket: checked, used up, with a place to record, and claimed. Raises Fault.

        ``protocol`` is what the client speaks already, or empty where the target decides that.
        """
        await self._check_room()
        if claims.policy_version > self._around.configuration.version:
            # Decided by rules that this agent has not seen yet; it must not decide about operations by older ones.
            await self._announcer.announce()
        target = self._around.configuration.target(claims.target)
        if claims.login not in target.logins:
            raise Fault("unknown_login", "The target has no such login.")
        if plugin_named(self._plugins, target.protocol) is None:
            raise Fault("not_supported", f"This agent does not speak {target.protocol}.")
        if protocol not in ("", target.protocol):
            raise Fault("not_supported", f"{target.name} speaks {target.protocol}, and this client {protocol}.")
        self._offers.take(claims)
        if self._witness is not None:
            await self._witness.promise(claims)
        session = self._live[claims.sid] = LiveSession(self._around, claims, target, path)
        claimed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # In a task of its own: whoever waits here may be cancelled when its client goes, and half a claim would be nobody's.
        self.spawn(self._begin(session, claimed), sid=claims.sid)
        try:
            await claimed
        except asyncio.CancelledError:
            session.over(Notice("ok", ""))
            raise
        return session

    async def _check_room(self) -> None:
        if self._stopping:
            raise Fault(_STOPPING.code, _STOPPING.message)
        if sum(not session.is_over for session in self._live.values()) >= self._max_sessions:
            raise Fault("agent_full", "The agent serves as many sessions as it may.", hint="Try again later.")
        if self._witness is not None and (doubt := self._witness.refusal) is not None:
            raise doubt
        await self._room.look()
        if (refusal := self._room.refusal) is not None:
            raise refusal

    async def _begin(self, session: LiveSession, claimed: asyncio.Future[None]) -> None:
        """Claim the session, tell who waits for it, and live until it is closed."""
        sid, notice = session.sid, None
        try:
            await session.prepare(
                self._deliveries.folder(self._deliveries.spool / sid), recording.seed(sid, self._identity.public_bytes)
            )
            mine = await self._around.control.claim(sid, SessionClaim(path=session.path))
        except Fault as fault:
            if not claimed.done():
                claimed.set_exception(fault)
            if is_final(fault) or not session.prepared:
                del self._live[sid]
                await session.abandon()
                return
            # The claim may have arrived although its answer did not: have the control plane told that it is over.
            notice = fault.notice
        else:
            try:
                session.keep_originals(self._identity.sealing_key(mine.sealing, session.claims) if mine.sealing else None)
            except Fault as fault:
                notice = fault.notice
                if not claimed.done():
                    claimed.set_exception(fault)
        if notice is not None:
            session.over(notice)
        else:
            logger(sid=sid).info("session.started", target=session.claims.target, path=session.path)
            if not claimed.done():
                claimed.set_result(None)
        await self._life(session)

    # --- the way out

    async def _life(self, session: LiveSession) -> None:
        self._deliveries.underway.add(session.sid)
        try:
            kept = await session.live()
            end = session.outcome()
            logger(sid=session.sid).info("session.over", state=end.state, chunks=kept.recorder.progress.n)
            await self._deliveries.finish(kept, end)
        finally:
            if not session.is_over:
                # Without its recording a session may not go on, whatever ended that.
                session.end(_INTERNAL)
                if session.server is not None:
                    session.server.cancel()
            self._live.pop(session.sid, None)
            self._deliveries.underway.discard(session.sid)
