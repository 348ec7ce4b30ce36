"""The identity provider sent somebody back: check who it is and send the browser on to the command line, with a one-time code.

The only place a browser is ever sent is 127.0.0.1, on the port that the command line named when it began. The code is worth
nothing without the PKCE verifier that the command line kept.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.audit import LoginCompleted, LoginFailed
from chalicelib.contracts.faults import Fault
from chalicelib.ports import LoginCode, PendingLogin, Ports
from chalicelib.usecases.minting import digest, mint, secret

CODE_MS: Final = 2 * 60 * 1000
_CODE_LIMIT: Final = 4_096


class Callback(msgspec.Struct, kw_only=True, frozen=True):
    """What the identity provider put into the query."""

    state: str
    code: str
    error: str
    source_ip: str


def finish_login(ports: Ports, asked: Callback) -> str:
    """Return the loopback URL to redirect to. Raises Fault(login_expired) where no login of this gateway waits for ``state``."""
    login = ports.store.take_login(asked.state, ports.clock.now_ms()) if asked.state else None
    if login is None:
        raise Fault(
            "login_expired", "This login is not known here, was used already, or took too long.", hint="Run: sallyport login"
        )
    try:
        code = _identify(ports, asked, login)
    except Fault as fault:
        event = LoginFailed(
            id=mint(ports.clock, ids.EVENT),
            time_ms=ports.clock.now_ms(),
            actor="system",
            code=fault.code,
            source_ip=asked.source_ip,
        )
        ports.store.record([event])
        return _loopback(login, error=fault.code, message=fault.message)
    return _loopback(login, code=code)


def _identify(ports: Ports, asked: Callback, login: PendingLogin) -> str:
    if asked.error or not asked.code or len(asked.code) > _CODE_LIMIT:
        raise Fault("login_failed", "The identity provider did not complete the login.", detail=asked.error[:200])
    person = ports.identity.identify(asked.code, login)
    now_ms = ports.clock.now_ms()
    code = secret(ports.clock)
    ports.store.save_code(
        LoginCode(
            code_sha256=digest(code),
            challenge=login.challenge,
            principal=person.principal,
            groups=person.groups,
            mfa=person.mfa,
            expires_ms=now_ms + CODE_MS,
            email=person.email,
        ),
        LoginCompleted(
            id=mint(ports.clock, ids.EVENT),
            time_ms=now_ms,
            actor=person.principal,
            groups=person.groups,
            source_ip=asked.source_ip,
            mfa=person.mfa,
        ),
    )
    return code


def _loopback(login: PendingLogin, **values: str) -> str:
    return f"http://127.0.0.1:{login.port:d}/done?{urlencode(values | {'state': login.client_state})}"
