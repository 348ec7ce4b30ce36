"""The real application on fakes, through Chalice's own test client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from chalice.test import Client

import app as application
from chalicelib import bootstrap
from chalicelib.contracts.capability import ACCESS_TYP, AccessClaims
from chalicelib.domain.agent_proof import Replays
from tests.fakes.world import World


class Gateway:
    """The application and the world behind it."""

    def __init__(self, world: World, client: Client) -> None:
        self.world, self.client = world, client

    def call(self, method: str, path: str, body: Any = None, who: AccessClaims | str | None = None) -> tuple[int, Any]:
        headers = {"content-type": "application/json"}
        if isinstance(who, AccessClaims):
            headers["authorization"] = f"Bearer {self.world.signer.sign_token(ACCESS_TYP, msgspec.to_builtins(who))}"
        elif who:
            headers["authorization"] = who
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body) if body is not None else b""
        answer = self.client.http.request(method, path, headers=headers, body=raw)
        self.headers = {name.lower(): value for name, value in answer.headers.items()}
        text = answer.body.decode()
        return answer.status_code, json.loads(text) if text.startswith("{") else text

    def agent(self, path: str, body: Any) -> tuple[int, Any]:
        raw = msgspec.json.encode(body)
        return self.call("POST", path, raw, self.world.keys.proof(self.world.clock, "POST", path, raw))


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    world = World.ready()
    replays = Replays()
    for name in (
        "http",
        "login",
        "people",
        "requests",
        "config",
        "agents",
        "websocket",
        "schedules",
        "streams",
        "pages",
        "web",
        "slack",
    ):
        module = f"chalicelib.entrypoints.{name}"
        monkeypatch.setattr(f"{module}.ports", lambda: world.ports, raising=False)
    for name in ("http", "websocket"):
        monkeypatch.setattr(f"chalicelib.entrypoints.{name}.replays", lambda: replays)
    assert bootstrap.ports is not None
    with Client(application.app) as client:
        yield Gateway(world, client)
