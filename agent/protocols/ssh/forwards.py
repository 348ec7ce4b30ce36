"""The forwarded ports of one client: ``-L``, ``-D``, ``-W`` and ``-J`` go on from the target, ``-R`` comes back from it.

    client ──► asked, decided, recorded ──► the target's sshd connects on        (direct-tcpip, RFC 4254 §7.2)
    client ◄── recorded ◄────────────────── somebody connects at the target      (forwarded-tcpip, where -R was permitted)

Nothing is dialled or listened on from here: where a connection goes is the target's network and the target's names. What passes
is counted and hashed, and neither decided nor kept. The target is asked for nothing before policy, and others where it says so,
have said yes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import asyncssh
import structlog
from asyncssh.constants import MSG_GLOBAL_REQUEST

from agent.core.units import Asked
from agent.protocols.ssh import engine
from agent.protocols.ssh.algorithms import PACKET, window
from agent.protocols.ssh.denial import plain, say
from agent.protocols.ssh.leg import BROKEN
from agent.protocols.ssh.outside import Outside
from agent.protocols.ssh.pipe import HASHED, End, Pipe
from agent.protocols.ssh.places import EVERYWHERE
from agent.protocols.ssh.spoken import guess
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation

if TYPE_CHECKING:
    from agent.protocols.ssh.transport import Connection

_log: Final = structlog.get_logger()
_T = TypeVar("_T")

#: Requests outside of any channel that may wait for their turn: they are answered in order (RFC 4254 §4), and one may be held.
WAITING_REQUESTS: Final = 64
#: Ports that a client may have the target listen on at once.
LISTENERS: Final = 20
#: What either sshd is told of where a connection comes from. Who it really was is in the record.
_ORIGIN: Final = ("127.0.0.1", 0)


class Forwards:
    """What is forwarded on one connection, and what is being opened."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: set[_Forwarded] = set()
        self.coming = 0
        """Connections at the target that the client has no channel for yet."""
        self._listening = 0
        self._last = 0

    def press(self, *, target: bool, full: bool) -> None:
        """A leg's transport is full, or no longer."""
        for each in self._open:
            each.pipe.press(target=target, full=full)

    def end(self) -> None:
        """The session is over: close everything."""
        for each in [*self._open]:
            each.pipe.close()

    def finish(self) -> None:
        """The connection is gone: record what was open."""
        for each in [*self._open]:
            each.over()

    # -- from the client, on from the target ---------------------------------------------------------------------------------

    async def connect(self, host: str, port: int, origin: str) -> End:
        """Open a connection to ``host`` from the target, and return its client's end. Raises ChannelOpenError in words."""
        return await self._in_words(self._connect(host, port, origin))

    async def _connect(self, host: str, port: int, origin: str) -> End:
        standing = await self._permitted("direct-tcpip", host, port)
        outside, operation = standing.outside, standing.operation
        target = await self._connection.target()
        new = self._new(standing, origin)
        try:
            await target.create_connection(
                lambda: new.pipe.target, operation.host, operation.port, *_ORIGIN, window=self._window(), max_pktsize=PACKET
            )
        except asyncssh.ChannelOpenError as error:
            reason = plain(error.reason)[:200]
            outside.note(event="forward.failed", text=operation.text, reason=reason)
            raise asyncssh.ChannelOpenError(error.code, f"sallyport: The target could not connect: {reason}") from None
        new.opened()
        return new.pipe.client

    # -- from the target, back to the client ---------------------------------------------------------------------------------

    async def listen(self, host: str, port: int) -> asyncssh.SSHListener | bool:
        """Have the target listen. Returns False where that is refused, which the next program says."""
        try:
            return await self._in_words(self._listen(host, port))
        except asyncssh.ChannelOpenError as error:
            self._connection.note(f"{error.reason}\n".encode())
            return False

    async def _listen(self, host: str, port: int) -> asyncssh.SSHListener:
        standing = await self._permitted("tcpip-forward", host, port)
        outside, operation = standing.outside, standing.operation
        if self._listening >= LISTENERS:
            raise Fault("too_many", f"One connection may have the target listen on {LISTENERS} ports.")
        target = await self._connection.target()

        def come(origin: str, origin_port: int) -> Coroutine[Any, Any, End]:
            if self._connection.full:
                raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "too many channels")
            self.coming += 1
            new = self._new(standing, f"{plain(origin)[:100]}:{origin_port}")
            return self._in_words(self._come(new, (host, port or listener.get_port())))

        try:
            at = "" if operation.host == EVERYWHERE else operation.host
            listener = await target.create_server(come, at, port, window=self._window(), max_pktsize=PACKET)
        except asyncssh.ChannelListenError:
            outside.note(event="forward.failed", text=operation.text, reason="the target does not listen")
            raise Fault("target_closed", f"The target does not listen on port {port}.") from None
        self._listening += 1
        outside.note(event="forward.listening", text=operation.text, port=listener.get_port())
        return _Listening(listener, lambda: self._deaf(outside, operation))

    def _deaf(self, outside: Outside, operation: Operation) -> None:
        self._listening -= 1
        outside.note(event="forward.deaf", text=operation.text)

    async def _come(self, new: _Forwarded, asked: tuple[str, int]) -> End:
        """Somebody connected at the target: offer it to the client as the port that it ``asked`` for."""
        try:
            if not new.standing.stands():
                raise Fault("denied", "Policy does not permit this port any longer.")
            await new.outside.record(event="forward.came", text=new.operation.text, origin=new.origin)
        finally:
            self.coming -= 1
        client = self._connection.client
        await client.create_connection(lambda: new.pipe.client, *asked, *_ORIGIN, window=self._window(), max_pktsize=PACKET)
        new.opened()
        return new.pipe.target

    # -- either way ----------------------------------------------------------------------------------------------------------

    async def _permitted(self, kind: engine.Forward, host: str, port: int) -> _Standing:
        """Have it decided. Raises ChannelOpenError with the words of a no."""
        outside = await self._connection.outside()
        unit = engine.forward(kind, host, port, outside.options)
        answer = await outside.decide(unit)
        if not answer.permitted or not isinstance(unit, Asked):
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, answer.words.decode().rstrip())
        if self._connection.ending:
            raise Fault("session_ended", "The session is over.")
        return _Standing(outside, unit.operation)

    def _new(self, standing: _Standing, origin: str) -> _Forwarded:
        self._last += 1
        return _Forwarded(self._last, standing, origin, self._open)

    def _window(self) -> int:
        return window(self._connection.channels - 1)

    async def _in_words(self, opening: Coroutine[Any, Any, _T]) -> _T:
        """Await what is being opened, while there is a client. Raises ChannelOpenError, which is all that SSH has for a no."""
        # asyncssh lets what it waits for go on when its connection is lost; ours is cancelled then.
        result = await self._connection.spawn(self._tried(opening))
        if isinstance(result, asyncssh.ChannelOpenError):
            raise result
        return cast(_T, result)

    async def _tried(self, opening: Coroutine[Any, Any, _T]) -> _T | asyncssh.ChannelOpenError:
        try:
            return await opening
        except asyncssh.ChannelOpenError as error:
            return error
        except Fault as fault:
            if fault.code == "recording_failed":
                self._connection.end(fault.notice)
            words = say(fault.notice, self._connection.sid).decode().rstrip()
            return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, words)
        except BROKEN:
            return asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "sallyport: The connection was lost.")
        except Exception:  # noqa: BLE001 - a bug of ours must end in an answer, not in a client that hangs
            _log.exception("ssh.forward.failed", sid=self._connection.sid)
            return asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "sallyport: Something went wrong.")


class _Standing:
    """A permission, and whether it still is one."""

    def __init__(self, outside: Outside, operation: Operation) -> None:
        self.outside = outside
        self.operation = operation
        self._under = outside.policy
        # What others agreed to once stays agreed to, while policy still leaves it to them.
        self._approved = not outside.stands(operation)
        self._yes = True

    def stands(self) -> bool:
        """Tell whether the policy in force permits it: asked once of every policy, so that asking at every read costs nothing."""
        if self.outside.policy is not self._under:
            self._under = self.outside.policy
            kind = cast(engine.Forward, self.operation.kind)
            listed = engine.forward(kind, self.operation.host, self.operation.port, self.outside.options)
            self._yes = isinstance(listed, Asked) and self.outside.stands(self.operation, approved=self._approved)
            if not self._yes:
                self.outside.note(event="forward.revoked", text=self.operation.text)
        return self._yes


class _Forwarded:
    """One forwarded connection, and what is recorded of it."""

    def __init__(self, number: int, standing: _Standing, origin: str, among: set[_Forwarded]) -> None:
        self.standing = standing
        self.outside: Final = standing.outside
        self.operation: Final = standing.operation
        self.origin = origin
        self.pipe: Final = Pipe(self.over, standing.stands, asyncio.get_running_loop().call_soon)
        self._number = number
        self._among = among
        self._began_ms = standing.outside.now_ms()

    def opened(self) -> None:
        """The end that had to be opened is open."""
        self._began_ms = self.outside.now_ms()
        self._among.add(self)
        self.outside.note(event="forward.opened", text=self.operation.text, forward=self._number, origin=self.origin)

    def over(self) -> None:
        """Both ends are closed, or their connection is gone. ``sent`` and ``received`` are bytes, as the client sees it."""
        if self not in self._among:
            return
        self._among.discard(self)
        sent, received = self.pipe.client.passed, self.pipe.target.passed
        self.outside.note(
            event="forward.closed",
            text=self.operation.text,
            forward=self._number,
            looks_like=guess(sent.head, received.head),
            sent=sent.bytes,
            sent_sha256=sent.sha256,
            received=received.bytes,
            received_sha256=received.sha256,
            duration_ms=max(0, self.outside.now_ms() - self._began_ms),
            **({"hashed": HASHED} if max(sent.bytes, received.bytes) > HASHED else {}),
        )


class _Listening(asyncssh.SSHListener):
    """A port that the target listens on, until the client takes it back or leaves."""

    def __init__(self, listener: asyncssh.SSHListener, closed: Callable[[], None]) -> None:
        super().__init__()
        self._listener: asyncssh.SSHListener | None = listener
        self._port = listener.get_port()
        self._closed = closed

    def get_port(self) -> int:
        """The port, which the target may have chosen."""
        return self._port

    def close(self) -> None:
        """Have the target listen no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            self._closed()


def bound(conn: asyncssh.SSHServerConnection) -> None:
    """Have ``conn`` end where too many requests outside of any channel wait behind one another."""
    raw: Any = conn
    stock = raw._packet_handlers[MSG_GLOBAL_REQUEST]

    def bounded(conn: Any, kind: int, number: int, packet: Any) -> Any:
        if len(conn._global_request_queue) >= WAITING_REQUESTS:
            raise asyncssh.ProtocolError("too many requests wait for their answer")
        return stock(conn, kind, number, packet)

    raw._packet_handlers = {**raw._packet_handlers, MSG_GLOBAL_REQUEST: bounded}
