"""`/@connections/{id}`: what boto3's `apigatewaymanagementapi` talks to.

An asyncio protocol on the gateway's own loop, because a thread per request would cost more than the delivery itself.
"""

import asyncio
import json
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote

from infra.local.http_server import Request
from infra.local.sigv4 import KeyPair, RefusedError, verify

if TYPE_CHECKING:
    from infra.local.gateway_ws import WebSocketGateway
    from infra.local.ws_connection import Connection

_MAX_HEAD = 32 * 1024
# A little more than a message, so that one that is too long is answered and not cut off.
_MAX_BODY = 1024 * 1024
_PREFIX = "/@connections/"


class ConnectionsApi(asyncio.Protocol):
    """One kept-alive HTTP connection. Requests are answered at once: nothing here waits for the client's socket."""

    def __init__(self, gateway: "WebSocketGateway", keys: KeyPair) -> None:
        self._gateway, self._keys = gateway, keys
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._gateway.callers.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._gateway.callers.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _MAX_HEAD:
                    self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, close=True)
                return
            request, size = _parse(bytes(self._buffer[:end]))
            if request is None or size > _MAX_BODY:
                self._answer(HTTPStatus.BAD_REQUEST, close=True)
                return
            if len(self._buffer) < end + 4 + size:
                return
            request.body = bytes(self._buffer[end + 4 : end + 4 + size])
            del self._buffer[: end + 4 + size]
            self._answer(*self._respond(request))

    def _respond(self, request: Request) -> tuple[HTTPStatus, str, bytes]:
        try:
            verify(request, self._keys, "execute-api", time.time())
        except RefusedError as refusal:
            return HTTPStatus.FORBIDDEN, "ForbiddenException", _json(message=refusal.message)
        if not request.path.startswith(_PREFIX):
            return HTTPStatus.FORBIDDEN, "ForbiddenException", _json(message="Forbidden")
        connection = self._gateway.live.get(unquote(request.path[len(_PREFIX) :]))
        # During $connect the connection does not exist yet, and posting to it is Gone.
        if connection is None or not connection.established:
            return HTTPStatus.GONE, "GoneException", b""
        if request.method == "GET":
            return HTTPStatus.OK, "", _describe(connection)
        if request.method == "DELETE":
            self._gateway.spawn(connection.socket.close(1000, "Connection Closed Normally"))
            return HTTPStatus.NO_CONTENT, "", b""
        if request.method == "POST":
            return self._post(connection, request.body)
        return HTTPStatus.FORBIDDEN, "ForbiddenException", _json(message="Missing Authentication Token")

    def _post(self, connection: "Connection", data: bytes) -> tuple[HTTPStatus, str, bytes]:
        limits = self._gateway.limits
        if len(data) > limits.message:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "PayloadTooLargeException", _json(message="Message too long")
        try:
            data.decode()
        except UnicodeDecodeError:
            return HTTPStatus.BAD_REQUEST, "BadRequestException", _json(message="Messages are text (UTF-8)")
        if connection.waiting_bytes + len(data) > limits.client_buffer:
            return HTTPStatus.TOO_MANY_REQUESTS, "LimitExceededException", b""
        self._gateway.deliver(connection, data)
        return HTTPStatus.OK, "", b""

    def _answer(self, status: HTTPStatus, error: str = "", body: bytes = b"", *, close: bool = False) -> None:
        assert self._transport is not None
        head = [f"HTTP/1.1 {status.value} {status.phrase}", "Content-Type: application/json"]
        if status is not HTTPStatus.NO_CONTENT:
            head.append(f"Content-Length: {len(body)}")
        if error:
            head.append(f"x-amzn-ErrorType: {error}")
        head.append(f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n")
        self._transport.write("\r\n".join(head).encode() + body)
        if close:
            self._transport.close()


def _parse(head: bytes) -> tuple[Request | None, int]:
    """The request without its body, and the body's declared size in bytes; None when it is not HTTP/1.1."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    request = Request(words[0], words[1] if len(words) == 3 else "", headers)
    size = request.header("content-length") or "0"
    if len(words) != 3 or not size.isascii() or not size.isdigit() or request.header("transfer-encoding"):
        return None, 0
    return request, int(size)


def _describe(connection: "Connection") -> bytes:
    facts = connection.facts
    return _json(
        connectedAt=_iso(facts.connected_at_ms),
        lastActiveAt=_iso(connection.last_active_ms),
        identity={"sourceIp": facts.source_ip, "userAgent": facts.header("user-agent")},
    )


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()
