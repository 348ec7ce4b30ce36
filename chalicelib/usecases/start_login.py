"""Begin a login: remember what the command line, or the browser, keeps to itself, and say where the browser goes."""

from __future__ import annotations

import re
from typing import Final

from chalicelib.contracts.api import LoginStart, LoginStarted
from chalicelib.contracts.faults import Fault
from chalicelib.domain import identity
from chalicelib.ports import PendingLogin, Ports
from chalicelib.usecases.minting import digest, secret

LOGIN_MS: Final = 10 * 60 * 1000
_STATE: Final = re.compile(r"[A-Za-z0-9._~-]{8,128}")
#: The pages on which a login in a browser may end, whole: a list cannot be talked into another site, as a filter can.
_PAGES: Final = re.compile(r"/approvals(/decided|/req_[0-9A-Z]{26})?")
HOME: Final = "/approvals"


def start_login(ports: Ports, asked: LoginStart) -> LoginStarted:
    """Return the identity provider's page for this login. Raises Fault(bad_request) for values of another shape."""
    if not identity.is_challenge(asked.challenge):
        raise Fault("bad_request", "challenge must be the S256 challenge of a PKCE verifier.")
    if not 1024 <= asked.port <= 65535:
        raise Fault("bad_request", "port must be between 1024 and 65535.")
    if not _STATE.fullmatch(asked.state):
        raise Fault("bad_request", "state must be 8 to 128 letters, digits or ._~-")
    login = PendingLogin(
        state=secret(ports.clock),
        verifier=secret(ports.clock),
        nonce=secret(ports.clock),
        challenge=asked.challenge,
        port=asked.port,
        client_state=asked.state,
        expires_ms=ports.clock.now_ms() + LOGIN_MS,
    )
    url = ports.identity.authorize_url(login)
    ports.store.save_login(login)
    return LoginStarted(authorize_url=url, expires_ms=login.expires_ms)


def start_browser_login(ports: Ports, onward: str) -> tuple[str, str]:
    """Return the identity provider's page, and what the browser has to bring back when it comes from there.

    ``onward`` is where the login ends; anything but a page of ours becomes the list of approvals.
    """
    browser = secret(ports.clock)
    login = PendingLogin(
        state=secret(ports.clock),
        verifier=secret(ports.clock),
        nonce=secret(ports.clock),
        challenge="",
        port=0,
        client_state="",
        expires_ms=ports.clock.now_ms() + LOGIN_MS,
        browser=digest(browser),
        onward=onward if _PAGES.fullmatch(onward) else HOME,
    )
    url = ports.identity.authorize_url(login)
    ports.store.save_login(login)
    return url, browser
