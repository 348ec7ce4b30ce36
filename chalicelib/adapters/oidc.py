"""The OIDC provider that knows the people: Authorization Code with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636).

Metadata and keys are read over HTTPS only (a loopback issuer excepted, for development), redirects are not followed, answers are
bounded, and the issuer that the provider names must be the configured one, letter by letter. Keys are cached and read again
when a token names an unknown one, at most every half minute, so that strangers cannot make us ask the provider without end.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from chalicelib.contracts.faults import Fault
from chalicelib.domain.identity import Identity, Wanted, challenge, identity_of
from chalicelib.ports import PendingLogin

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
_BODY_LIMIT: Final = 1_000_000
_TOKEN_LIMIT: Final = 65_536
_METADATA_S: Final = 3600.0
_KEYS_S: Final = 3600.0
_KEYS_AGAIN_S: Final = 30.0


class _Metadata(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _TokenAnswer(msgspec.Struct, frozen=True):
    id_token: str


class OidcProvider:
    """Implements ``ports.IdentityProvider``. ``client_secret`` is asked for when it is first needed."""

    def __init__(
        self,
        wanted: Wanted,
        client_secret: Callable[[], str],
        redirect_uri: str,
        *,
        pool: urllib3.PoolManager | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        _must_be_private(wanted.issuer)
        self._wanted, self._redirect_uri = wanted, redirect_uri
        self._client_secret = client_secret
        self._pool = pool or urllib3.PoolManager(timeout=urllib3.Timeout(connect=3.0, read=7.0), maxsize=4)
        self._monotonic = monotonic
        self._metadata: tuple[float, _Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def authorize_url(self, login: PendingLogin) -> str:
        """Return where the browser goes."""
        endpoint = self._discover().authorization_endpoint
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._wanted.client_id,
                "redirect_uri": self._redirect_uri,
                "scope": "openid email profile",
                "state": login.state,
                "nonce": login.nonce,
                "code_challenge": challenge(login.verifier),
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    def identify(self, code: str, login: PendingLogin) -> Identity:
        """Exchange ``code`` and verify the ID token. Raises Fault."""
        token = self._exchange(code, login)
        claims = self._verified(token)
        return identity_of(claims, self._wanted, login.nonce, int(time.time()))

    def _exchange(self, code: str, login: PendingLogin) -> str:
        metadata = self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": login.verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        client_id, secret = self._wanted.client_id, self._client_secret()
        methods = metadata.token_endpoint_auth_methods_supported
        if "client_secret_basic" in methods or "client_secret_post" not in methods:
            # RFC 6749 §2.3.1: both halves are form-encoded before they are joined.
            headers |= urllib3.make_headers(basic_auth=f"{quote(client_id, safe='')}:{quote(secret, safe='')}")
        else:
            form |= {"client_id": client_id, "client_secret": secret}
        status, body = self._ask("POST", metadata.token_endpoint, urlencode(form).encode(), headers)
        if status in (400, 401):
            raise Fault(
                "login_failed", "The identity provider refused the login.", hint="Run: sallyport login", detail=repr(body[:300])
            )
        if status != 200:
            raise _unavailable(f"token endpoint answered {status}")
        try:
            return msgspec.json.decode(body, type=_TokenAnswer).id_token
        except msgspec.DecodeError:
            raise _unavailable("token endpoint did not answer with an ID token") from None

    def _verified(self, token: str) -> dict[str, Any]:
        if len(token) > _TOKEN_LIMIT:
            raise _untrusted("the ID token is too long")
        try:
            kid = jws.extract_compact(token.encode()).headers().get("kid")
            keys = self._key_set()
            if kid is not None and kid not in {key.kid for key in keys.keys}:
                keys = self._key_set(at_least=self._monotonic() - _KEYS_AGAIN_S)
            found = jws.deserialize_compact(token, keys, algorithms=_ALGORITHMS)
            return msgspec.json.decode(found.payload, type=dict[str, Any])
        except (JoseError, ValueError, TypeError) as error:
            raise _untrusted(f"{type(error).__name__}: {error}") from None

    def _discover(self) -> _Metadata:
        now = self._monotonic()
        if self._metadata is None or now - self._metadata[0] > _METADATA_S:
            found = self._read(f"{self._wanted.issuer.rstrip('/')}/.well-known/openid-configuration", _Metadata)
            if found.issuer != self._wanted.issuer:
                raise _unavailable(f"the provider calls itself {found.issuer}")
            for endpoint in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                _must_be_private(endpoint)
            self._metadata = (now, found)
        return self._metadata[1]

    def _key_set(self, at_least: float | None = None) -> KeySet:
        """The provider's keys; read again if they are from before ``at_least`` or an hour old."""
        now = self._monotonic()
        oldest = now - _KEYS_S if at_least is None else at_least
        if self._keys is None or self._keys[0] < oldest:
            raw = self._read(self._discover().jwks_uri, dict[str, Any])
            # Keys of kinds that we do not know are skipped, not a reason to refuse everybody (RFC 7517 §5).
            known = [key for key in raw.get("keys", []) if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP")]
            self._keys = (now, KeySet.import_key_set({"keys": [key for key in known if key.get("use", "sig") == "sig"]}))
        return self._keys[1]

    def _read(self, url: str, kind: Any) -> Any:
        status, body = self._ask("GET", url, None, {"accept": "application/json"})
        if status != 200:
            raise _unavailable(f"{url} answered {status}")
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError:
            raise _unavailable(f"{url} is not what it should be") from None

    def _ask(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            answer = self._pool.request(
                method, url, body=body, headers=headers, redirect=False, retries=False, preload_content=False
            )
            try:
                found = answer.read(_BODY_LIMIT + 1)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise _unavailable(f"{url}: {error}") from None
        if len(found) > _BODY_LIMIT:
            raise _unavailable(f"{url} answers without end")
        return answer.status, found


def _must_be_private(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise RuntimeError(f"the identity provider must be reached over https, not {url}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unavailable(detail: str) -> Fault:
    return Fault(
        "identity_provider", "The identity provider does not answer as it should.", hint="Try again in a minute.", detail=detail
    )


def _untrusted(detail: str) -> Fault:
    return Fault(
        "login_failed", "The identity provider's answer could not be trusted.", hint="Run: sallyport login", detail=detail
    )
