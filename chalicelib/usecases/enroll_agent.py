"""``POST /agents/enrol``: a one-time token for an identity. The agent's key is its own; only the public half comes here."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chalicelib.contracts import ids
from chalicelib.contracts.api import AgentEnrol, AgentEnrolled
from chalicelib.contracts.audit import AgentEnrolled as Enrolled
from chalicelib.contracts.faults import Fault
from chalicelib.domain import base64url
from chalicelib.domain.ssh_wire import ed25519_line, ed25519_of_line
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases.minting import digest, mint
from chalicelib.usecases.trust import trust


def enroll_agent(ports: Ports, asked: AgentEnrol) -> AgentEnrolled:
    """Return the new agent's identity. An earlier agent of the name is replaced. Raises Fault: bad_request, enrolment_invalid."""
    public_key = _public_key(asked.public_key)
    host_key = _host_key(asked.ssh_host_key)
    token_sha256 = digest(asked.token)
    now_ms = ports.clock.now_ms()
    enrolment = ports.store.find_enrolment(token_sha256, now_ms)
    if enrolment is None:
        raise _invalid()
    earlier = ports.store.agent_named(enrolment.name)
    agent = Agent(
        agent_id=mint(ports.clock, ids.AGENT),
        name=enrolment.name,
        public_key=base64url.encode(public_key),
        ssh_host_key=host_key,
        enrolled_ms=now_ms,
    )
    event = Enrolled(
        id=mint(ports.clock, ids.EVENT),
        time_ms=now_ms,
        actor=f"agent:{agent.name}",
        name=agent.name,
        agent_id=agent.agent_id,
        fingerprint=hashlib.sha256(public_key).hexdigest(),
        replaced=earlier.agent_id if earlier else "",
    )
    try:
        ports.store.enrol(token_sha256, agent, event)
    except Conflict:
        raise _invalid() from None
    if earlier and earlier.connection:
        ports.downlink.close(earlier.connection)
    return AgentEnrolled(agent_id=agent.agent_id, name=agent.name, trust=trust(ports))


def _public_key(text: str) -> bytes:
    try:
        raw = base64url.decode(text)
        Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise Fault("bad_request", "public_key must be the base64url of a raw Ed25519 public key.") from None
    return raw


def _host_key(line: str) -> str:
    try:
        return ed25519_line(ed25519_of_line(line))
    except ValueError as error:
        raise Fault("bad_request", f"ssh_host_key: {error}.") from None


def _invalid() -> Fault:
    return Fault(
        "enrolment_invalid", "The enrolment token is unknown, used or expired.", hint="Ask an administrator for a new one."
    )
