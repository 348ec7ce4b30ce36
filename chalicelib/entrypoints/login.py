"""Logging in and out, and what anybody may know about this gateway."""

from __future__ import annotations

import html
from typing import Any

from chalice.app import Blueprint, Response

from chalicelib.bootstrap import ports
from chalicelib.contracts.api import Done, LoggedIn, LoginRedeem, LoginStart, LoginStarted, Trust, WhoAmI
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.entrypoints.http import Call, people, public
from chalicelib.entrypoints.web import LOGIN, SESSION, cookie_of, redirect, set_cookie
from chalicelib.usecases.finish_login import Callback, finish_login
from chalicelib.usecases.log_out import log_out
from chalicelib.usecases.redeem_login import redeem_login
from chalicelib.usecases.start_login import start_login
from chalicelib.usecases.trust import trust

bp = Blueprint(__name__)

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sallyport</title>
<h1>Login not completed</h1><p>{message}</p><p>{hint}</p></html>
"""
_PAGE_HEADERS: dict[str, str | list[str]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@public(bp, "GET", "/health")
def health(call: Call) -> Any:
    """Says that the function runs; touches nothing else."""
    return {"status": "ok"}


@public(bp, "GET", "/trust")
def read_trust(call: Call) -> Trust:
    """Public keys and addresses."""
    return trust(ports())


@public(bp, "POST", "/login")
def begin(call: Call) -> LoginStarted:
    """Begin a login."""
    return start_login(ports(), call.read(LoginStart))


@public(bp, "GET", "/login/callback")
def callback(call: Call) -> Response:
    """The browser comes back from the identity provider and goes on: to a page of ours, or to a command line on its loopback."""
    query = call.query
    asked = Callback(
        state=query.get("state", "")[:256],
        code=query.get("code", ""),
        error=query.get("error", ""),
        source_ip=call.source_ip,
        browser=cookie_of(call, LOGIN),
    )
    try:
        landing = finish_login(ports(), asked)
    except Fault as fault:
        # Where nobody waits for this state there is nowhere to go; the page says only what we wrote ourselves.
        page = _PAGE.format(message=html.escape(fault.message), hint=html.escape(fault.hint))
        return Response(page, status_code=fault.kind.status, headers=_PAGE_HEADERS)
    if landing.session:
        cookies = set_cookie(SESSION, landing.session, landing.session_s), set_cookie(LOGIN, "", 0)
        return redirect(landing.location, *cookies)
    return Response(
        "", status_code=302, headers={"Location": landing.location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )


@public(bp, "POST", "/login/redeem")
def redeem(call: Call) -> LoggedIn:
    """Turn the one-time code into a token and a certificate."""
    return redeem_login(ports(), call.read(LoginRedeem))


@people(bp, "POST", "/logout")
def leave(call: Call, caller: AccessClaims) -> Done:
    """Revoke the caller's own token."""
    return log_out(ports(), caller)


@people(bp, "GET", "/whoami")
def whoami(call: Call, caller: AccessClaims) -> WhoAmI:
    """Say who the caller is."""
    return WhoAmI(principal=caller.sub, groups=caller.groups, expires_ms=caller.exp * 1000)
