"""REST routes behind the API Gateway look-alike, without sockets."""

import base64
import json
from typing import Any

import pytest
from chalice import AuthResponse, Chalice, Response, UnauthorizedError

from infra.local import http_server
from infra.local.http_api import MAX_LAMBDA_PAYLOAD, MAX_REQUEST, HttpApi
from infra.local.http_server import Request


@pytest.fixture
def api() -> HttpApi:
    app = Chalice("sample")

    @app.authorizer()
    def guard(request: Any) -> AuthResponse:
        if request.token == "raise":
            raise UnauthorizedError("no")
        return AuthResponse(routes=["*"] if request.token == "good" else [], principal_id="alice")

    @app.route("/me", authorizer=guard)
    def me() -> dict[str, str]:
        return {"principal": app.current_request.context["authorizer"]["principalId"]}

    @app.route("/event", methods=["POST"], content_types=["application/json", "application/zip"])
    def event() -> dict[str, Any]:
        request = app.current_request
        return {"event": request.to_dict(), "raw": base64.b64encode(request.raw_body).decode()}

    @app.route("/large")
    def large() -> Response:
        return Response("x" * (MAX_LAMBDA_PAYLOAD + 1))

    @app.route("/picture")
    def picture() -> Response:
        return Response(b"\x89PNG", headers={"Content-Type": "image/png"})

    @app.route("/broken")
    def broken() -> None:
        raise RuntimeError("broken")

    return HttpApi(app)


def call(api: HttpApi, method: str, target: str, body: bytes = b"", **headers: str) -> http_server.Response:
    fields = [("host", "127.0.0.1:9"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return api.respond(Request(method, target, fields, body))


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"authorization": "good"}, 200), ({"authorization": "bad"}, 403), ({"authorization": "raise"}, 401), ({}, 401)],
)
def test_authorizers_decide(api: HttpApi, headers: dict[str, str], status: int) -> None:
    answer = call(api, "GET", "/me", **headers)
    assert answer.status == status
    if status == 200:
        assert json.loads(answer.body) == {"principal": "alice"}


def test_a_body_arrives_as_text_and_binary_as_bytes(api: HttpApi) -> None:
    text = json.loads(call(api, "POST", "/event", '{"ä":1}'.encode(), content_type="application/json").body)
    assert base64.b64decode(text["raw"]) == '{"ä":1}'.encode()
    packed = json.loads(call(api, "POST", "/event", b"PK\xff", content_type="application/zip").body)
    assert base64.b64decode(packed["raw"]) == b"PK\xff"


def test_events_carry_what_api_gateway_adds(api: HttpApi) -> None:
    answer = call(api, "POST", "/event?a=1&a=2", b"{}", content_type="application/json", user_agent="cli/1")
    event = json.loads(answer.body)["event"]
    assert event["context"]["identity"] == {"sourceIp": "127.0.0.1", "userAgent": "cli/1"}
    assert event["context"]["requestId"]
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert event["query_params"] == {"a": "2"}


def test_repeated_cookies_are_one_header(api: HttpApi) -> None:
    fields = [("host", "h"), ("cookie", "a=1"), ("cookie", "b=2"), ("content-type", "application/json")]
    event = json.loads(api.respond(Request("POST", "/event", fields, b"{}")).body)["event"]
    assert event["headers"]["cookie"] == "a=1; b=2"


def test_payload_limits(api: HttpApi) -> None:
    assert call(api, "POST", "/event", b"x" * (MAX_REQUEST + 1)).status == 413
    assert call(api, "POST", "/event", b"x" * (MAX_LAMBDA_PAYLOAD + 1)).status == 413
    assert call(api, "GET", "/large").status == 502


def test_binary_answers_need_an_accept_header(api: HttpApi) -> None:
    answer = call(api, "GET", "/picture", accept="image/png")
    assert (answer.status, answer.body) == (200, b"\x89PNG")


def test_a_broken_route_tells_nothing(api: HttpApi) -> None:
    answer = call(api, "GET", "/broken")
    assert answer.status == 500
    assert b"RuntimeError" not in answer.body
