"""The application's REST routes behind an API Gateway look-alike: Lambda proxy events in, HTTP out.

Chalice's own local server is used for routing and authorizers only. Where its events differ from those on AWS (bytes as
bodies, content types compared with their case, no request id, no size limits) the difference is removed here.
"""

import base64
import json
import threading
import time
import uuid
from typing import Any

from chalice.app import ChaliceViewError
from chalice.config import Config
from chalice.local import LambdaEventConverter, LocalChalice, LocalGateway, LocalGatewayException, RouteMatcher

from infra.local.functions import ACCOUNT_ID, LambdaContext
from infra.local.http_server import Headers, Request, Response

MAX_REQUEST = 10 * 1024 * 1024  # API Gateway: payload size
MAX_LAMBDA_PAYLOAD = 6 * 1024 * 1024  # Lambda: synchronous invocation payload


class HttpApi:
    """Answers HTTP requests with `app`, at the root, without a stage in the path."""

    def __init__(self, app: Any) -> None:
        self._gateway = _Gateway(isolate_requests(app))

    def respond(self, request: Request) -> Response:
        if len(request.body) > MAX_REQUEST:
            return _json(413, "Request Too Long")
        # A body travels inside the event: as text, or four thirds as long in base64.
        if len(request.body) > MAX_LAMBDA_PAYLOAD:
            return _json(413, "Request Entity Too Large")
        try:
            answer = self._gateway.handle_request(request.method, request.target, _flat(request), request.body or None)
        except LocalGatewayException as refusal:
            headers = [(name, str(value)) for name, value in refusal.headers.items()]
            return Response(refusal.CODE, [("content-type", "application/json"), *headers], refusal.body or b"")
        except ChaliceViewError as refusal:
            # Raised inside an authorizer. API Gateway answers 401 for "Unauthorized" and 500 for the rest.
            return _json(401 if refusal.STATUS_CODE == 401 else 500, "Unauthorized" if refusal.STATUS_CODE == 401 else None)
        return _response(answer)


class _Gateway(LocalGateway):
    def __init__(self, app: Any) -> None:
        super().__init__(app, Config())
        self.event_converter = _Events(RouteMatcher(list(app.routes)), app.api.binary_types)

    def _generate_lambda_context(self) -> Any:
        return LambdaContext("APIHandler")


class _Events(LambdaEventConverter):
    def create_lambda_event(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> dict[str, Any]:
        event: dict[str, Any] = super().create_lambda_event(method, path, headers, None)
        context = event["requestContext"]
        context.update(
            accountId=ACCOUNT_ID,
            apiId="embedded00",
            stage="api",
            protocol="HTTP/1.1",
            requestId=str(uuid.uuid4()),
            requestTimeEpoch=int(time.time() * 1000),
            domainName=headers.get("host", "127.0.0.1"),
        )
        context["identity"]["userAgent"] = headers.get("user-agent")
        event["httpMethod"], event["path"], event["resource"] = method, context["path"], context["resourcePath"]
        event["multiValueHeaders"] = {name: [value] for name, value in event["headers"].items()}
        event["body"], event["isBase64Encoded"] = self._encode(headers, body)
        return event

    def _encode(self, headers: dict[str, str], body: bytes | None) -> tuple[str | None, bool]:
        if body is None:
            return None, False
        if headers.get("content-type", "") in self._binary_types:
            return base64.b64encode(body).decode("ascii"), True
        # API Gateway replaces what is not UTF-8 when a body passes as text.
        return body.decode("utf-8", "replace"), False


_THREAD = threading.local()


class _IsolatedApp(LocalChalice):
    """Gives every thread its own request and context, as every Lambda container has."""

    @property
    def current_request(self) -> Any:
        return getattr(_THREAD, "request", None)

    @current_request.setter
    def current_request(self, value: Any) -> None:
        _THREAD.request = value

    @property
    def lambda_context(self) -> Any:
        return getattr(_THREAD, "context", None)

    @lambda_context.setter
    def lambda_context(self, value: Any) -> None:
        _THREAD.context = value


def isolate_requests(app: Any) -> Any:
    """Changes `app` in place so that concurrent requests do not see each other; returns it."""
    if not isinstance(app, _IsolatedApp):
        app.__class__ = type("EmbeddedApp", (_IsolatedApp, type(app)), {})
    return app


def _flat(request: Request) -> dict[str, str]:
    """One value per header; repeated cookies are joined as RFC 6265 §5.4 writes them, the rest by comma."""
    flat: dict[str, str] = {}
    for name, value in request.headers:
        separator = "; " if name == "cookie" else ","
        flat[name] = f"{flat[name]}{separator}{value}" if name in flat else value
    flat.setdefault("x-forwarded-for", request.peer)
    flat.setdefault("x-forwarded-proto", "http")
    return flat


def _response(answer: dict[str, Any]) -> Response:
    body = answer.get("body") or ""
    if len(body) > MAX_LAMBDA_PAYLOAD:
        return _json(502, "Internal server error")
    raw = base64.b64decode(body) if answer.get("isBase64Encoded") else body
    headers: Headers = []
    for name, value in {**answer["headers"], **(answer.get("multiValueHeaders") or {})}.items():
        values = value if isinstance(value, list) else [value]
        headers += [(name, str(each)) for each in values]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return Response(answer["statusCode"], headers, raw.encode() if isinstance(raw, str) else raw)


def _json(status: int, message: str | None) -> Response:
    return Response(status, [("content-type", "application/json")], json.dumps({"message": message}).encode())
