"""Every minute: end what nobody else will. Offers that nobody took, sessions whose agent fell silent or whose time is over.

Silence counts from when somebody listened: after an outage of the control plane, agents get the same time to come back as ever.
States are stepped first and agents told afterwards, so that one who cannot be told keeps no other session open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

import msgspec

from chalicelib.contracts import relay
from chalicelib.contracts.approval import RequestState
from chalicelib.contracts.session import Session, State
from chalicelib.domain import tickets
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases import kill_session
from chalicelib.usecases.end_request import TAKEN_BACK
from chalicelib.usecases.endings import ended

#: The reaper comes every minute; when it has not come for this long, nobody listened to the agents either.
GAP_MS: Final = 180_000


def reap_sessions(ports: Ports) -> dict[str, int]:
    """Step every session that is overdue; return how many stepped to which state."""
    listening_ms = ports.store.reaper_came(ports.clock.now_ms(), GAP_MS)
    agents = {agent.name: agent for agent in ports.store.agents()}
    unfinished = list(ports.store.unfinished())
    counts: dict[str, int] = {}
    killed: list[tuple[Agent, Session]] = []
    for session in unfinished:
        agent = agents.get(session.agent)
        if (verdict := _verdict(ports, session, agent, listening_ms)) is None:
            continue
        state, message = verdict
        # Who ordered its end, and why, stays said: an agent that comes back gets those words.
        words = f"{session.message} {message}" if session.killed_by else message
        over = msgspec.structs.replace(session, state=state, message=words, ended_ms=ports.clock.now_ms())
        # The index may be behind the row. The step requires the state and the chunks that were seen, so it then does nothing.
        with contextlib.suppress(Conflict):
            ports.store.step_session(over, frozenset({session.state}), ended(ports.clock, over, actor="system"))
            counts[str(state)] = counts.get(str(state), 0) + 1
            if state is State.INTERRUPTED and agent:
                killed.append((agent, over))
    for session in unfinished:
        _remind(ports, session, agents.get(session.agent))
    for agent, over in [*killed, *_continued(ports, agents, {session.sid for session in unfinished})]:
        if agent.connection:
            code = kill_session.CODE if over.killed_by else "session_ended"
            ports.downlink.post(agent.connection, relay.encode(relay.Kill(over.sid, code, over.message)))
    return counts


def _continued(ports: Ports, agents: Mapping[str, Agent], unfinished: set[str]) -> list[tuple[Agent, Session]]:
    """Interrupted sessions that an agent which was away still speaks of. They are never reopened: what it holds of them is taken,
    and it is told to end them. Until then they would be out of reach of whoever takes a grant back."""
    found = []
    for agent in agents.values():
        for sid in agent.live if agent.connection else ():
            session = None if sid in unfinished else ports.store.session(sid)
            if session is not None and session.state is State.INTERRUPTED:
                found.append((agent, session))
    return found


def _remind(ports: Ports, session: Session, agent: Agent | None) -> None:
    """An agent that was away when an approval was taken back, or an end ordered, hears of it when it is there again."""
    if session.killed_by:
        kill_session.tell_agent(ports, session, agent)
        return
    case = ports.store.case(session.approval) if session.approval and agent and agent.connection else None
    if case and agent and case.request.state is RequestState.REVOKED:
        ports.downlink.post(agent.connection, relay.encode(relay.Kill(session.sid, "session_killed", TAKEN_BACK)))


def _verdict(ports: Ports, session: Session, agent: Agent | None, listening_ms: int) -> tuple[State, str] | None:
    spoken = max(session.seen_ms, agent.live_ms) if agent and session.sid in agent.live else session.seen_ms
    return tickets.overdue(session, max(spoken, listening_ms), ports.clock.now_ms(), ports.settings.stale_s * 1000)
