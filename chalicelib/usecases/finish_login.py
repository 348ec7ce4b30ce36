"""The identity provider sent somebody back: check who it is, and send the browser on.

For a command line that is 127.0.0.1, on the port that it named when it began, with a one-time code that is worth nothing without
the PKCE verifier which the command line kept. For a browser it is one of our own pages, with a session, and only in the browser
that began: whoever else opens the link would be logged in as somebody else without noticing.
"""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import urlencode

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.audit import LoginCompleted, LoginFailed
from chalicelib.contracts.capability import WEB_TYP, AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain.identity import Identity
from chalicelib.ports import LoginCode, PendingLogin, Person, Ports
from chalicelib.usecases.minting import digest, mint, secret

CODE_MS: Final = 2 * 60 * 1000
_CODE_LIMIT: Final = 4_096


class Callback(msgspec.Struct, kw_only=True, frozen=True):
    """What the identity provider put into the query, and what the browser kept to itself."""

    state: str
    code: str
    error: str
    source_ip: str
    browser: str = ""


class Landing(msgspec.Struct, kw_only=True, frozen=True):
    """Where the browser goes: a loopback URL, or the path of one of our pages together with the session it gets."""

    location: str
    session: str = ""
    session_s: int = 0


def finish_login(ports: Ports, asked: Callback) -> Landing:
    """Return where to go on. Raises Fault(login_expired) where no login of this gateway waits for ``state``.

    A login that ends in the browser raises what went wrong; one of a command line tells it to the command line.
    """
    login = ports.store.take_login(asked.state, ports.clock.now_ms()) if asked.state else None
    if login is None:
        raise Fault(
            "login_expired", "This login is not known here, was used already, or took too long.", hint="Run: sallyport login"
        )
    try:
        if login.browser:
            return _enter(ports, asked, login)
        return Landing(location=_loopback(login, code=_identify(ports, asked, login)))
    except Fault as fault:
        event = LoginFailed(
            id=mint(ports.clock, ids.EVENT),
            time_ms=ports.clock.now_ms(),
            actor="system",
            code=fault.code,
            source_ip=asked.source_ip,
        )
        ports.store.record([event])
        if login.browser:
            raise
        return Landing(location=_loopback(login, error=fault.code, message=fault.message))


def _enter(ports: Ports, asked: Callback, login: PendingLogin) -> Landing:
    if not hmac.compare_digest(digest(asked.browser), login.browser):
        raise Fault("login_failed", "This login was begun in another browser.")
    person, event = _person(ports, asked, login)
    known = Person(principal=person.principal, email=person.email, groups=person.groups, seen_ms=event.time_ms)
    ports.store.save_person(known, event)
    issued = event.time_ms // 1000
    # A session that could not answer any more would only surprise: it ends when the login is too old for a vote.
    lasts = min(ports.settings.vote_login_s, ports.settings.login_hours * 3600)
    claims = AccessClaims(
        iss=ports.settings.issuer,
        sub=person.principal,
        jti=mint(ports.clock, ids.LOGIN),
        iat=issued,
        exp=issued + lasts,
        groups=person.groups,
        mfa=person.mfa,
        email=person.email,
    )
    token = ports.signer.sign_token(WEB_TYP, msgspec.to_builtins(claims))
    return Landing(location=login.onward, session=token, session_s=lasts)


def _identify(ports: Ports, asked: Callback, login: PendingLogin) -> str:
    person, event = _person(ports, asked, login)
    code = secret(ports.clock)
    ports.store.save_code(
        LoginCode(
            code_sha256=digest(code),
            challenge=login.challenge,
            principal=person.principal,
            groups=person.groups,
            mfa=person.mfa,
            expires_ms=event.time_ms + CODE_MS,
            email=person.email,
        ),
        event,
    )
    return code


def _person(ports: Ports, asked: Callback, login: PendingLogin) -> tuple[Identity, LoginCompleted]:
    if asked.error or not asked.code or len(asked.code) > _CODE_LIMIT:
        raise Fault("login_failed", "The identity provider did not complete the login.", detail=asked.error[:200])
    person = ports.identity.identify(asked.code, login)
    event = LoginCompleted(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=person.principal,
        groups=person.groups,
        source_ip=asked.source_ip,
        mfa=person.mfa,
    )
    return person, event


def _loopback(login: PendingLogin, **values: str) -> str:
    return f"http://127.0.0.1:{login.port:d}/done?{urlencode(values | {'state': login.client_state})}"
