"""Every minute: end what nobody else will. Offers that nobody took, sessions whose agent fell silent or whose time is over."""

from __future__ import annotations

import contextlib

import msgspec

from chalicelib.contracts import relay
from chalicelib.contracts.approval import RequestState
from chalicelib.contracts.session import Session, State
from chalicelib.domain import tickets
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases.end_request import TAKEN_BACK
from chalicelib.usecases.endings import ended


def reap_sessions(ports: Ports) -> dict[str, int]:
    """Step every session that is overdue; return how many stepped to which state."""
    agents = {agent.name: agent for agent in ports.store.agents()}
    counts: dict[str, int] = {}
    for session in ports.store.unfinished():
        agent = agents.get(session.agent)
        if (verdict := _verdict(ports, session, agent)) is None:
            _remind(ports, session, agent)
            continue
        state, message = verdict
        over = msgspec.structs.replace(session, state=state, message=message, ended_ms=ports.clock.now_ms())
        # The index may be behind the row. The step requires the state and the chunks that were seen, so it then does nothing.
        with contextlib.suppress(Conflict):
            ports.store.step_session(over, frozenset({session.state}), ended(ports.clock, over, actor="system"))
            counts[str(state)] = counts.get(str(state), 0) + 1
            if state is State.INTERRUPTED and agent and agent.connection:
                ports.downlink.post(agent.connection, relay.encode(relay.Kill(session.sid, "session_ended", message)))
    return counts


def _remind(ports: Ports, session: Session, agent: Agent | None) -> None:
    """An agent that was away when an approval was taken back hears of it when it is there again."""
    case = ports.store.case(session.approval) if session.approval and agent and agent.connection else None
    if case and agent and case.request.state is RequestState.REVOKED:
        ports.downlink.post(agent.connection, relay.encode(relay.Kill(session.sid, "session_killed", TAKEN_BACK)))


def _verdict(ports: Ports, session: Session, agent: Agent | None) -> tuple[State, str] | None:
    spoken = max(session.seen_ms, agent.live_ms) if agent and session.sid in agent.live else session.seen_ms
    return tickets.overdue(session, spoken, ports.clock.now_ms(), ports.settings.stale_s * 1000)
