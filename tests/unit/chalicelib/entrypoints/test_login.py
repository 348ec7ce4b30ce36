"""The browser's way through a login, and the ways in which it could be sent elsewhere."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit

import pytest

from chalicelib.domain import identity
from chalicelib.domain.identity import Identity
from tests.fakes.world import ALICE, AgentKeys, openssh
from tests.unit.chalicelib.entrypoints.conftest import Gateway

VERIFIER = "v" * 43
EVIL = [
    "https://evil.example",
    "//evil.example",
    "javascript:alert(1)",
    "<script>alert(1)</script>",
    "a\r\nLocation: https://evil.example",
]


def state(gateway: Gateway, port: int = 40404) -> str:
    body = {"challenge": identity.challenge(VERIFIER), "port": port, "state": "mine-mine"}
    status, found = gateway.call("POST", "/login", body)
    assert status == 200, found
    return parse_qs(urlsplit(found["authorize_url"]).query)["state"][0]


def test_a_login_through_the_routes(gateway: Gateway) -> None:
    gateway.world.identity.people["good"] = Identity(principal="alice@example.com", groups=["sre"], mfa=False)
    status, _ = gateway.call("GET", f"/login/callback?code=good&state={state(gateway)}")
    assert status == 302
    location = urlsplit(gateway.headers["location"])
    assert (location.scheme, location.netloc, location.path) == ("http", "127.0.0.1:40404", "/done")
    code = parse_qs(location.query)["code"][0]
    body = {"code": code, "verifier": VERIFIER, "ssh_public_key": openssh(AgentKeys().key)}
    status, found = gateway.call("POST", "/login/redeem", body)
    assert status == 200
    token = f"Bearer {found['access_token']}"
    assert gateway.call("GET", "/whoami", None, token)[1]["principal"] == "alice@example.com"
    assert gateway.call("POST", "/logout", {}, token) == (200, {})
    assert gateway.call("GET", "/whoami", None, token)[1]["error"]["code"] == "token_revoked"


@pytest.mark.parametrize("text", EVIL)
def test_an_unknown_state_ends_on_a_page_of_our_own_words(gateway: Gateway, text: str) -> None:
    value = quote(text, safe="")
    status, page = gateway.call("GET", f"/login/callback?code={value}&state={value}&error={value}&redirect_uri={value}&port=80")
    assert status == 400
    assert "location" not in gateway.headers
    assert "evil" not in page
    assert "alert" not in page
    assert gateway.headers["content-type"] == "text/html; charset=utf-8"
    assert gateway.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("text", EVIL)
def test_a_known_state_never_leaves_the_loopback(gateway: Gateway, text: str) -> None:
    value = quote(text, safe="")
    status, _ = gateway.call("GET", f"/login/callback?code={value}&state={state(gateway)}&error={value}&host={value}")
    assert status == 302
    location = gateway.headers["location"]
    assert location.startswith("http://127.0.0.1:40404/done?error=login_failed&")
    assert "evil" not in location
    assert "\n" not in location


@pytest.mark.parametrize("port", [0, 22, 80, 70000, -1])
def test_ports_of_services_are_refused(gateway: Gateway, port: int) -> None:
    body = {"challenge": identity.challenge(VERIFIER), "port": port, "state": "mine-mine"}
    assert gateway.call("POST", "/login", body)[0] == 400


def test_a_port_is_a_number(gateway: Gateway) -> None:
    body = {"challenge": identity.challenge(VERIFIER), "port": "80@evil.example", "state": "mine-mine"}
    assert gateway.call("POST", "/login", body)[0] == 400


def test_whoami_says_what_the_token_says(gateway: Gateway) -> None:
    assert gateway.call("GET", "/whoami", None, ALICE)[1] == {
        "principal": ALICE.sub,
        "groups": ["sre"],
        "expires_ms": ALICE.exp * 1000,
    }
