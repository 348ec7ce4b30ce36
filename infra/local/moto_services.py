"""DynamoDB, S3, KMS and Secrets Manager, by moto, in this process.

Calls are serialised: moto's backends take no locks, and conditional writes and transactions must have one winner.
Everything but S3 is answered here; S3 is reached only through the shim that checks signatures.
"""

import io
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from infra.local import kms_sign
from infra.local.http_server import Headers, Request, Response

WsgiApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]
_WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem")


def fresh_moto() -> WsgiApplication:
    """moto's server application over empty backends. The backends belong to the process: whatever they held is gone."""
    from moto.moto_api._internal.models import moto_api_backend
    from moto.moto_server import werkzeug_app

    from infra.local import moto_answers, moto_transactions, moto_versions

    moto_api_backend.reset()
    moto_answers.install()
    moto_transactions.install()
    moto_versions.install()
    # moto would let every origin read everything; the bucket's own CORS rules shall decide.
    werkzeug_app.DISABLE_GLOBAL_CORS = True  # type: ignore[attr-defined]
    made: WsgiApplication = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
    return made


class MotoServices:
    """Turns requests into calls of moto's WSGI application.

    `on_table_write` is called after every DynamoDB write, so that streams need no polling.
    """

    def __init__(self, application: WsgiApplication) -> None:
        self._application = application
        self._one_at_a_time = threading.Lock()
        self.on_table_write: Callable[[], None] | None = None

    def respond(self, request: Request) -> Response:
        """Answers for every service but S3. Unsigned calls and S3 calls are refused with 403."""
        scope = (request.header("authorization") or "").partition("Credential=")[2].partition(",")[0].split("/")
        if len(scope) != 5 or scope[3] == "s3":
            return Response(403, [("content-type", "application/json")], b'{"message":"Use the S3 endpoint, signed"}')
        if request.header("x-amz-target") == "TrentService.Sign" and (answer := kms_sign.sign(request.body, scope[2])):
            return Response(answer[0], [("content-type", "application/x-amz-json-1.1")], answer[1])
        response = self.forward(request)
        operation = (request.header("x-amz-target") or "").partition(".")[2]
        if operation in _WRITES and self.on_table_write is not None:
            self.on_table_write()
        return response

    def forward(self, request: Request) -> Response:
        """One call into moto, whatever the service; the caller has checked the request."""
        status: list[str] = []
        headers: Headers = []

        def start_response(line: str, fields: Headers, exc_info: object = None) -> None:
            status[:] = [line]
            headers[:] = fields

        with self._one_at_a_time:
            pieces = self._application(_environ(request), start_response)
            try:
                body = b"".join(pieces)
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        return Response(int(status[0].split()[0]), headers, body)


def _environ(request: Request) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of a request; RAW_URI keeps the target as it was sent, for S3 keys."""
    host, _, port = (request.header("host") or "127.0.0.1").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.target,
        "REQUEST_URI": request.target,
        "REMOTE_ADDR": request.peer,
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        # WSGI cannot tell a_b from a-b, so servers drop the former (RFC 3875 §4.1.18 maps both to one name).
        if "_" in name or name == "transfer-encoding":
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
            if key in environ:
                value = f"{environ[key]},{value}"
        environ[key] = value
    environ["CONTENT_LENGTH"] = str(len(request.body))
    return environ
