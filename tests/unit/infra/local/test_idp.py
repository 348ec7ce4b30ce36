"""The identity provider's rules, without sockets."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet

from infra.local.http_server import Request, Response
from infra.local.idp import CODE_LIFETIME_S, IdentityProvider
from infra.local.people import Person

BACK = "http://127.0.0.1:1/login/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def idp(clock: Clock) -> Iterator[IdentityProvider]:
    provider = IdentityProvider(clock=clock)
    provider.redirect_uris.add(BACK)
    yield provider
    provider.stop()


def asked(idp: IdentityProvider, **changes: str | None) -> dict[str, str]:
    parameters: dict[str, str | None] = {
        "response_type": "code",
        "client_id": idp.client_id,
        "redirect_uri": BACK,
        "scope": "openid email groups",
        "state": "s t&te",
        "nonce": "n1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "prompt": "none",
        "login_hint": "alice",
    }
    parameters |= changes
    return {name: value for name, value in parameters.items() if value is not None}


def get(idp: IdentityProvider, path: str, **parameters: str) -> Response:
    return idp.respond(Request("GET", f"{path}?{urlencode(parameters)}", []))


def post(idp: IdentityProvider, path: str, headers: list[tuple[str, str]] | None = None, **form: str) -> Response:
    fields = [("content-type", "application/x-www-form-urlencoded"), *(headers or [])]
    return idp.respond(Request("POST", path, fields, urlencode(form).encode()))


def sent_back(answer: Response) -> dict[str, str]:
    assert answer.status == 303
    location = dict(answer.headers)["location"]
    assert location.startswith(BACK + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def code(idp: IdentityProvider, **changes: str | None) -> str:
    return sent_back(get(idp, "/authorize", **asked(idp, **changes)))["code"]


def exchange(idp: IdentityProvider, code: str, /, **changes: str) -> tuple[int, dict[str, Any]]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
        "client_id": idp.client_id,
        "client_secret": idp.client_secret,
    } | changes
    answer = post(idp, "/token", **form)
    return answer.status, json.loads(answer.body)


def claims(idp: IdentityProvider, token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set(json.loads(get(idp, "/jwks").body))
    return dict(jwt.decode(token, keys, algorithms=["RS256"]).claims)


def test_the_whole_dance(idp: IdentityProvider, clock: Clock) -> None:
    back = sent_back(get(idp, "/authorize", **asked(idp)))
    assert back["state"] == "s t&te"
    assert back["iss"] == idp.issuer
    status, answer = exchange(idp, back["code"])
    assert status == 200
    told = claims(idp, answer["id_token"])
    assert told["iss"] == idp.issuer
    assert told["aud"] == idp.client_id
    assert told["nonce"] == "n1"
    assert told["email"] == "alice@example.com"
    assert told["email_verified"] is True
    assert told["name"] == "Alice"
    assert told["groups"] == ["engineering", "sre"]
    assert told["auth_time"] == int(clock.now)
    assert told["amr"] == ["pwd", "mfa"]
    assert told["exp"] > told["iat"]


def test_groups_and_people_change_while_it_runs(idp: IdentityProvider) -> None:
    idp.set_groups("alice", "auditors")
    idp.add(Person("dora", ("dba",), amr=("pwd",), email_verified=False))
    idp.remove("bob")
    _, alice = exchange(idp, code(idp))
    assert claims(idp, alice["id_token"])["groups"] == ["auditors"]
    _, dora = exchange(idp, code(idp, login_hint="dora@example.com"))
    told = claims(idp, dora["id_token"])
    assert (told["groups"], told["amr"], told["email_verified"]) == (["dba"], ["pwd"], False)
    assert sent_back(get(idp, "/authorize", **asked(idp, login_hint="bob")))["error"] == "login_required"


def test_somebody_removed_after_the_code_gets_no_token(idp: IdentityProvider) -> None:
    pending = code(idp, login_hint="mallory")
    idp.remove("mallory")
    assert exchange(idp, pending)[1]["error"] == "invalid_grant"


def test_a_code_is_used_once_and_replay_takes_the_token_back(idp: IdentityProvider) -> None:
    first = code(idp)
    access = exchange(idp, first)[1]["access_token"]
    bearer = [("authorization", f"Bearer {access}")]
    userinfo = idp.respond(Request("GET", "/userinfo", bearer))
    assert json.loads(userinfo.body)["email"] == "alice@example.com"
    status, answer = exchange(idp, first)
    assert (status, answer["error"]) == (400, "invalid_grant")
    assert idp.respond(Request("GET", "/userinfo", bearer)).status == 401


def test_a_code_expires(idp: IdentityProvider, clock: Clock) -> None:
    pending = code(idp)
    clock.now += CODE_LIFETIME_S
    assert exchange(idp, pending)[1]["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": ""},
        {"redirect_uri": BACK + "/"},
        {"code": "guessed"},
    ],
)
def test_a_wrong_exchange_is_refused_and_burns_the_code(idp: IdentityProvider, wrong: dict[str, str]) -> None:
    pending = code(idp)
    assert exchange(idp, pending, **wrong)[1]["error"] == "invalid_grant"
    if "code" not in wrong:
        assert exchange(idp, pending)[1]["error"] == "invalid_grant"


def test_the_client_must_prove_itself(idp: IdentityProvider) -> None:
    pending = code(idp)
    for wrong in ({"client_secret": "guess"}, {"client_id": "other"}, {"client_secret": ""}):
        status, answer = exchange(idp, pending, **wrong)
        assert (status, answer["error"]) == (401, "invalid_client")
    pair = base64.b64encode(f"{idp.client_id}:{idp.client_secret}".encode()).decode()
    form = {"grant_type": "authorization_code", "code": pending, "redirect_uri": BACK, "code_verifier": VERIFIER}
    assert post(idp, "/token", [("authorization", f"Basic {pair}")], **form).status == 200
    assert post(idp, "/token", [("authorization", "Basic ***")], **form).status == 401


def test_only_the_code_grant_exists(idp: IdentityProvider) -> None:
    assert exchange(idp, code(idp), grant_type="password")[1]["error"] == "unsupported_grant_type"


@pytest.mark.parametrize(
    "wrong", [{"redirect_uri": BACK + "x"}, {"redirect_uri": "http://evil.example/"}, {"client_id": "other"}]
)
def test_an_unknown_address_or_client_is_never_redirected_to(idp: IdentityProvider, wrong: dict[str, str]) -> None:
    answer = get(idp, "/authorize", **asked(idp, **wrong))
    assert answer.status == 400
    assert "location" not in dict(answer.headers)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "email"}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"login_hint": None}, "login_required"),
        ({"login_hint": "nobody"}, "login_required"),
    ],
)
def test_other_mistakes_are_told_to_the_client(idp: IdentityProvider, wrong: dict[str, str | None], error: str) -> None:
    back = sent_back(get(idp, "/authorize", **asked(idp, **wrong)))
    assert back["error"] == error
    assert back["state"] == "s t&te"
    assert "code" not in back


def test_the_page_offers_everybody_and_escapes_what_it_repeats(idp: IdentityProvider) -> None:
    answer = get(idp, "/authorize", **asked(idp, prompt=None, state='"><script>'))
    page = answer.body.decode()
    assert answer.status == 200
    assert "<title>Sallyport development sign-in</title>" in page
    assert "development only" in page
    assert "<script" not in page
    for username in idp.people:
        assert f'name="login_hint" value="{username}"' in page


def test_pressing_a_button_signs_in(idp: IdentityProvider) -> None:
    back = sent_back(post(idp, "/authorize", **asked(idp, prompt=None, login_hint="carol")))
    assert claims(idp, exchange(idp, back["code"])[1]["id_token"])["groups"] == ["auditors"]


def test_without_a_nonce_there_is_none_in_the_token(idp: IdentityProvider) -> None:
    assert "nonce" not in claims(idp, exchange(idp, code(idp, nonce=None))[1]["id_token"])


def test_a_token_of_another_key_does_not_verify(idp: IdentityProvider) -> None:
    other = IdentityProvider()
    try:
        with pytest.raises(InvalidKeyIdError):
            claims(idp, other.id_token("alice"))
    finally:
        other.stop()


def test_a_workload_token_for_another_audience(idp: IdentityProvider) -> None:
    told = claims(idp, idp.id_token("alice", audience="ci", sub="repo:main", amr=None))
    assert (told["aud"], told["sub"], told["amr"]) == ("ci", "repo:main", None)


def test_the_configuration_names_what_exists(idp: IdentityProvider) -> None:
    told = json.loads(get(idp, "/.well-known/openid-configuration").body)
    assert told["issuer"] == idp.issuer
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert get(idp, "/").status == 200
    assert get(idp, "/nothing").status == 404
    public = json.loads(get(idp, "/jwks").body)["keys"][0]
    assert public["kid"]
    assert "d" not in public
