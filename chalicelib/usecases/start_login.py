"""Begin a login: remember what the command line keeps to itself, and say where the browser goes."""

from __future__ import annotations

import re
from typing import Final

from chalicelib.contracts.api import LoginStart, LoginStarted
from chalicelib.contracts.faults import Fault
from chalicelib.domain import identity
from chalicelib.ports import PendingLogin, Ports
from chalicelib.usecases.minting import secret

LOGIN_MS: Final = 10 * 60 * 1000
_STATE: Final = re.compile(r"[A-Za-z0-9._~-]{8,128}")


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
