"""Who is asking: people by their access token, agents by a proof made for this very request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from chalicelib.contracts.capability import ACCESS_TYP, WEB_TYP, AccessClaims, check_access, check_proof
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Moment
from chalicelib.domain import agent_proof, base64url
from chalicelib.domain.agent_proof import Replays
from chalicelib.ports import Agent, Ports


class Asked(msgspec.Struct, kw_only=True, frozen=True):
    """The parts of a request that a proof is bound to. ``path`` is without the stage."""

    method: str
    path: str
    body: bytes


def authenticate_person(ports: Ports, authorization: str) -> AccessClaims:
    """Return the claims of ``Bearer <access token>``. Raises Fault."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Fault("login_required", "This needs a login.", hint="Run: sallyport login")
    return _claims(ports, ACCESS_TYP, token.strip())


def authenticate_browser(ports: Ports, cookie: str) -> AccessClaims:
    """Return the claims of a browser's session, which no other route takes. Raises Fault."""
    if not cookie:
        raise Fault("login_required", "This needs a login.")
    return _claims(ports, WEB_TYP, cookie)


def _claims(ports: Ports, typ: str, token: str) -> AccessClaims:
    try:
        claims = msgspec.convert(ports.signer.verify_token(typ, token), AccessClaims)
    except ValueError as error:
        raise Fault(
            "token_invalid", "The access token is not valid here.", hint="Run: sallyport login", detail=str(error)
        ) from None
    check_access(claims, ports.settings.issuer, ports.clock.now_ms())
    if ports.store.is_revoked(claims.jti):
        raise Fault("token_revoked", "You logged out; this token is no longer good.", hint="Run: sallyport login")
    return claims


def authenticate_agent(ports: Ports, replays: Replays, authorization: str, asked: Asked) -> Agent:
    """Return the agent behind ``Agent <proof>``. Raises Fault; an agent whose name was enrolled again is unknown."""
    return _prove(ports, replays, authorization, asked, ports.store.agent)


def authenticate_custodian(ports: Ports, replays: Replays, authorization: str, asked: Asked) -> Agent:
    """Return the agent behind ``Agent <proof>``, also one whose name was enrolled again: it still owes what it recorded.

    For the routes that add to evidence alone. Otherwise whoever may enrol agents could make a recording stop where it is.
    """
    return _prove(ports, replays, authorization, asked, ports.store.custodian)


def _prove(ports: Ports, replays: Replays, authorization: str, asked: Asked, find: Callable[[str], Agent | None]) -> Agent:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "agent" or not token:
        raise Fault("agent_proof_invalid", "This needs an agent's proof.")
    token = token.strip()
    agent = find(agent_proof.peek(token))
    if agent is None:
        raise Fault("agent_unknown", "This agent is not enrolled, or another one has taken its name.", hint="Enrol it again.")
    claims = agent_proof.verify(token, base64url.decode(agent.public_key))
    now_ms = ports.clock.now_ms()
    check_proof(
        claims,
        agent_id=agent.agent_id,
        method=asked.method,
        path=asked.path,
        body_sha256=hashlib.sha256(asked.body).hexdigest(),
        now_ms=now_ms,
    )
    if not replays.first(agent.agent_id, claims.jti, now_ms):
        raise Fault("agent_proof_invalid", "The agent's proof was used before.")
    return agent


def require_administrator(ports: Ports, caller: AccessClaims, source_ip: str) -> None:
    """Raise Fault(denied) unless the caller may change the gateway: by group, so that a first policy can exist, or by policy."""
    if ports.settings.admin_group in caller.groups:
        return
    moment = Moment(now_ms=ports.clock.now_ms(), source_ip=source_ip)
    verdict = ports.policies.current().administer(caller.principal, moment)
    if not verdict.allowed:
        detail = "; ".join(verdict.errors)
        raise Fault("denied", verdict.message, hint=f"Decided by rule {verdict.rule}." if verdict.rule else "", detail=detail)
