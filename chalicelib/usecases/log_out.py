"""Revoke one's own access token. Sessions that are open go on: they are bound to their grant, not to the login."""

from __future__ import annotations

from chalicelib.contracts import ids
from chalicelib.contracts.api import Done
from chalicelib.contracts.audit import LoggedOut
from chalicelib.contracts.capability import AccessClaims
from chalicelib.ports import Ports
from chalicelib.usecases.minting import mint


def log_out(ports: Ports, caller: AccessClaims) -> Done:
    """Refuse the caller's token, and the certificate that came with it, from now on."""
    event = LoggedOut(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=caller.sub,
        token=caller.jti,
    )
    ports.store.revoke_token(caller.jti, caller.exp * 1000, event)
    return Done()
