"""A login from the first request to the token: start_login, finish_login, redeem_login, log_out."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from chalicelib.contracts.api import LoggedIn, LoginRedeem, LoginStart
from chalicelib.contracts.audit import LoggedOut, LoginCompleted, LoginFailed
from chalicelib.domain import identity
from chalicelib.domain.identity import Identity
from chalicelib.domain.ssh_certificate import Person, read_person
from chalicelib.usecases.authenticate import authenticate_person
from chalicelib.usecases.finish_login import Callback, finish_login
from chalicelib.usecases.log_out import log_out
from chalicelib.usecases.redeem_login import redeem_login
from chalicelib.usecases.start_login import start_login
from tests.fakes.world import ALICE, AgentKeys, World, openssh
from tests.unit.chalicelib.usecases.expecting import fault

VERIFIER = "v" * 43
START = LoginStart(challenge=identity.challenge(VERIFIER), port=40404, state="mine-mine")
KEY = openssh(AgentKeys().key)


def world() -> World:
    made = World()
    for code in ("good", "x" * 5000):
        made.identity.people[code] = Identity(principal="alice@example.com", groups=["sre"], mfa=True)
    return made


def state_of(made: World) -> str:
    url = start_login(made.ports, START).authorize_url
    return parse_qs(urlsplit(url).query)["state"][0]


def come_back(made: World, state: str, **changed: str) -> tuple[str, dict[str, str]]:
    asked = Callback(**({"state": state, "code": "good", "error": "", "source_ip": "192.0.2.7"} | changed))
    parts = urlsplit(finish_login(made.ports, asked).location)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", {name: each[0] for name, each in parse_qs(parts.query).items()}


def redeem(made: World, code: str, verifier: str = VERIFIER, key: str = KEY) -> LoggedIn:
    return redeem_login(made.ports, LoginRedeem(code=code, verifier=verifier, ssh_public_key=key))


def test_a_login_ends_in_a_token_and_a_certificate_of_the_same_length() -> None:
    made = world()
    place, query = come_back(made, state_of(made))
    assert place == "http://127.0.0.1:40404/done"
    assert query["state"] == "mine-mine"
    found = redeem(made, query["code"])
    assert (found.principal, found.groups) == ("alice@example.com", ["sre"])
    assert found.expires_ms == made.clock.now + 12 * 3600 * 1000
    claims = authenticate_person(made.ports, f"Bearer {found.access_token}")
    assert (claims.sub, claims.groups, claims.mfa) == ("alice@example.com", ["sre"], True)
    person = read_person(found.ssh_certificate, made.signer.ssh_ca(), claims.exp - 1)
    assert person == Person(principal="alice@example.com", groups=["sre"], mfa=True, token=claims.jti)
    assert isinstance(made.store.recorded[-1], LoginCompleted)


def test_a_login_leaves_the_verified_address_in_the_token_and_with_the_person() -> None:
    made = world()
    known = msgspec.structs.replace(made.identity.people["good"], principal="alice-admin", email="alice@example.com")
    made.identity.people["good"] = known
    _, query = come_back(made, state_of(made))
    claims = authenticate_person(made.ports, f"Bearer {redeem(made, query['code']).access_token}")
    person = made.store.person("alice-admin")
    assert person is not None
    assert (claims.sub, claims.email, person.email, person.groups) == (
        "alice-admin",
        "alice@example.com",
        "alice@example.com",
        ["sre"],
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"challenge": "plain"},
        {"challenge": ""},
        {"port": 80},
        {"port": 65536},
        {"port": -1},
        {"state": ""},
        {"state": "with space!"},
        {"state": "x" * 129},
        {"state": "a\r\nLocation: https://evil.example"},
    ],
)
def test_a_login_of_another_shape_does_not_begin(changed: dict[str, Any]) -> None:
    made = world()
    with fault("bad_request"):
        start_login(made.ports, msgspec.structs.replace(START, **changed))
    assert made.store.logins == {}


@pytest.mark.parametrize("state", ["", "unknown", "https://evil.example"])
def test_a_state_that_is_not_ours_goes_nowhere(state: str) -> None:
    with fault("login_expired"):
        come_back(world(), state)


def test_a_state_is_good_once_and_for_ten_minutes() -> None:
    made = world()
    state = state_of(made)
    come_back(made, state)
    with fault("login_expired"):
        come_back(made, state)
    late = state_of(made)
    made.clock.advance(601)
    with fault("login_expired"):
        come_back(made, late)


@pytest.mark.parametrize("changed", [{"code": "wrong"}, {"code": ""}, {"error": "access_denied"}, {"code": "x" * 5000}])
def test_a_failed_login_is_told_on_the_loopback_and_recorded(changed: dict[str, str]) -> None:
    made = world()
    place, query = come_back(made, state_of(made), **changed)
    assert place == "http://127.0.0.1:40404/done"
    assert query["error"] == "login_failed"
    assert query["state"] == "mine-mine"
    assert "code" not in query
    (event,) = made.store.recorded
    assert isinstance(event, LoginFailed)
    assert (event.code, event.source_ip) == ("login_failed", "192.0.2.7")
    assert made.store.codes == {}


def test_a_code_is_good_once() -> None:
    made = world()
    _, query = come_back(made, state_of(made))
    redeem(made, query["code"])
    with fault("login_expired"):
        redeem(made, query["code"])


def test_a_code_lives_two_minutes() -> None:
    made = world()
    _, query = come_back(made, state_of(made))
    made.clock.advance(120)
    with fault("login_expired"):
        redeem(made, query["code"])


def test_a_code_without_the_verifier_is_spent() -> None:
    made = world()
    _, query = come_back(made, state_of(made))
    with fault("login_failed"):
        redeem(made, query["code"], verifier="w" * 43)
    with fault("login_expired"):
        redeem(made, query["code"])


def test_a_bad_key_does_not_spend_the_code() -> None:
    made = world()
    _, query = come_back(made, state_of(made))
    with fault("bad_request", "ssh_public_key"):
        redeem(made, query["code"], key=f"{KEY}\n{KEY}")
    assert redeem(made, query["code"]).principal == "alice@example.com"


def test_codes_and_tokens_are_not_stored_as_they_are() -> None:
    made = world()
    _, query = come_back(made, state_of(made))
    assert query["code"] not in repr(made.store.codes)
    assert query["code"] not in repr(made.store.recorded)


def test_logging_out_ends_the_token() -> None:
    made = world()
    _, query = come_back(made, state_of(made))
    token = redeem(made, query["code"]).access_token
    claims = authenticate_person(made.ports, f"Bearer {token}")
    log_out(made.ports, claims)
    with fault("token_revoked"):
        authenticate_person(made.ports, f"Bearer {token}")
    event = made.store.recorded[-1]
    assert isinstance(event, LoggedOut)
    assert event.token == claims.jti
    assert ALICE.jti != claims.jti
