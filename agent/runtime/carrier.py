"""A carrier: one WebSocket through the relay, and the way to the peer that it was told.

It belongs to a `Tunnel`, which may hold two at a time while one replaces the other. A route is good on the carrier that it came
by and on no other: the relay seals the sender's connection into it.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec
import websockets.asyncio.client as ws
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from chalicelib.contracts import relay
from chalicelib.contracts.faults import Fault

#: HTTP statuses below 500 that time may heal: a timeout, and "too many requests".
_TRANSIENT: Final = frozenset({408, 425, 429})
#: Frames that wait to be read. A message is at most five of them.
_QUEUE: Final = 64


class TunnelError(Fault):
    """A tunnel failed: ``tunnel_refused``, ``tunnel_lost``, ``tunnel_aborted`` or ``tunnel_protocol``.

    ``status`` is the HTTP status of a refused handshake, else None. ``reason`` is the code that the relay or the peer gave, else
    empty."""

    def __init__(self, code: str, message: str, *, reason: str = "", status: int | None = None) -> None:
        super().__init__(code, message)
        self.reason = reason
        self.status = status


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """When a tunnel's connections are made, kept and replaced. Seconds."""

    max_age: float = 110 * 60.0
    """A carrier is replaced before it is this old: API Gateway ends it at two hours."""
    drain: float = 10.0
    """How long a replaced carrier is still read from: frames may be on their way to it."""
    keepalive: float = 5 * 60.0
    """Silence after which a beat is sent: API Gateway ends a connection that is idle for ten minutes."""
    stall: float = 15.0
    """A carrier that brings no answer for this long, or takes no more bytes, is replaced."""
    open_timeout: float = 15.0
    first_pause: float = 0.2
    """Between two attempts to connect, or two times asking for the peer; doubles each time."""
    last_pause: float = 5.0


def next_pause(pause: float, timing: Timing) -> float:
    """Return how long to wait after having waited ``pause`` in vain."""
    return min(max(2 * pause, timing.first_pause), timing.last_pause)


def jittered(seconds: float) -> float:
    """Return between half of ``seconds`` and all of it, so that many tunnels do not act in step."""
    return seconds * (0.5 + secrets.randbelow(1001) / 2000)


class Carrier:
    """One open WebSocket."""

    def __init__(self, connection: ws.ClientConnection, timing: Timing, now: float) -> None:
        self._connection = connection
        self._timing = timing
        self._pause = 0.0
        self.opened_at = now
        self.spoke_at = now
        self.route: str | None = None
        """Where frames go; None while the relay knows no peer."""
        self.generation = -1
        """Of the newest route."""
        self.worn = asyncio.Event()
        """Set once it should be replaced: it is gone, old, or stalled."""
        self.draining = asyncio.timeout(None)
        """Scheduled once another carrier has taken over: then this one is read from no longer than that."""
        self._routed = asyncio.Event()
        self._unrouted = asyncio.Event()
        self._unrouted.set()

    async def say(self, message: relay.Upward) -> None:
        """Send one message, in fragments that API Gateway takes. Raises ConnectionClosed.

        A connection that takes nothing for `Timing.stall` seconds is as good as closed, and is closed."""
        text = relay.encode(message)
        parts = relay.fragments(text)
        try:
            async with asyncio.timeout(self._timing.stall):
                await self._connection.send(parts if len(parts) > 1 else text, text=True)
        except TimeoutError:
            self.drop()
            raise ConnectionClosed(None, None) from None
        self.spoke_at = asyncio.get_running_loop().time()

    async def hear(self) -> relay.Downward | None:
        """Return the next message; None for one that makes no sense here. Raises ConnectionClosed."""
        text = await self._connection.recv(decode=False)
        try:
            return relay.decode_downward(text)
        except relay.RelayFault:  # API Gateway's own notices, a newer relay's words; a frame in it would be sent again
            return None

    async def ask_for_the_peer(self) -> None:
        """Say hello whenever there is no route, at once and then ever more rarely. Runs until the connection closes."""
        with suppress(ConnectionClosed):
            while True:
                await self._unrouted.wait()
                if self._pause:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(jittered(self._pause)):
                            await self._routed.wait()
                self._pause = next_pause(self._pause, self._timing)
                if self.route is None:
                    await self.say(relay.Hello())

    def learn(self, route: relay.Route) -> bool:
        """Take a route. False if it is stale."""
        if route.gen < self.generation:
            return False
        self.route, self.generation = route.r, route.gen
        self._unrouted.clear()
        self._routed.set()
        return True

    def lose_route(self, generation: int) -> bool:
        """The peer's connection is gone. False if that was known, or is about an older route (0 is about any)."""
        if self.route is None or 0 < generation < self.generation:
            return False
        self.route = None
        self._routed.clear()
        self._unrouted.set()
        return True

    def heard_the_peer(self) -> None:
        """The route works: the next question is asked at once again."""
        self._pause = 0.0

    def drop(self) -> None:
        """Close at once, without a word."""
        self.worn.set()
        self._connection.transport.abort()

    async def close(self) -> None:
        """Close with a closing handshake, for a second at most."""
        self.worn.set()
        await self._connection.close()


class Unreachable(Exception):  # noqa: N818 - a state of the network, not an error
    """The connection could not be made; trying again may help."""


class _Connect(ws.connect):
    """`websockets` would follow a redirect, and take the ticket along."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(url: str, headers: Mapping[str, str], timing: Timing) -> Carrier:
    """Open a WebSocket. Raises Unreachable, or TunnelError(tunnel_refused) if the relay will never let us in."""
    try:
        connection = await _Connect(
            url,
            additional_headers=headers,
            compression=None,  # what travels is encrypted
            max_size=relay.MESSAGE_LIMIT,
            max_queue=_QUEUE,
            open_timeout=timing.open_timeout,
            close_timeout=1,
            ping_interval=None,  # whether pings keep a connection alive is not documented; `Beat` does
        )
    except InvalidStatus as refused:
        status = refused.response.status_code
        if 300 <= status < 500 and status not in _TRANSIENT:
            raise TunnelError("tunnel_refused", f"The relay refused the connection (HTTP {status}).", status=status) from None
        raise Unreachable(f"HTTP {status}") from None
    except (OSError, InvalidHandshake, InvalidMessage, EOFError) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from None
    _notice_a_dead_link(connection.transport.get_extra_info("socket"))
    return Carrier(connection, timing, asyncio.get_running_loop().time())


def _notice_a_dead_link(sock: socket.socket | None) -> None:
    """Have the kernel find out when nobody is there, which an idle tunnel otherwise learns by its next beat, minutes later.
    What it costs is empty TCP segments, which are not billed."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000)):
        option = getattr(socket, name, None)  # Linux has all of them, macOS some
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
