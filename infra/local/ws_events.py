"""Lambda events of an API Gateway WebSocket API, in the shape AWS documents.

Source: "Set up a WebSocket API integration request" and the `$context` variable table, API Gateway Developer Guide.
"""

import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from infra.local.http_server import Headers

Event = dict[str, Any]
API_ID = "embedded01"


def connect_event(connection: "Facts", now_ms: int) -> Event:
    """`$connect`: the only event with the request's headers and query."""
    event = _event(connection, "$connect", "CONNECT", now_ms)
    event["headers"] = dict(connection.headers)
    event["multiValueHeaders"] = _grouped(connection.headers)
    pairs = parse_qsl(connection.query, keep_blank_values=True)
    if pairs:
        event["queryStringParameters"] = dict(pairs)
        event["multiValueQueryStringParameters"] = _grouped(pairs)
    return event


def message_event(connection: "Facts", body: str, now_ms: int) -> Event:
    """`$default`: one text message. It carries no headers: who is speaking must be looked up or be in the body."""
    event = _event(connection, "$default", "MESSAGE", now_ms)
    event["requestContext"]["messageId"] = uuid.uuid4().hex[:15] + "="
    event["body"] = body
    return event


def disconnect_event(connection: "Facts", code: int, reason: str, now_ms: int) -> Event:
    """`$disconnect`: best effort, after the socket is gone. 1006 when there was no close frame (RFC 6455 §7.4.1)."""
    event = _event(connection, "$disconnect", "DISCONNECT", now_ms)
    event["headers"] = {"Host": connection.domain, "x-restapi": ""}
    event["multiValueHeaders"] = {"Host": [connection.domain], "x-restapi": [""]}
    event["requestContext"]["disconnectStatusCode"] = code
    event["requestContext"]["disconnectReason"] = reason
    return event


class Facts:
    """What an event says about its connection: where it came from and how it was opened."""

    __slots__ = ("connected_at_ms", "connection_id", "domain", "headers", "path", "query", "source_ip", "stage")

    def __init__(self, connection_id: str, target: str, headers: Headers, source_ip: str, now_ms: int) -> None:
        self.connection_id = connection_id
        self.path, _, self.query = target.partition("?")
        self.stage = self.path.strip("/")
        self.headers = headers
        self.domain = next((value for name, value in headers if name.lower() == "host"), "127.0.0.1")
        self.source_ip = source_ip
        self.connected_at_ms = now_ms

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


def _event(connection: Facts, route: str, kind: str, now_ms: int) -> Event:
    request_id = uuid.uuid4().hex[:15] + "="
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return {
        "requestContext": {
            "routeKey": route,
            "eventType": kind,
            "extendedRequestId": request_id,
            "requestTime": moment.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "messageDirection": "IN",
            "stage": connection.stage,
            "connectedAt": connection.connected_at_ms,
            "requestTimeEpoch": now_ms,
            "identity": {"sourceIp": connection.source_ip, "userAgent": connection.header("user-agent")},
            "requestId": request_id,
            "domainName": connection.domain,
            "connectionId": connection.connection_id,
            "apiId": API_ID,
        },
        "isBase64Encoded": False,
    }


def _grouped(pairs: Headers) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped
