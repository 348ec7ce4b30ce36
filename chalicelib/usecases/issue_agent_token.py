"""``POST /agents/tokens``: a one-time enrolment token. It is shown once and stored as a hash."""

from __future__ import annotations

from typing import Final

from chalicelib.contracts import ids
from chalicelib.contracts.api import AgentToken, AgentTokenRequest
from chalicelib.contracts.audit import AgentTokenIssued
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain.gateway_file import NAME
from chalicelib.ports import Enrolment, Ports
from chalicelib.usecases.minting import digest, mint, secret

ENROLMENT_MS: Final = 60 * 60 * 1000


def issue_agent_token(ports: Ports, caller: AccessClaims, asked: AgentTokenRequest) -> AgentToken:
    """Return the token. Raises Fault(bad_request) for a name that no target could refer to."""
    if not NAME.fullmatch(asked.name):
        raise Fault("bad_request", "An agent's name is lower-case letters, digits and dashes, at most 63.")
    token = secret(ports.clock)
    expires_ms = ports.clock.now_ms() + ENROLMENT_MS
    event = AgentTokenIssued(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=caller.sub,
        name=asked.name,
        expires_ms=expires_ms,
    )
    ports.store.save_enrolment(Enrolment(token_sha256=digest(token), name=asked.name, expires_ms=expires_ms), event)
    return AgentToken(token=token, expires_ms=expires_ms)
