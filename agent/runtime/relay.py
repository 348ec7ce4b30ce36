"""The relay: runs a sans-io engine between a client's socket and a TCP target, through the gate.

:class:`Performer` carries out what the gate orders, one effect at a time. It is the only place where an effect becomes an act,
for every protocol, including those whose library owns the socket (SSH). If an effect fails, nothing behind it is performed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from agent.core.effects import Ask, Close, Count, Effect, Housekeep, Record, Repeat, Report, Show, ToClient, ToTarget, Use
from agent.core.gate import Gate
from agent.core.masking import shown
from agent.core.plugin import Engine
from agent.core.policy import Decider, permitted
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Side, Stream, Tick
from agent.runtime.serving import HANDSHAKE_S, Door, More, Serving
from chalicelib.contracts import gateway, originals
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.gateway import Target

OK: Final = Notice("ok", "")
#: Bytes per read. A read is one batch of units, so this bounds how long one peer holds the loop.
READ: Final = 64 * 1024


class Ended(Exception):  # noqa: N818 - an end is not an error
    """The session is over; ``notice`` says why."""

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        super().__init__(notice.code)


class Stage(Protocol):
    """Where performed bytes go. Neither method waits; back-pressure is the owner's business."""

    def to_target(self, data: bytes) -> None:
        """Send ``data`` to the target."""
        ...

    def to_client(self, data: bytes, stream: Stream) -> None:
        """Send ``data`` to the client."""
        ...


#: Is given what is asked for again, to be sent to the target; or nothing, and why.
Again = Callable[[bytes, Exception | None], None]


class Performer:
    """Performs effects in their order, on behalf of one session."""

    def __init__(self, serving: Serving, stage: Stage) -> None:
        self._serving = serving
        self._recorder = serving.recorder
        self._stage = stage
        self._repeating = b""
        self._again: Again
        self._orders: dict[type, Callable[[Any], None]] = {
            ToClient: self._show,
            Record: self._record,
            ToTarget: self._forward,
            Housekeep: self._housekeep,
            Count: self._count,
            Report: self._report,
            Ask: self._ask,
            Close: self._close,
        }

    def perform_now(self, effects: list[Effect]) -> list[Effect]:
        """Perform effects up to the first that has to wait. Returns that one and everything behind it."""
        orders = self._orders
        for index, effect in enumerate(effects):
            kind = type(effect)
            if kind is Use or (kind is Record and effect.durable):  # type: ignore[union-attr]
                return effects[index:]
            orders[kind](effect)
        return []

    async def perform(self, effects: list[Effect]) -> None:
        """Perform all effects. Raises Fault or Ended; what stood behind the failure is not performed."""
        rest = self.perform_now(effects)
        while rest:
            first = rest[0]
            if isinstance(first, Use):
                await self._serving.approvals.use(first.rid, first.digest)
            else:
                assert isinstance(first, Record)
                self._keep(first.originals)
                await self._serving.recorder.write(first.channel, first.kind, first.lines, durable=True)
            rest = self.perform_now(rest[1:])

    def perform_then(self, effects: list[Effect], done: Callable[[list[Effect], Exception | None], None]) -> None:
        """Perform effects as ``perform`` does, without a task; then call ``done``, at once or later. Raises nothing.

        ``done`` is given what only a task can wait for, with everything behind it, and the exception that ended it all.
        """
        try:
            rest = self.perform_now(effects)
            if rest and isinstance(first := rest[0], Record):
                self._keep(first.originals)
                behind = partial(self._recorded, rest[1:], done)
                self._serving.recorder.write_then(first.channel, first.kind, first.lines, behind)
                return
        except Exception as error:  # noqa: BLE001 - raised again by whoever owns ``done``
            rest = []
            done(rest, error)
        else:
            done(rest, None)

    def repeat(self, effect: Repeat, again: Again) -> None:
        """Perform ``effect``: ``again`` is called with what is to be sent to the target, at once or later. One at a time."""
        self._again = again
        try:
            self._repeating = permitted(effect.permit)
            if effect.originals:
                self._keep(effect.originals)
            self._recorder.write_then(effect.channel, effect.kind, effect.lines, self._on_disk)
        except Exception as error:  # noqa: BLE001 - raised again by whoever owns ``again``
            again(b"", error)

    def _on_disk(self, fault: Fault | None) -> None:
        """Forward what was asked again, unless its lines could not be kept."""
        if fault is None:
            self._serving.count(operations=1)
            self._again(self._repeating, None)
        else:
            self._again(b"", fault)

    def show(self, effect: Show) -> None:
        """Perform ``effect``. Raises PermissionError for bytes that masking has not seen, before anything is written."""
        data = shown(effect.clean)
        if effect.originals:
            self._keep(effect.originals)
        self._recorder.write_soon(effect.channel, effect.kind, effect.lines)
        self._stage.to_client(data, "out")

    def _recorded(self, rest: list[Effect], done: Callable[[list[Effect], Exception | None], None], fault: Fault | None) -> None:
        if fault is None:
            self.perform_then(rest, done)
        else:
            done([], fault)

    def _show(self, effect: ToClient) -> None:
        self._stage.to_client(effect.clean.data, effect.stream)

    def _record(self, effect: Record) -> None:
        if effect.originals:
            self._keep(effect.originals)
        if effect.lines:
            self._recorder.write_soon(effect.channel, effect.kind, effect.lines)

    def _keep(self, lines: tuple[bytes, ...]) -> None:
        """Seal originals and write them before what is recorded of them: a durable record makes both durable."""
        sealer = self._serving.sealer
        if lines and sealer is not None:
            self._serving.recorder.write_soon(originals.CHANNEL, "sealed", sealer.seal(lines))

    def _forward(self, effect: ToTarget) -> None:
        self._stage.to_target(effect.asked.data)

    def _housekeep(self, effect: Housekeep) -> None:
        if effect.to is Side.TARGET:
            self._stage.to_target(effect.data)
        else:
            self._stage.to_client(effect.data, "out")

    def _count(self, effect: Count) -> None:
        self._serving.count(operations=effect.operations, denied=effect.denied)

    def _report(self, effect: Report) -> None:
        self._serving.report_denied(effect.operation, effect.verdict, effect.shown)

    def _ask(self, effect: Ask) -> None:
        raise PermissionError("whoever has a gate ask others waits for their answer, and performs nothing else meanwhile")

    def _close(self, effect: Close) -> None:
        raise Ended(effect.notice)


class Setting(msgspec.Struct, frozen=True):
    """What an engine may know about the session that it is made for."""

    claims: TicketClaims
    target: Target


class EnginePlugin:
    """Turns a sans-io engine into a plug-in for the runtime. Only for protocols whose clients come with a ticket."""

    def __init__(self, announcement: gateway.Protocol, make_engine: Callable[[Setting], Engine]) -> None:
        self.announcement = announcement
        self._make_engine = make_engine

    async def serve(self, connection: socket.socket, serving: Serving) -> Notice:
        """Relay between ``connection`` and the target until either side ends. Returns why it ended."""
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
        except OSError:
            connection.close()
            return OK
        try:
            target_reader, target_writer = await dial(serving)
        except Fault as fault:
            serving.report_target(fault.notice)
            writer.close()
            return fault.notice
        engine = self._make_engine(Setting(serving.claims, serving.target))
        session = _Relay(self.announcement.name, engine, serving, (reader, writer), (target_reader, target_writer))
        try:
            return await session.run()
        finally:
            for each in (writer, target_writer):
                each.close()

    def recognise(self, first: bytes) -> bool | More:
        """Recognise nobody: an engine has no native clients."""
        return False

    async def accept(self, connection: socket.socket, source_ip: str, sid: str, door: Door) -> None:
        """Refuse: an engine cannot tell who a native client is."""
        connection.close()


async def dial(serving: Serving) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the target. Raises Fault(target_unreachable | target_timeout)."""
    host, port = split_address(serving.target.address)
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            reader, writer = await asyncio.open_connection(host, port, limit=READ)
    except TimeoutError:
        raise Fault("target_timeout", f"{serving.target.name} did not answer within {HANDSHAKE_S:.0f} s.") from None
    except OSError as error:
        raise unreachable(serving.target, error) from None
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reader, writer


def unreachable(target: Target, error: OSError) -> Fault:
    """Return the fault for a target that cannot be dialled. The address is the operator's business and stays in ``detail``."""
    return Fault(
        "target_unreachable",
        f"The agent cannot reach {target.name}.",
        hint="Its administrators can see why in the agent's log.",
        detail=f"{target.address}: {error}",
    )


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``. Raises Fault(target_unreachable) where there is no port."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        raise Fault("target_unreachable", "The target's address in the gateway's configuration is not host:port.")
    return host.removeprefix("[").removesuffix("]"), int(port)


class _Relay:
    """One client, one target, one engine, two pumps."""

    def __init__(
        self,
        protocol: str,
        engine: Engine,
        serving: Serving,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        target: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        claims = serving.claims
        heading = Heading(
            sid=claims.sid,
            target=claims.target,
            principal=claims.sub,
            login=claims.login,
            channel=1,
            opened_ms=serving.now_ms(),
            title=f"{claims.sub} on {claims.target}",
        )
        decider = Decider(claims, lambda: serving.policy)
        self._gate = Gate(
            decider, JsonlWriter(heading, protocol=protocol, shows=True), engine, originals=serving.sealer is not None
        )
        self._engine = engine
        self._serving = serving
        self._performer = Performer(serving, self)
        self._readers = {Side.CLIENT: client[0], Side.TARGET: target[0]}
        self._writers = {Side.CLIENT: client[1], Side.TARGET: target[1]}

    def to_target(self, data: bytes) -> None:
        self._writers[Side.TARGET].write(data)

    def to_client(self, data: bytes, stream: Stream) -> None:
        self._writers[Side.CLIENT].write(data)

    async def run(self) -> Notice:
        """Pump both ways until the target ends, the client's last bytes were answered, or the session is over."""
        pumps = {side: asyncio.ensure_future(self._pump(side)) for side in Side}
        try:
            return await self._until_over(pumps[Side.CLIENT], pumps[Side.TARGET])
        finally:
            for task in pumps.values():
                task.cancel()
            await asyncio.gather(*pumps.values(), return_exceptions=True)

    async def _until_over(self, client: asyncio.Future[None], target: asyncio.Future[None]) -> Notice:
        waiting: set[asyncio.Future[Any]] = {client, target, self._serving.ended}
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._serving.ended in done:
                return self._serving.ended.result()
            for task in done:
                try:
                    task.result()
                except (Fault, Ended) as over:
                    return over.notice
                except OSError:
                    return OK
            if target in done:
                return OK

    async def _pump(self, side: Side) -> None:
        reader, other = self._readers[side], self._writers[Side.TARGET if side is Side.CLIENT else Side.CLIENT]
        data = b"start"
        while data:
            if side is Side.TARGET and self._serving.recorder.pressure():
                await self._serving.recorder.relieved()
            data = await reader.read(READ)
            await self._performer.perform(self._gate.handle(Tick(self._serving.now_ms())))
            for unit in self._engine.receive(side, data):
                await self._performer.perform(self._gate.handle(unit))
            for writer in self._writers.values():
                await writer.drain()
        if other.can_write_eof():
            other.write_eof()
