"""A small threaded HTTP/1.1 server: keep-alive, no Nagle delay, raw request targets.

The standard library's server waits for delayed acknowledgements (22 requests per second on a kept-alive connection) and
werkzeug's closes after every answer. Signature checks also need the target and the headers exactly as they were sent, so
one server made for that carries the HTTP API, the AWS services, the S3 shim and the identity provider.
"""

import contextlib
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedIOBase
from typing import Any, Literal
from urllib.parse import parse_qsl

log = logging.getLogger(__name__)

Headers = list[tuple[str, str]]
MAX_HEAD = 64 * 1024
MAX_BODY = 512 * 1024 * 1024
_BODYLESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}


@dataclass(slots=True)
class Request:
    """One request as it was on the wire. Header names are lower case; order and repetition are kept."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    peer: str = "127.0.0.1"

    @property
    def path(self) -> str:
        """The path, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query string, still percent-encoded, without the question mark."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The header's value, repeated fields joined by a comma (RFC 9110 §5.3), or None when it is absent."""
        found = [value for key, value in self.headers if key == name]
        return ",".join(found) if found else None

    def parameters(self) -> dict[str, str]:
        """Query and form parameters, the last of a repeated name; the form only when the body is one."""
        pairs = parse_qsl(self.query, keep_blank_values=True)
        if (self.header("content-type") or "").startswith("application/x-www-form-urlencoded"):
            pairs += parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)
        return dict(pairs)


@dataclass(slots=True)
class Response:
    """What to answer. The server adds Content-Length; a HEAD answer keeps the one given here."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""


Respond = Callable[[Request], Response]

#: ``away``: requests are read, and nothing else happens. ``mute``: they are carried out, and the answer is lost.
Weather = Literal["fair", "away", "mute"]


class RequestLineError(Exception):
    """The peer does not speak HTTP/1.1 well enough to be answered; carries the status to close with."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class HttpServer:
    """Listens on 127.0.0.1 from construction on, answers from `start` to `stop`.

    Connections that arrive in between wait in the backlog: the address can be published before the answer is known.
    """

    def __init__(self, name: str, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), _Exchange)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name=name, daemon=True)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def weather(self) -> Weather:
        """What becomes of requests; may be set at any time. Connections that break off do so without a word."""
        return self._server.weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._server.weather = weather

    def start(self, respond: Respond) -> None:
        self._server.respond = respond
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.drop_connections()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    respond: Respond
    weather: Weather = "fair"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        with self._guard:
            waiting = list(self._open)
        for connection in waiting:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection ended early", exc_info=True)


class _Exchange(socketserver.StreamRequestHandler):
    """One connection: requests one after the other until either side closes."""

    disable_nagle_algorithm = True
    rbufsize = 64 * 1024
    server: _Server

    def handle(self) -> None:
        peer = str(self.client_address[0])
        while True:
            try:
                request, keep = self._read(peer)
            except RequestLineError as refusal:
                self._write("GET", Response(refusal.status), keep=False)
                return
            if request is None or self.server.weather == "away":
                return
            try:
                response = self.server.respond(request)
            except Exception:
                log.exception("no answer for %s %s", request.method, request.path)
                body = b'{"message":"Internal server error"}'
                response = Response(500, [("content-type", "application/json")], body)
            if self.server.weather != "fair":
                return
            self._write(request.method, response, keep)
            if not keep:
                return

    def _read(self, peer: str) -> tuple[Request | None, bool]:
        line = self.rfile.readline(MAX_HEAD + 1)
        if not line:
            return None, False
        words = line.decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise RequestLineError(HTTPStatus.BAD_REQUEST)
        headers = _read_headers(self.rfile, MAX_HEAD - len(line))
        request = Request(words[0], words[1], headers, peer=peer)
        # botocore waits for this before it sends the body of an S3 upload.
        if (request.header("expect") or "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.body = _read_body(self.rfile, request)
        keep = words[2] == "HTTP/1.1" and "close" not in (request.header("connection") or "").lower()
        return request, keep

    def _write(self, method: str, response: Response, keep: bool) -> None:
        status = HTTPStatus(response.status)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
        bodyless = method == "HEAD" or status in _BODYLESS
        dropped = {"connection", "transfer-encoding"} | (set() if bodyless else {"content-length"})
        lines += [f"{name}: {value}" for name, value in response.headers if name.lower() not in dropped]
        if not bodyless:
            lines.append(f"Content-Length: {len(response.body)}")
        lines.append(f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n")
        head = "\r\n".join(lines).encode("latin-1")
        self.wfile.write(head if bodyless else head + response.body)


def _read_headers(stream: BufferedIOBase, budget: int) -> Headers:
    headers: Headers = []
    while True:
        line = stream.readline(budget + 1)
        budget -= len(line)
        if budget < 0:
            raise RequestLineError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if line in (b"\r\n", b"\n"):
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not line.endswith(b"\n") or name != name.strip():
            raise RequestLineError(HTTPStatus.BAD_REQUEST)
        headers.append((name.lower(), value.strip()))


def _read_body(stream: BufferedIOBase, request: Request) -> bytes:
    if "chunked" in (request.header("transfer-encoding") or "").lower():
        return _read_chunks(stream)
    declared = request.header("content-length") or "0"
    if not declared.isascii() or not declared.isdigit():
        raise RequestLineError(HTTPStatus.BAD_REQUEST)
    size = int(declared)
    if size > MAX_BODY:
        raise RequestLineError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = stream.read(size)
    if len(body) != size:
        raise RequestLineError(HTTPStatus.BAD_REQUEST)
    return body


def _read_chunks(stream: BufferedIOBase) -> bytes:
    pieces: list[bytes] = []
    total = 0
    while True:
        declared = stream.readline(1024).partition(b";")[0].strip()
        try:
            size = int(declared, 16)
        except ValueError:
            raise RequestLineError(HTTPStatus.BAD_REQUEST) from None
        total += size
        if size < 0 or total > MAX_BODY:
            raise RequestLineError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if size == 0:
            while stream.readline(1024) not in (b"\r\n", b"\n", b""):
                continue
            return b"".join(pieces)
        piece = stream.read(size)
        if len(piece) != size:
            raise RequestLineError(HTTPStatus.BAD_REQUEST)
        pieces.append(piece)
        stream.readline(8)
