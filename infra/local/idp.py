"""The development identity provider: real OpenID Connect, no passwords.

Authorization Code with PKCE (S256 only), RS256, one client, codes used once. Sources: OpenID Connect Core 1.0,
RFC 6749, RFC 7636 (PKCE), RFC 9207 (issuer in the response).
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from infra.local import idp_pages
from infra.local.http_server import Headers, HttpServer, Request, Response
from infra.local.people import PEOPLE, Person

CODE_LIFETIME_S = 60
ID_TOKEN_LIFETIME_S = 3600
CLIENT_ID = "sallyport"


@dataclass(frozen=True, slots=True)
class _Grant:
    """What an authorization code stands for until it is exchanged."""

    username: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    auth_time: int
    expires_at: float


class OAuthError(Exception):
    """An error of RFC 6749 §5.2 or §4.1.2.1: a code from the specification and a sentence for the developer."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code, self.description, self.status = code, description, status


class IdentityProvider:
    """Known address from construction on, answers from `start` to `stop`. People may be changed while it runs."""

    def __init__(self, port: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._server = HttpServer("idp", port)
        self._clock = clock
        self.issuer = self._server.url
        self.client_id = CLIENT_ID
        self.client_secret = secrets.token_urlsafe(32)
        self.redirect_uris: set[str] = set()
        self.people = {person.username: person for person in PEOPLE}
        self._key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        self._codes: dict[str, _Grant] = {}
        self._used: dict[str, str] = {}
        self._access: dict[str, str] = {}

    def start(self, redirect_uri: str) -> None:
        """`redirect_uri` is the only place codes are sent to, compared exactly."""
        self.redirect_uris.add(redirect_uri)
        self._server.start(self.respond)

    def stop(self) -> None:
        self._server.stop()

    # -- people ---------------------------------------------------------------------------------------------------

    def set_groups(self, username: str, *groups: str) -> None:
        """From the next sign-in on; tokens already issued keep what they say."""
        self.people[username] = replace(self.people[username], groups=groups)

    def add(self, person: Person) -> None:
        self.people[person.username] = person

    def remove(self, username: str) -> None:
        del self.people[username]

    def id_token(self, username: str, audience: str | None = None, **claims: Any) -> str:
        """A signed ID token without the dance, as a workload's trusted issuer would hand out one."""
        now = int(self._clock())
        person = self.people[username]
        payload = {
            "iss": self.issuer,
            "aud": audience or self.client_id,
            "iat": now,
            "exp": now + ID_TOKEN_LIFETIME_S,
            "auth_time": now,
            "amr": list(person.amr),
            **person.claims(),
            **claims,
        }
        return jwt.encode({"alg": "RS256", "kid": self._key.kid, "typ": "JWT"}, payload, self._key)

    # -- HTTP -----------------------------------------------------------------------------------------------------

    def respond(self, request: Request) -> Response:
        routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/"): self._welcome,
            ("GET", "/.well-known/openid-configuration"): self._configuration,
            ("GET", "/jwks"): self._jwks,
            ("GET", "/authorize"): self._authorize,
            ("POST", "/authorize"): self._authorize,
            ("POST", "/token"): self._token,
            ("GET", "/userinfo"): self._userinfo,
        }
        route = routes.get((request.method, request.path))
        if route is None:
            return _page(404, idp_pages.problem("There is no such page here."))
        return route(request)

    def _welcome(self, request: Request) -> Response:
        return _page(200, idp_pages.welcome(list(self.people.values())))

    def _configuration(self, request: Request) -> Response:
        return _json(
            200,
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/jwks",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "scopes_supported": ["openid", "profile", "email", "groups"],
                "claims_supported": [*PEOPLE[0].claims(), "iss", "aud", "iat", "exp", "auth_time", "amr", "nonce"],
                "authorization_response_iss_parameter_supported": True,
            },
        )

    def _jwks(self, request: Request) -> Response:
        return _json(200, {"keys": [self._key.as_dict(private=False)]})

    def _authorize(self, request: Request) -> Response:
        asked = request.parameters()
        redirect_uri = asked.get("redirect_uri", "")
        # Until both are known to be ours, nothing may be sent to that address (RFC 6749 §4.1.2.1).
        if asked.get("client_id") != self.client_id:
            return _page(400, idp_pages.problem("This client_id is not registered here."))
        if redirect_uri not in self.redirect_uris:
            return _page(400, idp_pages.problem("This redirect_uri is not registered here; it is compared exactly."))
        try:
            _check_authorization(asked)
            username = self._who(request.method, asked)
            if username is None:
                return _page(200, idp_pages.sign_in(list(self.people.values()), asked, urlsplit(redirect_uri).netloc))
            answer = {"code": self._issue_code(username, asked)}
        except OAuthError as error:
            answer = {"error": error.code, "error_description": error.description}
        answer |= {"iss": self.issuer} | ({"state": asked["state"]} if "state" in asked else {})
        separator = "&" if urlsplit(redirect_uri).query else "?"
        return Response(303, [("location", f"{redirect_uri}{separator}{urlencode(answer)}"), ("cache-control", "no-store")])

    def _who(self, method: str, asked: dict[str, str]) -> str | None:
        """The person to sign in, or None to show the page. A button press, or `prompt=none` with a login_hint."""
        hint = asked.get("login_hint", "")
        username = hint.removesuffix("@example.com")
        if method == "POST" or asked.get("prompt") == "none":
            if username not in self.people:
                raise OAuthError("login_required", "login_hint names nobody who can sign in here")
            return username
        return None

    def _issue_code(self, username: str, asked: dict[str, str]) -> str:
        now = self._clock()
        self._codes = {code: grant for code, grant in self._codes.items() if grant.expires_at > now}
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Grant(
            username=username,
            redirect_uri=asked["redirect_uri"],
            challenge=asked["code_challenge"],
            nonce=asked.get("nonce"),
            auth_time=int(now),
            expires_at=now + CODE_LIFETIME_S,
        )
        return code

    def _token(self, request: Request) -> Response:
        try:
            asked = request.parameters()
            self._check_client(request, asked)
            if asked.get("grant_type") != "authorization_code":
                raise OAuthError("unsupported_grant_type", "only authorization_code is supported")
            return self._exchange(asked)
        except OAuthError as error:
            return _json(error.status, {"error": error.code, "error_description": error.description})

    def _check_client(self, request: Request, asked: dict[str, str]) -> None:
        authorization = request.header("authorization") or ""
        if authorization.startswith("Basic "):
            try:
                pair = base64.b64decode(authorization[6:], validate=True).decode()
            except ValueError:
                pair = ""
            client_id, _, secret = (unquote_plus(part) for part in pair.partition(":"))
        else:
            client_id, secret = asked.get("client_id", ""), asked.get("client_secret", "")
        known = hmac.compare_digest(client_id.encode(), self.client_id.encode())
        if not (hmac.compare_digest(secret.encode(), self.client_secret.encode()) and known):
            raise OAuthError("invalid_client", "the client is not who it says", 401)

    def _exchange(self, asked: dict[str, str]) -> Response:
        code = asked.get("code", "")
        grant = self._codes.pop(code, None)
        if grant is None or grant.expires_at <= self._clock():
            # A code seen twice may have been stolen: what it bought is taken back (RFC 6749 §4.1.2).
            self._access.pop(self._used.get(code, ""), None)
            raise OAuthError("invalid_grant", "the code is unknown, used or expired")
        if asked.get("redirect_uri") != grant.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri differs from the authorization request")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(asked.get("code_verifier", "").encode()).digest())
        if not hmac.compare_digest(challenge.rstrip(b"=").decode(), grant.challenge):
            raise OAuthError("invalid_grant", "code_verifier does not match code_challenge")
        if grant.username not in self.people:
            raise OAuthError("invalid_grant", "this person is gone")
        access = secrets.token_urlsafe(32)
        self._access[access], self._used[code] = grant.username, access
        nonce = {"nonce": grant.nonce} if grant.nonce is not None else {}
        return _json(
            200,
            {
                "access_token": access,
                "token_type": "Bearer",
                "expires_in": ID_TOKEN_LIFETIME_S,
                "id_token": self.id_token(grant.username, auth_time=grant.auth_time, **nonce),
            },
        )

    def _userinfo(self, request: Request) -> Response:
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        username = self._access.get(token) if scheme == "Bearer" else None
        person = self.people.get(username or "")
        if person is None:
            return Response(401, [("www-authenticate", 'Bearer error="invalid_token"')])
        return _json(200, person.claims())


def _check_authorization(asked: dict[str, str]) -> None:
    if asked.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "only response_type=code is supported")
    if "openid" not in asked.get("scope", "").split():
        raise OAuthError("invalid_scope", "scope must contain openid")
    challenge = asked.get("code_challenge", "")
    if asked.get("code_challenge_method") != "S256" or len(challenge) != 43:
        raise OAuthError("invalid_request", "PKCE is required: code_challenge with code_challenge_method=S256")


def _page(status: int, html: str) -> Response:
    headers: Headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ]
    return Response(status, headers, html.encode())


def _json(status: int, body: dict[str, Any]) -> Response:
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    return Response(status, headers, json.dumps(body).encode())
