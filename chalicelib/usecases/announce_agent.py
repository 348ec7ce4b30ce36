"""``POST /agent/announce``: an agent says what it speaks, and learns what to serve and how to decide."""

from __future__ import annotations

import re
from typing import Final

from chalicelib.contracts.api import AgentAnnounce, AgentConfig
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Document
from chalicelib.domain import ssh_certificate
from chalicelib.domain.gateway_file import NAME
from chalicelib.domain.ssh_wire import ed25519_of_line
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases import kill_session
from chalicelib.usecases.certify import certify
from chalicelib.usecases.trust import trust
from chalicelib.usecases.witness_log import enrol_witness

_LIMIT: Final = 1_000
_DIRECT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,5}")


def announce_agent(ports: Ports, agent: Agent, asked: AgentAnnounce) -> AgentConfig:
    """Return its targets, every rule and a fresh host certificate. Raises Fault: bad_request, too_large, agent_unknown."""
    _check(asked)
    try:
        ports.store.announce(agent.agent_id, asked.protocols, asked.credentials, asked.direct, ports.clock.now_ms())
    except Conflict:
        raise Fault(
            "agent_unknown", "This agent is not enrolled, or another one has taken its name.", hint="Enrol it again."
        ) from None
    if asked.witness_key and asked.witness_key != agent.witness_key:
        enrol_witness(ports, agent, asked.witness_key)
    kill_session.remind_agent(ports, agent)
    document = ports.policies.current().document
    targets = [target for target in document.targets if target.agent == agent.name]
    certificate = ssh_certificate.for_agent(
        agent.name,
        [target.name for target in targets],
        ed25519_of_line(agent.ssh_host_key),
        ports.clock.now_ms() // 1000,
        int.from_bytes(ports.clock.entropy(8), "big"),
    )
    return AgentConfig(
        document=Document(version=document.version, rules=document.rules, targets=targets),
        ssh_host_certificate=certify(ports, certificate),
        expires_ms=certificate.valid_before * 1000,
        trust=trust(ports),
    )


def _check(asked: AgentAnnounce) -> None:
    if len(asked.protocols) > _LIMIT or len(asked.credentials) > _LIMIT:
        raise Fault("too_large", f"An agent announces at most {_LIMIT} protocols and credentials.")
    names = [protocol.name for protocol in asked.protocols]
    if len(set(names)) != len(names) or not all(NAME.fullmatch(name) for name in names):
        raise Fault("bad_request", "A protocol's name is lower-case letters, digits and dashes, and announced once.")
    if asked.direct and not _DIRECT.fullmatch(asked.direct):
        raise Fault("bad_request", "direct reads like host:port.")
