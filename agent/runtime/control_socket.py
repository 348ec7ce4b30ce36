"""The control WebSocket: offers, kills, watches and refreshes come down, heartbeats go up.

It is held for ever: a lost connection is replaced with backoff, and a living one before API Gateway ends it at two hours (make
before break). Live sessions do not depend on it. What arrives here is a hint or an order from the control plane's authenticated
end; the only thing that opens a session is a signed ticket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import websockets.asyncio.client as ws
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from agent.runtime.backoff import Backoff
from agent.telemetry import logger
from chalicelib.contracts import relay

#: API Gateway ends a connection at 120 minutes and an idle one at 10.
RENEW_S: Final = 105 * 60.0
BEAT_S: Final = 20.0
#: A connection that lived this long was a good one: what comes after it begins with short delays again. A control plane that
#: accepts and hangs up at once is as gone as one that does not answer.
STABLE_S: Final = 5.0
#: The control plane answers beats with nothing; pings find out whether anybody is there.
_PING_S: Final = 30.0
_OPEN_S: Final = 15.0

#: A WebSocket handshake has no route of its own; its proof is for this path, with the method GET and an empty body.
PROOF_PATH: Final = "/ws"
SOCKET_HEADER: Final = "X-Sallyport-Socket"


class Orders(Protocol):
    """What the agent does with the control plane's messages. None of these waits."""

    def offered(self, offer: relay.Offer) -> None:
        """A session is offered."""
        ...

    def killed(self, kill: relay.Kill) -> None:
        """A session must end now."""
        ...

    def watched(self, watch: relay.Watch) -> None:
        """Somebody wants to look on at a session."""
        ...

    def refreshed(self, version: str) -> None:
        """Policy or configuration changed."""
        ...

    def decided(self, decided: relay.Decided) -> None:
        """Somebody answered a request of a session. A yes comes with its signature; what else was said has to be asked for."""
        ...

    def live(self) -> Iterable[str]:
        """Sessions that this agent still serves or uploads."""
        ...

    def refuses(self) -> str:
        """The fault code with which new sessions are turned away; empty while they are taken."""
        ...


class ControlSocket:
    """Keeps one control connection. ``url`` is read for every connection; ``proof`` signs each handshake."""

    def __init__(
        self,
        url: Callable[[], str],
        proof: Callable[[str, str], str],
        orders: Orders,
        *,
        backoff: Backoff | None = None,
        renew_s: float = RENEW_S,
        beat_s: float = BEAT_S,
        stable_s: float = STABLE_S,
    ) -> None:
        self._url = url
        self._proof = proof
        self._orders = orders
        self._backoff = backoff or Backoff()
        self._renew_s = renew_s
        self._beat_s = beat_s
        self._stable_s = stable_s
        self.connected = asyncio.Event()
        """Set while a connection is open."""
        self._news = asyncio.Event()

    def beat_soon(self) -> None:
        """Beat now: what beats say has changed."""
        self._news.set()

    async def run(self) -> None:
        """Hold the connection until cancelled."""
        previous: ws.ClientConnection | None = None
        async with asyncio.TaskGroup() as tasks:
            while True:
                connection = await self._connect()
                self.connected.set()
                opened = asyncio.get_running_loop().time()
                # Whatever changed while nobody listened is learned by asking once.
                self._orders.refreshed("")
                reading = tasks.create_task(self._serve(connection))
                if previous is not None:
                    await previous.close()
                done, _ = await asyncio.wait({reading}, timeout=self._renew_s)
                previous = None if done else connection
                if done:
                    self.connected.clear()
                    if asyncio.get_running_loop().time() - opened >= self._stable_s:
                        self._backoff.succeeded()
                    await self._backoff.wait()

    async def _connect(self) -> ws.ClientConnection:
        while True:
            try:
                return await ws.connect(
                    self._url(),
                    additional_headers={"Authorization": self._proof("GET", PROOF_PATH), SOCKET_HEADER: "control"},
                    max_size=relay.MESSAGE_LIMIT,
                    open_timeout=_OPEN_S,
                    close_timeout=5,
                    ping_interval=_PING_S,
                    ping_timeout=_PING_S,
                    compression=None,
                )
            except InvalidStatus as refused:
                logger().warning("control_socket.refused", status=refused.response.status_code)
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                logger().warning("control_socket.unreachable", reason=f"{type(error).__name__}: {error}")
            await self._backoff.wait()

    async def _serve(self, connection: ws.ClientConnection) -> None:
        """Read until the connection ends, beating beside it. Raises nothing that a peer could cause."""
        logger().info("control_socket.connected")
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self._beat(connection))
            try:
                async for text in connection:
                    self._obey(text)
            except ConnectionClosed as closed:
                logger().info("control_socket.lost", reason=str(closed))
            except _Final:
                await connection.close()
            beating.cancel()
        logger().info("control_socket.closed", close_code=connection.close_code)

    async def _beat(self, connection: ws.ClientConnection) -> None:
        try:
            while True:
                self._news.clear()
                beat = relay.encode(relay.Beat(live=tuple(self._orders.live()), refuses=self._orders.refuses()))
                await connection.send(beat, text=True)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._beat_s):
                        await self._news.wait()
        except ConnectionClosed:
            return

    def _obey(self, text: str | bytes) -> None:
        try:
            message = relay.decode_control(text)
        except relay.UnknownMessage:
            return
        except relay.RelayFault as fault:
            logger().warning("control_socket.unreadable", reason=str(fault))
            return
        match message:
            case relay.Offer():
                self._orders.offered(message)
            case relay.Kill():
                self._orders.killed(message)
            case relay.Watch():
                self._orders.watched(message)
            case relay.Refresh(version):
                self._orders.refreshed(version)
            case relay.Decided():
                self._orders.decided(message)
            case relay.Refused(code, words):
                logger().error("control_socket.refused", code=code, reason=words)
                raise _Final


class _Final(Exception):  # noqa: N818 - an answer, not an error
    """The control plane said that this connection is of no use."""
