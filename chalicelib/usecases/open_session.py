"""``POST /sessions``: decide, store, sign, and tell the agent that somebody is coming."""

from __future__ import annotations

import contextlib
from typing import NoReturn

import msgspec

from chalicelib.contracts import relay
from chalicelib.contracts.api import SessionOffer, SessionOpen, Way
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.session import Session, State
from chalicelib.domain import tickets
from chalicelib.domain.ssh_certificate import host_alias
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases.admission import Opened, Request, admit, open_offered
from chalicelib.usecases.endings import ended


def open_session(ports: Ports, caller: AccessClaims, asked: SessionOpen, source_ip: str) -> SessionOffer:
    """Return the ticket and the ways to the agent, best first.

    Raises Fault: see ``admit``; agent_offline, spool_full, agent_full.
    """
    request = Request(
        who=caller.principal,
        target=asked.target,
        login=asked.login,
        reason=asked.reason,
        source_ip=source_ip,
        token=caller.jti,
        approval=asked.approval,
    )
    admission = admit(ports, request)
    agent = ports.store.agent_named(admission.target.agent)
    if agent is None or not agent.connection:
        raise _offline(admission.target.agent)
    if agent.refuses:
        raise _turned_away(agent)
    opened = open_offered(ports, admission, agent)
    _offer(ports, opened, agent)
    ways = [Way(kind="relay", address=ports.settings.websocket_url)]
    if agent.direct:
        ways.insert(0, Way(kind="direct", address=agent.direct))
    return SessionOffer(
        sid=opened.session.sid,
        ticket=opened.ticket,
        expires_ms=tickets.ticket_until_ms(opened.session),
        deadline_ms=opened.session.deadline_ms,
        ways=ways,
        host_alias=host_alias(opened.session.target),
    )


def _offer(ports: Ports, opened: Opened, agent: Agent) -> None:
    message = relay.encode(relay.Offer(opened.session.sid, opened.ticket))
    if not ports.downlink.post(agent.connection, message):
        # API Gateway did not tell us that the socket ended; it does so at its best, not always.
        ports.store.connection_closed(agent.connection)
        _expire(ports, opened.session, agent.name)


def _expire(ports: Ports, session: Session, agent: str) -> NoReturn:
    message = f"Agent {agent} was not connected."
    over = msgspec.structs.replace(session, state=State.EXPIRED, ended_ms=ports.clock.now_ms(), message=message)
    with contextlib.suppress(Conflict):  # it has stepped on already, which only the agent itself can do
        ports.store.step_session(over, frozenset({State.OFFERED}), ended(ports.clock, over, actor="system"))
    raise _offline(agent)


def _turned_away(agent: Agent) -> Fault:
    """Said before anything is stored: an approval is not used up by an agent that would turn its session away."""
    if agent.refuses in ("log_inconsistent", "log_overdue"):
        words = f"Agent {agent.name} doubts the audit log, so it begins no session."
        return Fault(agent.refuses, words, hint="An administrator has to look: sallyport agents.")
    if agent.refuses == "spool_full":
        words = f"Agent {agent.name}, which serves this target, has no room left to record, so it takes no new sessions."
        return Fault("spool_full", words, hint="Tell whoever runs it to look at the disk of its state directory.")
    words = f"Agent {agent.name}, which serves this target, takes no new sessions now."
    return Fault("agent_full", words, hint="Try again later.", detail=agent.refuses)


def _offline(agent: str) -> Fault:
    return Fault("agent_offline", f"Agent {agent}, which serves this target, is not connected.", hint="Try again in a minute.")
