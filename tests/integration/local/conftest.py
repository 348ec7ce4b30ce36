"""One embedded cloud for these tests, around a small application that records what it was invoked with."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from chalice import Chalice, Rate, Response

from infra.local.cloud import EmbeddedCloud
from infra.local.ws_connection import Limits
from tests.patience import HANG_S


class Probe:
    """What the sample application saw, and how it shall behave next. Tests wait on `changed`, never on time."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.records: list[dict[str, Any]] = []
        self.contexts: list[Any] = []
        self.fail_stream = 0
        self.ticks = 0
        self.greeted = 0
        self.connect_post_error: str | None = None
        self.gate = threading.Barrier(1)
        self.changed = threading.Condition()

    def note(self, event: dict[str, Any], context: Any) -> None:
        with self.changed:
            self.events.append(event)
            self.contexts.append(context)
            self.changed.notify_all()

    def of(self, kind: str, connection_id: str | None = None) -> list[dict[str, Any]]:
        with self.changed:
            return [
                event
                for event in self.events
                if event["requestContext"]["eventType"] == kind
                and connection_id in (None, event["requestContext"]["connectionId"])
            ]

    def wait(self, reached: Any, timeout: float = HANG_S) -> None:
        with self.changed:
            assert self.changed.wait_for(reached, timeout), "it did not happen"


def sample_app(probe: Probe) -> Chalice:
    app = Chalice("sample")
    app.experimental_feature_flags.update(["WEBSOCKETS"])
    # A session of its own: the default one keeps the credentials of whichever cloud this process ran first.
    callback = boto3.session.Session().client("apigatewaymanagementapi", endpoint_url=os.environ["SALLYPORT_WS_CALLBACK"])

    @app.route("/where")
    def where() -> dict[str, str]:
        return {name: os.environ[name] for name in os.environ if name.startswith("SALLYPORT_")}

    @app.route("/echo", methods=["POST"], content_types=["text/plain", "application/octet-stream"])
    def echo() -> dict[str, Any]:
        event = app.current_request.to_dict()
        body = app.current_request.raw_body
        return {"kind": type(body).__name__, "length": len(body), "request": event["context"]["requestId"]}

    @app.route("/greet", methods=["POST"])
    def greet() -> None:
        probe.greeted += 1

    @app.route("/cookies/{name}")
    def cookies(name: str) -> Response:
        return Response("", headers={"Set-Cookie": [f"{name}=1", f"{name}2=2"]})

    @app.route("/who/{name}")
    def who(name: str) -> dict[str, str]:
        before = app.current_request.uri_params["name"]
        probe.gate.wait(HANG_S)
        return {"before": before, "after": app.current_request.uri_params["name"]}

    @app.on_ws_connect()
    def connect(event: Any) -> dict[str, Any]:
        raw = event.to_dict()
        probe.note(raw, event.context)
        query = raw.get("queryStringParameters", {})
        if query.get("post"):
            try:
                callback.post_to_connection(ConnectionId=event.connection_id, Data=b"too early")
            except callback.exceptions.GoneException:
                probe.connect_post_error = "Gone"
        if query.get("raise"):
            raise RuntimeError("connect broke")
        answer: dict[str, Any] = {"statusCode": int(query.get("status", "200"))}
        if query.get("protocol"):
            answer["headers"] = {"Sec-WebSocket-Protocol": query["protocol"]}
        return answer

    @app.on_ws_message()
    def message(event: Any) -> None:
        verb, _, rest = event.body.partition(" ")
        if verb == "raise":
            raise RuntimeError("message broke")
        if verb == "gate":
            probe.gate.wait(HANG_S)
        if verb == "echo":
            callback.post_to_connection(ConnectionId=event.connection_id, Data=rest.encode())
        probe.note(event.to_dict(), event.context)

    @app.on_ws_disconnect()
    def disconnect(event: Any) -> None:
        probe.note(event.to_dict(), event.context)

    @app.schedule(Rate(5, unit=Rate.MINUTES))
    def tick(event: Any) -> str:
        probe.ticks += 1
        return str(event.to_dict()["detail-type"])

    @app.on_dynamodb_record(stream_arn=os.environ["SALLYPORT_TABLE_STREAM"], batch_size=3)
    def changes(event: Any) -> None:
        if probe.fail_stream:
            probe.fail_stream -= 1
            raise RuntimeError("stream broke")
        with probe.changed:
            probe.records += event.to_dict()["Records"]
            probe.changed.notify_all()

    return app


@pytest.fixture(scope="package")
def probe() -> Probe:
    return Probe()


@pytest.fixture(scope="package")
def shared_cloud(probe: Probe) -> Iterator[EmbeddedCloud]:
    limits = Limits(client_buffer=300_000)
    with EmbeddedCloud(lambda: sample_app(probe), limits=limits, background=False) as cloud:
        yield cloud


@pytest.fixture
def cloud(shared_cloud: EmbeddedCloud, probe: Probe) -> EmbeddedCloud:
    """The shared cloud, with a probe that remembers nothing."""
    probe.events.clear()
    probe.contexts.clear()
    probe.records.clear()
    probe.fail_stream = probe.ticks = 0
    probe.connect_post_error = None
    return shared_cloud
