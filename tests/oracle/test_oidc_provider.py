"""The login's view of an identity provider, held against a real one: npm ``oidc-provider``."""

from __future__ import annotations

import http.cookiejar
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from chalicelib.adapters.oidc import OidcProvider
from chalicelib.contracts.faults import Fault
from chalicelib.domain.identity import Wanted
from chalicelib.ports import PendingLogin
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

REDIRECT = "http://127.0.0.1:9/login/callback"
SECRET = "a secret with spaces & signs: %+"
LOGIN = PendingLogin(
    state="state-1",
    verifier="v" * 43,
    nonce="nonce-1",
    challenge="c" * 43,
    port=40000,
    client_state="s",
    expires_ms=2**47,
)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("idp")
    for name in ("package.json", "server.mjs"):
        shutil.copyfile(Path(__file__).parent / "idp" / name, folder / name)
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True)
    server = subprocess.Popen(["node", "server.mjs", REDIRECT, SECRET], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.terminate()
    server.wait(timeout=HANG_S)


class _Stop(urllib.request.HTTPRedirectHandler):
    """Follows redirects inside the provider and stops at ours."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if newurl.startswith(REDIRECT):
            raise urllib.error.HTTPError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def sign_in(url: str, person: str) -> dict[str, list[str]]:
    """Play the browser: return the query of the redirect that comes back to us."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), _Stop())
    with pytest.raises(urllib.error.HTTPError) as stopped:
        browser.open(f"{url}&login_hint={person}", timeout=HANG_S)
    return parse_qs(urlsplit(stopped.value.url).query)


def provider(issuer: str, secret: str = SECRET) -> OidcProvider:
    wanted = Wanted(issuer=issuer, client_id="sallyport", principal_claim="email", groups_claim="groups")
    return OidcProvider(wanted, lambda: secret, REDIRECT)


def test_a_person_comes_back_with_her_groups(issuer: str) -> None:
    idp = provider(issuer)
    back = sign_in(idp.authorize_url(LOGIN), "alice")
    assert back["state"] == [LOGIN.state]
    identity = idp.identify(back["code"][0], LOGIN)
    assert (identity.principal, sorted(identity.groups)) == ("alice@example.com", ["engineering", "sre"])


def test_an_address_that_nobody_verified_is_no_identity(issuer: str) -> None:
    idp = provider(issuer)
    code = sign_in(idp.authorize_url(LOGIN), "eve")["code"][0]
    with pytest.raises(Fault) as caught:
        idp.identify(code, LOGIN)
    assert caught.value.code == "identity_unverified"


@pytest.mark.parametrize(
    ("name", "change", "secret"),
    [
        ("another verifier", {"verifier": "w" * 43}, SECRET),
        ("another nonce", {"nonce": "nonce-2"}, SECRET),
        ("a wrong client secret", {}, "guess"),
    ],
)
def test_what_does_not_belong_together_is_refused(issuer: str, name: str, change: dict[str, str], secret: str) -> None:
    code = sign_in(provider(issuer).authorize_url(LOGIN), "alice")["code"][0]
    with pytest.raises(Fault) as caught:
        provider(issuer, secret).identify(code, msgspec.structs.replace(LOGIN, **change))
    assert caught.value.code == "login_failed"


def test_a_code_works_once(issuer: str) -> None:
    idp = provider(issuer)
    code = sign_in(idp.authorize_url(LOGIN), "alice")["code"][0]
    idp.identify(code, LOGIN)
    with pytest.raises(Fault):
        idp.identify(code, LOGIN)
