"""The local side: what a client of PostgreSQL on this machine connects to, and how each of its connections becomes a session.

    local client ─► SSLRequest 'N' ─► startup ─► (password, on TCP) ─► a session of its own ─► ReadyForQuery ─► bytes both ways
                                                                                                    └─► its key, for cancelling

A cancel request comes on a connection of its own, without a startup, and names a process and a key. It is believed only where
this door has seen that key go by. To the agent's own listener it goes as it is; through the relay it takes a session of its own.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, NamedTuple

from chalicelib.contracts.faults import Fault, Notice
from cli import postgres_wire as wire
from cli.control_plane import Refusal
from cli.patience import Patience
from cli.postgres_agent import ANSWER_S, READ, Errand, Leg, reach, reach_again

#: Seconds that a local client may take to say who it is.
HELLO_S: Final = 15.0
#: First packets before the startup: one question for TLS, one for GSSAPI, and the startup itself.
_PACKETS: Final = 3

#: Told about each connection, in words for a person: what happened, and the session it is about (or nothing).
Tell = Callable[[str, str], None]


class Hangup(Exception):  # noqa: N818 - the local client has gone, which is nobody's fault
    """The local client is not there any more."""


class Key(NamedTuple):
    """What cancels a connection's statements: its session, and the agent's own address, or nothing for the relay."""

    secret: bytes
    login: str
    sid: str
    direct: str


class Door:
    """Serves local clients. ``password`` is demanded of each, where it is not empty."""

    def __init__(self, errand: Errand, password: str, tell: Tell) -> None:
        self._errand = errand
        self.password = password
        self._tell = tell
        self._keys: dict[int, Key] = {}
        """By process number, of every connection that is open."""
        self._serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one local connection beside the others, in a task of the door's own: asyncio's would not be ours to cancel."""
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._greet(reader, writer)
        except Hangup:
            pass
        except Refusal as refusal:
            self._refuse(writer, refusal.notice)
        except Fault as fault:
            self._refuse(writer, fault.notice)
        except OSError:
            pass
        finally:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.drain()
            writer.close()

    async def close(self, patience_s: float) -> None:
        """Give every connection ``patience_s`` to end by itself, then end it."""
        if self._serving:
            await asyncio.wait(self._serving, timeout=patience_s)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _refuse(self, writer: asyncio.StreamWriter, notice: Notice, state: str = "") -> None:
        self._tell(f"refused: {notice.message} [{notice.code}]", "")
        writer.write(wire.farewell(notice, state))

    # -- who is there --------------------------------------------------------------------------------------------------------

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HELLO_S):
                hello = await self._hello(reader, writer)
                if hello.kind == "startup" and not await self._admitted(reader, writer):
                    words = Notice("denied", "The password is not the one that sallyport printed.")
                    self._refuse(writer, words, wire.INVALID_PASSWORD)
                    return
        except TimeoutError:
            raise Fault("handshake_timeout", "The client did not say who it is.") from None
        if hello.kind == "cancel":
            await self._cancel(hello)
        else:
            await self._session(hello, reader, writer)

    async def _hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> wire.Hello:
        for _ in range(_PACKETS):
            hello = wire.read_hello(await self._packet(reader))
            if hello.kind != "encrypt":
                return hello
            writer.write(b"N")
        raise Fault("protocol_error", "That is not a client of PostgreSQL.")

    async def _packet(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readexactly(4)
            size = int.from_bytes(head)
            if not 8 <= size <= wire.STARTUP_LIMIT:
                raise Fault("protocol_error", "That is not a client of PostgreSQL.")
            return head + await reader.readexactly(size - 4)
        except asyncio.IncompleteReadError:
            raise Hangup from None

    async def _admitted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Tell whether the client knows the password, where there is one."""
        if not self.password:
            return True
        writer.write(wire.ask_password())
        try:
            head = await reader.readexactly(5)
            size = int.from_bytes(head[1:])
            if head[:1] != b"p" or not 4 <= size <= wire.PASSWORD_LIMIT:
                raise Fault("protocol_error", "The client does not answer with a password.")
            body = await reader.readexactly(size - 4)
        except asyncio.IncompleteReadError:
            raise Hangup from None  # psql asks its user first, and comes again
        return hmac.compare_digest(wire.read_password(body), self.password.encode())

    # -- a session -----------------------------------------------------------------------------------------------------------

    async def _session(self, hello: wire.Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        login = hello.parameters.get("user", "") or self._errand.logins[0]
        if login not in self._errand.logins:
            words = f"{self._errand.target} has no login {login[:80]} for you."
            raise Fault("unknown_login", words, hint=f"It has: {', '.join(self._errand.logins)}")
        async with _reached(self._errand, login, reader) as leg:
            leg.writer.write(wire.startup(hello, self._errand.target))
            pid = await self._welcome(leg, writer, login)
            if not pid:
                return
            program = hello.parameters.get("application_name", "")
            self._tell(f"opened as {login}" + (f" by {program}" if program else ""), leg.sid)
            try:
                await self._both_ways(leg, reader, writer)
            finally:
                self._keys.pop(pid, None)
                self._tell("ended", leg.sid)

    async def _welcome(self, leg: Leg, writer: asyncio.StreamWriter, login: str) -> int:
        """Pass on the agent's answers until it is ready; return the process number, 0 where the agent refused."""
        pid, asked = 0, False
        async for kind, body in leg.answers():
            if kind == "R" and body[:4] == wire.CLEARTEXT:
                if asked or not leg.password:
                    raise Fault("protocol_error", "The agent asks for a password that it has no reason to ask for.")
                # The ticket is the password, and the local client's own was for this door alone.
                asked = True
                leg.writer.write(wire.password(leg.password))
                continue
            if kind == "K":
                pid = int.from_bytes(body[:4])
                self._keys[pid] = Key(body[4:], login, leg.sid, leg.direct)
            writer.write(wire.message(kind, body))
            await writer.drain()
            if kind in "EZ":
                break
        if kind == "E":
            self._tell("refused by the agent", leg.sid)
            return 0
        return pid

    async def _both_ways(self, leg: Leg, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy until either side ends."""
        last = bytearray(wire.READY)
        upward = asyncio.ensure_future(_copy(reader, leg.writer))
        downward = asyncio.ensure_future(_copy(leg.reader, writer, last))
        try:
            await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
            # An agent that ends by its own will says why, and that is the last that came. Else nobody has told the client.
            if not upward.done() and wire.is_ready(bytes(last)):
                raise Fault("tunnel_lost", "The way to the agent broke, or the agent was stopped.")
        except asyncio.CancelledError:
            if wire.is_ready(bytes(last)):
                writer.write(wire.farewell(Notice("session_ended", "sallyport connect was stopped."), wire.ADMIN_SHUTDOWN))
            raise
        finally:
            for task in (upward, downward):
                task.cancel()
            await asyncio.gather(upward, downward, return_exceptions=True)

    # -- cancelling ----------------------------------------------------------------------------------------------------------

    async def _cancel(self, hello: wire.Hello) -> None:
        """Pass on a cancel request whose key was given out here. Like PostgreSQL, tells the client nothing (§55.2.8)."""
        pid, secret = hello.key
        key = self._keys.get(pid)
        if key is None or not hmac.compare_digest(key.secret, secret):
            return
        # The agent's own listener needs no more than the key; the relay lets nobody through without a session.
        way = reach_again(self._errand, key.direct, key.sid) if key.direct else reach(self._errand, key.login)
        async with way as leg:
            leg.writer.write(hello.raw)
            await leg.writer.drain()
            # The agent hangs up once it has passed it on; the client waits for us as it would for a server.
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await leg.reader.read()


@asynccontextmanager
async def _reached(errand: Errand, login: str, reader: asyncio.StreamReader) -> AsyncIterator[Leg]:
    """Open a session for a local client for as long as it is there. It says nothing before it was answered."""
    patience = Patience()
    gone = asyncio.ensure_future(reader.read(1))
    gone.add_done_callback(lambda _: patience.lose())
    async with AsyncExitStack() as stack:
        try:
            leg = await stack.enter_async_context(reach(errand, login, patience))
        finally:
            left = gone.done()
            gone.cancel()
        if left:
            raise Hangup
        yield leg


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, last: bytearray | None = None) -> None:
    """Copy until the end of ``reader``. ``last`` becomes the last bytes that were passed on."""
    with suppress(OSError):
        while data := await reader.read(READ):
            writer.write(data)
            if last is not None:
                last[:] = (last + data[-len(wire.READY) :])[-len(wire.READY) :]
            await writer.drain()
