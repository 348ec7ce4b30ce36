"""Signing in over real HTTP, as a client that reads the provider's configuration does it."""

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import urllib3
from joserfc import jwt
from joserfc.jwk import KeySet

from infra.local.cloud import EmbeddedCloud

pytestmark = pytest.mark.servers


class Client:
    """A relying party: everything it knows comes from the environment and the provider's configuration."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self.http = urllib3.PoolManager(retries=False)
        environment = cloud.environment
        self.id = environment["SALLYPORT_OIDC_CLIENT_ID"]
        name = environment["SALLYPORT_OIDC_CLIENT_SECRET_NAME"]
        self.secret = cloud.boto("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        self.back = environment["SALLYPORT_PUBLIC_URL"] + "/login/callback"
        self.about = self.get(environment["SALLYPORT_OIDC_ISSUER"] + "/.well-known/openid-configuration")
        self.verifier, self.nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(8)

    def get(self, url: str) -> Any:
        return json.loads(self.http.request("GET", url).data)

    def authorize(self, hint: str, **changes: str) -> dict[str, str]:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        parameters = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.back,
            "scope": "openid",
            "state": "kept",
            "nonce": self.nonce,
            "prompt": "none",
            "login_hint": hint,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | changes
        url = f"{self.about['authorization_endpoint']}?{urlencode(parameters)}"
        answer = self.http.request("GET", url, redirect=False)
        location = answer.headers.get("location", "")
        if not location.startswith(self.back):
            return {"status": str(answer.status)}
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    def exchange(self, code: str, verifier: str | None = None) -> tuple[int, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.back,
            "code_verifier": self.verifier if verifier is None else verifier,
        }
        basic = urllib3.make_headers(basic_auth=f"{self.id}:{self.secret}")
        answer = self.http.request("POST", self.about["token_endpoint"], fields=form, headers=basic, encode_multipart=False)
        return answer.status, json.loads(answer.data)


@pytest.fixture
def client(cloud: EmbeddedCloud) -> Client:
    return Client(cloud)


def test_signing_in(cloud: EmbeddedCloud, client: Client) -> None:
    back = client.authorize("pat")
    assert back["state"] == "kept"
    status, tokens = client.exchange(back["code"])
    assert status == 200
    keys = KeySet.import_key_set(client.get(client.about["jwks_uri"]))
    claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    expected = {"iss": cloud.issuer, "aud": client.id, "nonce": client.nonce, "groups": ["platform", "sre"]}
    assert {name: claims[name] for name in expected} == expected


def test_the_wrong_verifier(client: Client) -> None:
    status, answer = client.exchange(client.authorize("alice")["code"], verifier="another" * 8)
    assert (status, answer["error"]) == (400, "invalid_grant")


def test_the_same_code_twice(client: Client) -> None:
    code = client.authorize("alice")["code"]
    assert client.exchange(code)[0] == 200
    assert client.exchange(code)[1]["error"] == "invalid_grant"


def test_another_redirect(client: Client) -> None:
    assert client.authorize("alice", redirect_uri=client.back + "/elsewhere") == {"status": "400"}
