"""A relay on loopback that behaves like API Gateway and our Lambda function, on a bad day if a test wants one.

Text messages of at most 128 KB in frames of at most 32 KB; every message is relayed by a task of its own, in no order. The two
ends are told apart by a header. Chance is seeded; the network's own timing is not.
"""

from __future__ import annotations

import asyncio
import http
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import websockets.asyncio.server as ws
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from chalicelib.contracts import relay

SIDE = "X-Side"


@dataclass
class Day:
    """How bad the day is."""

    jitter: float = 0.0
    """Seconds that relaying takes, at most."""
    lose_every: int = 0
    """Messages after which one is lost; 0 for never."""
    kill_every: int = 0
    """Messages after which the socket that brought the last one dies, without a word; 0 for never."""


@dataclass
class End:
    """One side's connections: the newest is the one that counts."""

    newest: str = ""
    connections: int = 0
    credentials: list[str] = field(default_factory=list)


class RelayServer:
    """The relay. ``refuse`` is asked about every handshake: an HTTP status, or None to let it in."""

    def __init__(self, day: Day, seed: int) -> None:
        self.day = day
        self.rng = Random(seed)
        self.url = ""
        self.generation = 0
        self.ends = {"client": End(), "agent": End()}
        self.refuse: Callable[[str], int | None] = lambda side: None
        self.mute: set[str] = set()
        """Connections whose messages are swallowed: a black hole, not a closed door."""
        self.relayed: list[int] = []
        """Payload sizes of relayed messages, in characters."""
        self.heard: list[tuple[str, str]] = []
        """Side and tag of every message but frames."""
        self.lost = 0
        self.changed = asyncio.Condition()
        self._sockets: dict[str, ws.ServerConnection] = {}
        self._names = (f"{n:04}" for n in itertools.count(1))
        self._tasks = asyncio.TaskGroup()

    # -- what tests do to it

    def kill(self, side: str) -> None:
        """The side's newest socket dies without a closing handshake."""
        socket = self._sockets.get(self.ends[side].newest)
        if socket is not None:
            socket.transport.abort()

    async def say(self, side: str, text: str, name: str = "") -> None:
        """Say anything to a side, on its newest connection or on the one called ``name``."""
        await self._sockets[name or self.ends[side].newest].send(text)

    async def hang_up(self, side: str, name: str = "") -> None:
        """Close one of a side's connections; returns when the side has read everything that was said on it."""
        await self._sockets[name or self.ends[side].newest].close()

    def choke(self, side: str) -> None:
        """Stop reading what a side sends."""
        self._sockets[self.ends[side].newest].transport.pause_reading()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to happen."""
        async with self.changed:
            await self.changed.wait_for(condition)

    @property
    def open_sockets(self) -> int:
        return len(self._sockets)

    # -- what it does

    def admit(self, connection: ws.ServerConnection, request: Request) -> Response | None:
        side = request.headers[SIDE]
        self.ends[side].credentials.append(request.headers.get("Authorization", ""))
        status = self.refuse(side)
        if status is None:
            return None
        response = connection.respond(http.HTTPStatus(status), "no")
        if status == http.HTTPStatus.FOUND:
            response.headers["Location"] = f"{self.url}elsewhere"
        return response

    async def serve(self, socket: ws.ServerConnection) -> None:
        assert socket.request is not None
        side, name = socket.request.headers[SIDE], next(self._names)
        end = self.ends[side]
        self._sockets[name] = socket
        end.newest, end.connections = name, end.connections + 1
        self.generation += 1
        try:
            async for text in socket:
                assert isinstance(text, str), "API Gateway closes a connection that sends binary frames (1003)"
                if name not in self.mute:
                    self._tasks.create_task(self._relay(side, name, text))
        except ConnectionClosed:
            pass
        finally:
            del self._sockets[name]
            if end.newest == name:
                end.newest = ""
            await self._announce()

    async def _relay(self, side: str, name: str, text: str) -> None:
        """What the Lambda function does, once per message."""
        if self.day.jitter:
            await asyncio.sleep(self.rng.random() * self.day.jitter)
        message = relay.decode_upward(text)
        match message:
            case relay.Data(route, frame):
                await self._carry(name, route, message, len(frame))
            case relay.Hello():
                self.heard.append((side, "hello"))
                await self._introduce(side, name)
            case relay.Beat():
                self.heard.append((side, "beat"))
        await self._announce()

    async def _introduce(self, side: str, name: str) -> None:
        other = "agent" if side == "client" else "client"
        if self.ends[side].newest != name:
            await self._post(name, relay.encode(relay.Refused("route_invalid", "A newer connection has taken its place.")))
        elif not self.ends[other].newest:
            await self._post(name, relay.encode(relay.Lost("agent_offline")))
        else:
            for mine, theirs, whose in ((name, self.ends[other].newest, side), (self.ends[other].newest, name, other)):
                route = relay.Route(f"{mine}.{theirs}.{self.generation}", f"resume {whose}", self.generation)
                await self._post(mine, relay.encode(route))

    async def _carry(self, name: str, route: str, message: relay.Data, size: int) -> None:
        owner, peer, generation = route.split(".")
        if owner != name:
            await self._post(name, relay.encode(relay.Refused("route_invalid", "The route belongs to another connection.")))
            return
        self.relayed.append(size)
        if self.day.kill_every and len(self.relayed) % self.day.kill_every == 0:
            self._sockets[name].transport.abort() if name in self._sockets else None
        if self.day.lose_every and len(self.relayed) % self.day.lose_every == 0:
            self.lost += 1
        elif peer not in self.mute and not await self._post(peer, relay.deliver(message)):
            await self._post(name, relay.encode(relay.Lost("tunnel_lost", int(generation))))

    async def _post(self, name: str, text: bytes) -> bool:
        socket = self._sockets.get(name)
        if socket is None:
            return False
        try:
            parts = relay.fragments(text)
            await socket.send(parts if len(parts) > 1 else text, text=True)
        except ConnectionClosed:
            return False
        return True

    async def _announce(self) -> None:
        async with self.changed:
            self.changed.notify_all()


@asynccontextmanager
async def relay_server(day: Day | None = None, seed: int = 1) -> AsyncIterator[RelayServer]:
    """A relay that ends with the test."""
    server = RelayServer(day or Day(), seed)
    async with (
        server._tasks,
        ws.serve(
            server.serve,
            "127.0.0.1",
            0,
            process_request=server.admit,
            compression=None,
            ping_interval=None,
            max_size=(relay.MESSAGE_LIMIT, relay.FRAGMENT_LIMIT),
            close_timeout=0.2,
        ) as listening,
    ):
        server.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}/"
        yield server
