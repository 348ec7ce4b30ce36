"""API Gateway's WebSocket API, emulated with its real limits.

One thread runs an event loop with two listeners: WebSockets for clients, and `/@connections` for the functions
(`connections_api.py`). A pool of threads stands in for Lambda. Messages of one connection are invoked concurrently, so
they finish in any order: on AWS nothing promises more. Limits: API Gateway quotas, "WebSocket API" table.
"""

import asyncio
import base64
import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from infra.local import ws_events
from infra.local.chaos import CALM, Chaos, SocketView
from infra.local.connections_api import ConnectionsApi
from infra.local.functions import LambdaContext
from infra.local.sigv4 import KeyPair
from infra.local.ws_answers import failure, phrase, refusal
from infra.local.ws_connection import AWS_LIMITS, Connection, Functions, Limits, now_ms

log = logging.getLogger(__name__)
T = TypeVar("T")


class WebSocketGateway:
    """Both addresses are known from construction on; they answer from `start` to `stop`.

    `chaos` may be replaced at any time; scheduled kills follow at their next turn.
    """

    def __init__(
        self,
        keys: KeyPair,
        *,
        port: int = 0,
        callback_port: int = 0,
        limits: Limits = AWS_LIMITS,
        chaos: Chaos = CALM,
        stage: str = "api",
        workers: int = 64,
    ) -> None:
        self.limits, self.chaos, self.stage = limits, chaos, stage
        self.away = False
        """While set, nobody can open a socket."""
        self._keys = keys
        self._client_socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self._callback_socket = socket.create_server(("127.0.0.1", callback_port), backlog=256)
        self.url = f"ws://127.0.0.1:{self._client_socket.getsockname()[1]}/{stage}"
        self.callback_url = f"http://127.0.0.1:{self._callback_socket.getsockname()[1]}"
        self.live: dict[str, Connection] = {}
        self.callers: set[asyncio.Transport] = set()
        self._by_socket: dict[ServerConnection, Connection] = {}
        self._opened = 0
        self._functions: Functions | None = None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="lambda")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ws-gateway", daemon=True)
        self._servers: list[Server | asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- from outside -------------------------------------------------------------------------------------------

    def start(self, functions: Functions) -> None:
        self._functions = functions
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        """Closes every socket with 1001, lets `$disconnect` run, and ends the threads."""
        if self._thread.is_alive():
            self._call(self._shut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._pool.shutdown(wait=True)
        self._loop.close()
        self._client_socket.close()
        self._callback_socket.close()

    def sockets(self) -> list[SocketView]:
        """The established sockets, oldest first."""

        async def look() -> list[SocketView]:
            return [connection.view for connection in self.live.values() if connection.established]

        return self._call(look())

    def kill(self, where: Callable[[SocketView], bool] = lambda _: True) -> int:
        """Tears down the chosen sockets without a close frame, as a lost network would; returns how many."""

        async def tear() -> int:
            return self._kill(where)

        return self._call(tear())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # -- the loop's side ----------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        limits = self.limits
        self._servers.append(
            await serve(
                self._serve,
                sock=self._client_socket,
                process_request=self._handshake,
                select_subprotocol=self._subprotocol,
                compression=None,
                max_size=(limits.message, limits.frame),
                ping_interval=None,
                close_timeout=1,
                open_timeout=limits.integration_s,
                write_limit=limits.client_buffer,
                server_header=None,
                logger=_quiet(),
            )
        )
        self._servers.append(await self._loop.create_server(lambda: ConnectionsApi(self, self._keys), sock=self._callback_socket))
        self.spawn(self._kill_on_schedule())

    async def _shut(self) -> None:
        for task in self._tasks:
            task.cancel()
        clients, callbacks = self._servers
        clients.close()
        await clients.wait_closed()
        # The pool's last functions may still post, so the callback listener ends after the clients.
        callbacks.close()
        for caller in self.callers:
            caller.close()
        await asyncio.sleep(0)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` on the loop and keeps it referenced until it is done."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handshake(self, ws: ServerConnection, request: Request) -> Response | None:
        """Runs `$connect` before the 101; returns a response only to refuse the handshake."""
        if request.path.partition("?")[0].strip("/") != self.stage:
            return refusal(403, "Forbidden")
        if self.away:
            return refusal(503, "Service Unavailable")
        host = ws.remote_address[0]
        headers = [*request.headers.raw_items(), ("X-Forwarded-For", host)]
        connection_id = base64.b64encode(secrets.token_bytes(11)).decode()
        connection = Connection(ws, ws_events.Facts(connection_id, request.path, headers, host, now_ms()), self._opened)
        self._opened += 1
        self.live[connection_id] = self._by_socket[ws] = connection
        refused = await self._connect(connection)
        if refused is not None:
            self._forget(connection)
        return refused

    async def _connect(self, connection: Connection) -> Response | None:
        assert self._functions is not None
        event = ws_events.connect_event(connection.facts, now_ms())
        call = self._loop.run_in_executor(self._pool, self._functions.connect, event, LambdaContext("websocket_connect"))
        try:
            answer = await asyncio.wait_for(call, self.limits.integration_s)
            status = int(answer["statusCode"])
        except Exception:
            log.exception("$connect failed")
            return refusal(502, "Internal server error")
        if status >= 400:
            return refusal(status, phrase(status))
        if not 200 <= status < 300:
            return refusal(502, "Internal server error")
        answered = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        connection.subprotocol = answered.get("sec-websocket-protocol")
        return None

    def _subprotocol(self, ws: ServerConnection, offered: Any) -> Subprotocol | None:
        chosen = self._by_socket[ws].subprotocol
        return Subprotocol(chosen) if chosen is not None and chosen in offered else None

    async def _serve(self, ws: ServerConnection) -> None:
        connection = self._by_socket[ws]
        connection.established = True
        connection.touch()
        self._watch_expiry(connection)
        try:
            async for data in ws:
                if isinstance(data, bytes):
                    await ws.close(1003, "Binary frames are not supported")
                    break
                connection.touch()
                await self._accept(connection, data)
        finally:
            connection.established = False
            self._forget(connection)
            event = ws_events.disconnect_event(connection.facts, ws.close_code or 1006, ws.close_reason or "", now_ms())
            self._invoke(self._run_disconnect, event)

    async def _accept(self, connection: Connection, body: str) -> None:
        fate = self.chaos.fate("up", connection.ordinal, connection.received)
        connection.received += 1
        if fate.dropped:
            return
        with connection.guard:
            connection.in_flight += 1
            full = connection.in_flight >= self.limits.in_flight
            if full:
                connection.room.clear()
        if fate.delay_s:
            self._loop.call_later(fate.delay_s, self._invoke, self._run_message, connection, body)
        else:
            self._invoke(self._run_message, connection, body)
        if full:
            await connection.room.wait()

    def _invoke(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the pool has ended: the gateway is stopping
            self._pool.submit(function, *arguments)

    # -- the pool's side: what runs here runs concurrently --------------------------------------------------------

    def _run_message(self, connection: Connection, body: str) -> None:
        assert self._functions is not None
        event = ws_events.message_event(connection.facts, body, now_ms())
        try:
            self._functions.message(event, LambdaContext("websocket_message"))
        except Exception:
            log.exception("$default failed")
            reply = failure(connection.facts.connection_id, event["requestContext"]["requestId"])
            self._loop.call_soon_threadsafe(self.deliver, connection, reply)
        finally:
            with connection.guard:
                connection.in_flight -= 1
                freed = connection.in_flight == self.limits.in_flight // 2
            if freed:
                self._loop.call_soon_threadsafe(connection.room.set)

    def _run_disconnect(self, event: ws_events.Event) -> None:
        assert self._functions is not None
        try:
            self._functions.disconnect(event, LambdaContext("websocket_disconnect"))
        except Exception:
            log.exception("$disconnect failed")

    # -- towards the client --------------------------------------------------------------------------------------

    def deliver(self, connection: Connection, data: bytes) -> None:
        """Sends one text message, or whatever chaos makes of it."""
        fate = self.chaos.fate("down", connection.ordinal, connection.posted)
        connection.posted += 1
        connection.touch()
        if fate.dropped:
            return
        connection.waiting_bytes += len(data)
        if fate.delay_s:
            self._loop.call_later(fate.delay_s, lambda: self.spawn(self._send(connection, data)))
        else:
            self.spawn(self._send(connection, data))

    async def _send(self, connection: Connection, data: bytes) -> None:
        try:
            await connection.socket.send(data, text=True)
        except ConnectionClosed:
            log.debug("message lost: %s closed", connection.facts.connection_id)
        finally:
            connection.waiting_bytes -= len(data)

    def _watch_expiry(self, connection: Connection) -> None:
        """Closes at the idle or total limit. Only messages count as activity: no source says that pings do."""
        opened = time.monotonic()

        def check() -> None:
            left = self.limits.left_s(opened, connection.last_active, time.monotonic())
            if left > 0:
                connection.expiry = self._loop.call_later(left, check)
            else:
                self.spawn(connection.socket.close(1001, "Going away"))

        check()

    def _forget(self, connection: Connection) -> None:
        self.live.pop(connection.facts.connection_id, None)
        self._by_socket.pop(connection.socket, None)
        if connection.expiry is not None:
            connection.expiry.cancel()

    def _kill(self, where: Callable[[SocketView], bool]) -> int:
        chosen = [c for c in self.live.values() if c.established and where(c.view)]
        for connection in chosen:
            connection.socket.transport.abort()
        return len(chosen)

    async def _kill_on_schedule(self) -> None:
        while True:
            every = self.chaos.kill_every_s
            # Chaos may be switched on at run time, so look again soon when there is none.
            await asyncio.sleep(every if every is not None else 0.5)
            if every is not None and self.chaos.kill_every_s == every:
                self._kill(self.chaos.kills)


def _quiet() -> logging.Logger:
    """The WebSocket library's own log lines are about clients that went away; here that is the point."""
    logger = logging.getLogger("infra.local.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger
