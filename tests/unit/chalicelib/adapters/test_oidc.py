"""The identity provider's adapter, against a provider that answers as a test says."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from chalicelib.adapters.oidc import OidcProvider
from chalicelib.contracts.faults import Fault
from chalicelib.domain.identity import Wanted, challenge
from chalicelib.ports import PendingLogin

ISSUER = "https://idp.example"
LOGIN = PendingLogin(
    state="s" * 43, verifier="v" * 43, nonce="n-once", challenge="c" * 43, port=4040, client_state="mine", expires_ms=0
)


class Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status, self._body = status, body

    def read(self, count: int) -> bytes:
        return self._body[:count]

    def release_conn(self) -> None:
        pass


class Provider:
    """An urllib3 pool with an OpenID provider behind it."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        self.issuer = ISSUER
        self.metadata: dict[str, Any] = {}
        self.token: Any = None
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        self.broken: dict[str, tuple[int, bytes] | Exception] = {}

    def request(self, method: str, url: str, *, body: Any, headers: dict[str, str], **options: Any) -> Answer:
        assert options == {"redirect": False, "retries": False, "preload_content": False}
        self.asked.append((method, url, body, headers))
        path = urlsplit(url).path
        if path in self.broken:
            broken = self.broken[path]
            if isinstance(broken, Exception):
                raise broken
            return Answer(*broken)
        return Answer(200, json.dumps(self.answer(path)).encode())

    def answer(self, path: str) -> Any:
        if path == "/jwks":
            return {"keys": [{"kty": "oct", "k": "AAAA"}, {"kty": "new"}, self.key.as_dict(private=False)]}
        if path == "/token":
            return {"id_token": self.token or self.id_token(), "access_token": "unused"}
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks",
        } | self.metadata

    def id_token(self, key: Any = None, alg: str = "RS256", **claims: Any) -> str:
        key = key or self.key
        now = int(time.time())
        payload = {
            "iss": ISSUER,
            "aud": "sallyport",
            "nonce": "n-once",
            "iat": now,
            "exp": now + 60,
            "email": "alice@example.com",
            "email_verified": True,
            "groups": ["sre"],
        }
        return jwt.encode({"alg": alg, "kid": key.kid}, payload | claims, key, algorithms=[alg])

    def count(self, path: str) -> int:
        return sum(urlsplit(url).path == path for _, url, _, _ in self.asked)


class Setting:
    def __init__(self) -> None:
        self.provider, self.now = Provider(), 0.0
        self.adapter = OidcProvider(
            Wanted(issuer=ISSUER, client_id="sallyport"),
            lambda: "se:cret/+",
            "https://gw.example/login/callback",
            pool=self.provider,  # type: ignore[arg-type]
            monotonic=lambda: self.now,
        )

    def refused(self, code: str) -> Fault:
        with pytest.raises(Fault) as caught:
            self.adapter.identify("the-code", LOGIN)
        assert caught.value.code == code
        return caught.value


def test_the_browser_is_sent_with_pkce_state_and_nonce() -> None:
    setting = Setting()
    url = setting.adapter.authorize_url(LOGIN)
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{ISSUER}/authorize?")
    assert query == {
        "response_type": "code",
        "client_id": "sallyport",
        "redirect_uri": "https://gw.example/login/callback",
        "scope": "openid email profile",
        "state": LOGIN.state,
        "nonce": "n-once",
        "code_challenge": challenge(LOGIN.verifier),
        "code_challenge_method": "S256",
    }
    assert LOGIN.verifier not in url


def test_a_code_becomes_an_identity() -> None:
    setting = Setting()
    found = setting.adapter.identify("the-code", LOGIN)
    assert (found.principal, found.groups, found.mfa) == ("alice@example.com", ["sre"], False)
    method, _, body, headers = next(asked for asked in setting.provider.asked if asked[1].endswith("/token"))
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    assert (method, form["code"], form["code_verifier"], form["grant_type"]) == (
        "POST",
        "the-code",
        "v" * 43,
        "authorization_code",
    )
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"sallyport:se%3Acret%2F%2B"
    assert "client_secret" not in form


def test_a_provider_that_takes_only_forms_gets_a_form() -> None:
    setting = Setting()
    setting.provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    setting.adapter.identify("the-code", LOGIN)
    _, _, body, headers = next(asked for asked in setting.provider.asked if asked[1].endswith("/token"))
    assert parse_qs(body.decode())["client_secret"] == ["se:cret/+"]
    assert "authorization" not in headers


def test_metadata_and_keys_are_read_once_an_hour() -> None:
    setting = Setting()
    for _ in range(3):
        setting.adapter.identify("the-code", LOGIN)
    assert (setting.provider.count("/.well-known/openid-configuration"), setting.provider.count("/jwks")) == (1, 1)
    setting.now = 3601
    setting.adapter.identify("the-code", LOGIN)
    assert (setting.provider.count("/.well-known/openid-configuration"), setting.provider.count("/jwks")) == (2, 2)


def test_a_new_key_is_found_but_strangers_cannot_ask_without_end() -> None:
    setting = Setting()
    setting.adapter.identify("the-code", LOGIN)
    stranger = RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)
    setting.provider.token = setting.provider.id_token(stranger)
    for _ in range(5):
        setting.refused("login_failed")
    assert setting.provider.count("/jwks") == 1
    setting.now = 31
    setting.provider.key = stranger
    assert setting.adapter.identify("the-code", LOGIN).principal == "alice@example.com"
    assert setting.provider.count("/jwks") == 2


def test_tokens_that_the_provider_did_not_sign_are_refused() -> None:
    setting = Setting()
    good = setting.provider.id_token()
    header, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    public = setting.provider.key.as_pem(private=False)
    from joserfc.jwk import OctKey

    hmac_header = {"alg": "HS256", "kid": setting.provider.key.kid}
    confused = jwt.encode(hmac_header, {"iss": ISSUER}, OctKey.import_key(public[:64].hex()), algorithms=["HS256"])
    foreign = setting.provider.id_token(ECKey.generate_key("P-256", auto_kid=True), "ES256")
    changed = base64.urlsafe_b64encode(json.dumps({"iss": ISSUER, "email": "root@example.com"}).encode()).rstrip(b"=").decode()
    for token in (
        f"{none}.{body}.",
        f"{header}.{changed}.{signature}",
        f"{header}.{body}.",
        confused,
        foreign,
        "nonsense",
        "a.b.c",
        "x" * 70_000,
    ):
        setting.provider.token = token
        setting.refused("login_failed")


@pytest.mark.parametrize(
    "claims",
    [{"nonce": "another"}, {"aud": "another"}, {"iss": "https://evil.example"}, {"exp": 1}],
)
def test_tokens_about_something_else_are_refused(claims: dict[str, Any]) -> None:
    setting = Setting()
    setting.provider.token = setting.provider.id_token(**claims)
    setting.refused("login_failed")


@pytest.mark.parametrize("name", ["https://idp.example/", "https://evil.example", ""])
def test_a_provider_that_calls_itself_otherwise_is_refused(name: str) -> None:
    setting = Setting()
    setting.provider.issuer = name
    setting.refused("identity_provider")


def test_endpoints_must_be_private() -> None:
    setting = Setting()
    setting.provider.metadata = {"token_endpoint": "http://idp.example/token"}
    with pytest.raises(RuntimeError, match="https"):
        setting.adapter.identify("the-code", LOGIN)


@pytest.mark.parametrize(
    ("issuer", "good"),
    [
        ("https://idp.example", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://idp.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://10.0.0.1", False),
        ("ftp://idp.example", False),
        ("https://", False),
    ],
)
def test_only_loopback_may_do_without_tls(issuer: str, good: bool) -> None:
    def make() -> OidcProvider:
        return OidcProvider(Wanted(issuer=issuer, client_id="x"), lambda: "", "https://gw.example/cb")

    if good:
        make()
    else:
        with pytest.raises(RuntimeError):
            make()


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/token"])
@pytest.mark.parametrize(
    "broken",
    [(500, b"{}"), (302, b""), (200, b"not json"), (200, b"x" * 1_000_001), urllib3.exceptions.ConnectTimeoutError()],
)
def test_a_provider_that_does_not_answer_is_told_as_such(path: str, broken: Any) -> None:
    setting = Setting()
    setting.provider.broken[path] = broken
    assert ISSUER not in setting.refused("identity_provider").message


@pytest.mark.parametrize("status", [400, 401])
def test_a_code_that_the_provider_refuses_is_a_failed_login(status: int) -> None:
    setting = Setting()
    setting.provider.broken["/token"] = (status, b'{"error":"invalid_grant"}')
    setting.refused("login_failed")
