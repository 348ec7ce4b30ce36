"""A relay over loopback WebSockets: two ends, told apart by their tickets, and frames passed on from one to the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from chalicelib.contracts import relay

CLIENT: Final = "client-ticket"
AGENT: Final = "agent-ticket"


class FakeRelay:
    """Runs in a thread with an event loop of its own. Use as a context manager."""

    def __init__(self) -> None:
        self.headers: list[str] = []
        """The Authorization header of every handshake, in order."""
        self.refuse = False
        self.url = ""
        self._ends: dict[str, ServerConnection] = {}
        self._generation = 0
        self._server: Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> FakeRelay:
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` on the relay's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def cut(self, side: str) -> None:
        """Break the connection of ``client`` or ``agent``."""
        self._loop.call_soon_threadsafe(self._ends[side].transport.abort)

    async def _start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", 0, process_request=self._admit)
        self.url = f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        authorization = request.headers.get("Authorization", "")
        self.headers.append(authorization)
        if self.refuse or not authorization.endswith((CLIENT, AGENT)):
            return connection.respond(401, "no\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        side = "client" if connection.request.headers["Authorization"].endswith(CLIENT) else "agent"
        other = "agent" if side == "client" else "client"
        self._ends[side] = connection
        self._generation += 1
        try:
            async for text in connection:
                await self._pass_on(relay.decode_upward(text), connection, side, other)
        except ConnectionClosed:
            pass
        finally:
            if self._ends.get(side) is connection:
                del self._ends[side]

    async def _pass_on(self, message: relay.Upward, connection: ServerConnection, side: str, other: str) -> None:
        peer = self._ends.get(other)
        match message:
            case relay.Hello() if peer is not None:
                for each, name in ((connection, side), (peer, other)):
                    await _send(each, relay.Route("r", CLIENT if name == "client" else AGENT, self._generation))
            case relay.Hello() | relay.Data() if peer is None:
                await _send(connection, relay.Lost("agent_offline"))
            case relay.Data(_, frame) if peer is not None:
                await _send(peer, relay.Deliver(frame))


async def _send(connection: ServerConnection, message: relay.Downward) -> None:
    try:
        await connection.send(relay.encode(message).decode())
    except ConnectionClosed:
        return
