"""The listener for native clients on the direct path. It learns one thing, who may be offered what, and hands the socket on.

A client may say which offered session it comes for, in one line before its protocol begins:

    SALLYPORT/1 ses_01JD8QZ6T3N0V9C4K2M7X5B1HR\\n

The line is looked at with MSG_PEEK and taken off only if it is whole; whatever else a client sends is left for the plug-in. A
client that sends nothing may be one that waits for its server to speak first (RFC 4253 §4.2 allows that), so it is handed on too.
The PROXY protocol is not understood: an address that a client can choose is no address.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Literal, NamedTuple

from agent.telemetry import logger
from chalicelib.contracts import ids

PREAMBLE: Final = b"SALLYPORT/1 "
PREAMBLE_LIMIT: Final = 128
#: Seconds that a client may take to send its preamble once it began one.
PREAMBLE_S: Final = 5.0
#: Seconds of silence after which a client is taken for one that waits.
SILENCE_S: Final = 1.5
#: Connections that have proved nothing yet. An address may be a whole office behind one router, or a fleet tool with fifty forks.
UNPROVED_PER_ADDRESS: Final = 64
UNPROVED: Final = 512


class Preamble(NamedTuple):
    """What the first bytes say: how many of them to take off, and the session that they name."""

    consumed: int
    sid: str


def read_preamble(data: bytes) -> Preamble | Literal["more", "refuse"]:
    """Read the first bytes of a connection, at most ``PREAMBLE_LIMIT`` of them."""
    if not data.startswith(PREAMBLE):
        return "more" if PREAMBLE.startswith(data) else Preamble(0, "")
    line, newline, _ = data.partition(b"\n")
    if not newline:
        return "more" if len(data) < PREAMBLE_LIMIT else "refuse"
    try:
        sid = line[len(PREAMBLE) :].decode("ascii")
    except UnicodeDecodeError:
        return "refuse"
    return Preamble(len(line) + 1, sid) if ids.is_id(ids.SESSION, sid) else "refuse"


class Place:
    """One unproved connection's place in the limits. ``leave`` may be called more than once."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def leave(self) -> None:
        """Give the place back: the client proved itself, or it is gone."""
        if self._leave is not None:
            self._leave()
            self._leave = None


class Waiting:
    """Counts connections that have proved nothing, so that a flood of them cannot starve the rest."""

    def __init__(self, per_address: int = UNPROVED_PER_ADDRESS, everybody: int = UNPROVED) -> None:
        self._per_address = per_address
        self._everybody = everybody
        self._counts: Counter[str] = Counter()

    def enter(self, address: str) -> Place | None:
        """Return a place for a connection from ``address``, or None where there is none left."""
        if self._counts[address] >= self._per_address or self._counts.total() >= self._everybody:
            return None
        self._counts[address] += 1
        return Place(lambda: self._leave(address))

    def _leave(self, address: str) -> None:
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]


#: Serves one connection: socket, client's address, session that it names or "", its place in the limits.
Receive = Callable[[socket.socket, str, str, Place], Awaitable[None]]
#: Runs a coroutine beside everything else.
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Listener:
    """Accepts native clients, each in a task of its own, which ``spawn`` starts and which outlives the listener."""

    def __init__(self, receive: Receive, spawn: Spawn, waiting: Waiting | None = None, *, silence_s: float = SILENCE_S) -> None:
        self._receive = receive
        self._spawn = spawn
        self._waiting = waiting or Waiting()
        self._silence_s = silence_s
        self._socket: socket.socket | None = None

    def bind(self, host: str, port: int) -> tuple[str, int]:
        """Listen at ``host:port``; return the address. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=256)
        self._socket.setblocking(False)
        name = self._socket.getsockname()
        return name[0], name[1]

    async def run(self) -> None:
        """Accept until cancelled. Clients of a bound listener that is not run yet wait."""
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, address = await loop.sock_accept(self._socket)
                except OSError as error:
                    # ECONNABORTED is one client's; EMFILE and the like pass when connections end.
                    logger().warning("listener.accept_failed", reason=errno.errorcode.get(error.errno or 0, "unknown"))
                    await asyncio.sleep(0.1)
                    continue
                self._take(connection, address[0])
        finally:
            self.close()

    def close(self) -> None:
        """Listen no more, also where it never ran. Those who were accepted go on."""
        if self._socket is not None:
            self._socket.close()

    def _take(self, connection: socket.socket, address: str) -> None:
        place = self._waiting.enter(address)
        if place is None:
            logger(source_ip=address).warning("listener.crowded")
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._spawn(self._serve(connection, address, place))

    async def _serve(self, connection: socket.socket, address: str, place: Place) -> None:
        try:
            sid = await self._preamble(connection)
            if sid is None:
                logger(source_ip=address).info("listener.preamble_refused")
                connection.close()
                return
            await self._receive(connection, address, sid, place)
        except OSError:
            connection.close()  # the client went away before it was anybody's
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            place.leave()

    async def _preamble(self, connection: socket.socket) -> str | None:
        """Return the session that the client names, "" if none, None if it is to be refused."""
        try:
            async with asyncio.timeout(self._silence_s):
                data = await peek(connection, 1)
        except TimeoutError:
            return ""
        try:
            async with asyncio.timeout(PREAMBLE_S):
                while (found := read_preamble(data)) == "more" and data:
                    longer = await peek(connection, len(data) + 1)
                    if len(longer) <= len(data):
                        return None  # the client closed its side in the middle of the line
                    data = longer
        except TimeoutError:
            return None
        if not isinstance(found, Preamble):
            return None
        if found.consumed:
            connection.recv(found.consumed)
        return found.sid


async def peek(connection: socket.socket, least: int, most: int = PREAMBLE_LIMIT) -> bytes:
    """Return the first bytes on ``connection`` without taking them, once there are ``least``, or fewer at its end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    # The selector is level-triggered: without a low-water mark, bytes that are only looked at would wake it for ever.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
    try:
        loop.add_reader(connection.fileno(), _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(connection.fileno())
    finally:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    try:
        return connection.recv(most, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
