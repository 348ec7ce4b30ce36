"""WebSocket events, as API Gateway sends them, and the schedule."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

import app as application
from chalicelib.contracts.capability import ACCESS_TYP, AccessClaims
from chalicelib.entrypoints import schedules, websocket
from tests.fakes.approvals import DAN, EVERYBODY, FILES_ASK, HOLDING, access, answer, kept
from tests.fakes.world import ADMIN, ALICE
from tests.unit.chalicelib.entrypoints.conftest import Gateway


def event(connection: str = "c1", headers: dict[str, str] | None = None, body: str | None = None) -> dict[str, Any]:
    context = {"connectionId": connection, "requestId": "r1", "apiId": "x", "stage": "api", "routeKey": "$connect"}
    return {"requestContext": context, "headers": headers, "body": body}


def test_header_names_do_not_depend_on_their_case(gateway: Gateway) -> None:
    _, ticket = gateway.world.open()
    assert websocket.connect(event(headers={"aUTHORIZATION": f"Bearer {ticket}"})) == {"statusCode": 200}
    proof = gateway.world.keys.proof(gateway.world.clock, "GET", "/ws")
    headers = {"authorization": proof, "x-sallyport-SOCKET": "control"}
    assert websocket.connect(event("control-2", headers)) == {"statusCode": 200}
    assert gateway.world.agent.connection == "control-2"


@pytest.mark.parametrize(
    ("headers", "status"),
    [(None, 401), ({}, 401), ({"Authorization": ""}, 401), ({"Authorization": "Bearer x"}, 401), ({"Cookie": "a=b"}, 401)],
)
def test_a_handshake_without_a_ticket_is_refused(gateway: Gateway, headers: dict[str, str] | None, status: int) -> None:
    assert websocket.connect(event(headers=headers))["statusCode"] == status
    assert gateway.world.store.connections.keys() == {"control-1"}


def test_a_refused_handshake_needs_no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.entrypoints.websocket.ports", lambda: pytest.fail("nothing was asked yet"))
    assert websocket.connect(event())["statusCode"] == 401


def test_messages_and_ends_arrive(gateway: Gateway) -> None:
    sid, ticket = gateway.world.open()
    websocket.connect(event(headers={"Authorization": f"Bearer {ticket}"}))
    assert websocket.message(event(body=json.dumps({"t": "hello"}))) == {"statusCode": 200}
    assert gateway.world.downlink.last("control-1")["t"] == "offer"
    assert websocket.message(event(body=None)) == {"statusCode": 200}
    assert gateway.world.downlink.last("c1")["t"] == "refused"
    assert websocket.disconnect(event()) == {"statusCode": 200}
    assert gateway.world.store.link(sid).client == ""


def test_a_command_line_waits_for_its_own_request_and_for_no_other(gateway: Gateway) -> None:
    world = gateway.world
    for who in EVERYBODY:
        world.login(who)
    assert gateway.agent("/agent/announce", {"protocols": [msgspec.to_builtins(HOLDING)], "credentials": []})[0] == 200
    assert gateway.call("POST", "/config/apply", {"files": FILES_ASK}, ADMIN)[0] == 200
    request = access(world).request

    def wait(connection: str, who: AccessClaims | None, rid: str = request.rid) -> int:
        token = world.signer.sign_token(ACCESS_TYP, msgspec.to_builtins(who)) if who else world.open()[1]
        headers = {"authorization": f"Bearer {token}", "X-Sallyport-Socket": "request", "X-Sallyport-Request": rid}
        return int(websocket.connect(event(connection, headers))["statusCode"])

    assert wait("w1", ALICE) == 200
    assert (wait("w2", DAN), wait("w3", ALICE, "req_x"), wait("w4", None)) == (404, 404, 401)
    assert world.store.waiting(request.rid) == ["w1"]
    # It is no end of a session: it says nothing and hears nothing of one.
    websocket.message(event("w1", body=json.dumps({"t": "hello"})))
    assert world.downlink.last("w1")["t"] == "refused"
    answer(world, DAN, request)
    assert world.downlink.last("w1") == {"t": "decided", "rid": request.rid, "state": "approved"}
    assert websocket.disconnect(event("w1")) == {"statusCode": 200}
    assert world.store.waiting(request.rid) == []


def test_the_schedule_ends_requests_and_tells_people(gateway: Gateway) -> None:
    world = gateway.world
    for who in EVERYBODY:
        world.login(who)
    gateway.agent("/agent/announce", {"protocols": [msgspec.to_builtins(HOLDING)], "credentials": []})
    assert gateway.call("POST", "/config/apply", {"files": FILES_ASK}, ADMIN)[0] == 200
    world.notifier.failing = {"mail"}
    rid = access(world).request.rid
    world.notifier.failing.clear()
    world.clock.advance(601)
    assert schedules.reap() == {"requests": 1, "notices": 1}
    assert kept(world, rid).request.state == "expired"


def test_our_own_mistakes_are_told_as_a_code_only(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(gateway.world.store, "connection", broken)
    found = websocket.message(event(body='{"t":"hello"}'))
    assert found["statusCode"] == 500
    assert "secret detail" not in found["body"]
    monkeypatch.setattr(gateway.world.store, "connection_closed", broken)
    assert websocket.disconnect(event())["statusCode"] == 500


def test_the_application_declares_every_function_itself() -> None:
    assert set(application.app.websocket_handlers) == {"$connect", "$default", "$disconnect"}
    assert [source.name for source in application.app.event_sources] == [
        "reap",
        "catch_up",
        "sweep",
        "copy",
        "watch",
        "sequence",
        "seal",
    ]
    for source in [*application.app.websocket_handlers.values(), *application.app.event_sources]:
        assert source.handler_string.startswith("app.")


def test_the_schedule_reaps(gateway: Gateway) -> None:
    gateway.world.open()
    assert schedules.reap() == {}
    gateway.world.clock.advance(121)
    assert schedules.reap() == {"expired": 1}
