"""A session that an agent speaks of must be its own: offered to this very enrolment, not merely to its name."""

from __future__ import annotations

from chalicelib.contracts import ids
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.session import Session, State
from chalicelib.ports import Agent, Custody, Ports


def entrusted(ports: Ports, agent: Agent, sid: str) -> tuple[Session, Custody]:
    """Return the session and its custody. Raises Fault(unknown_session) for anybody else's, as if it did not exist."""
    found = ports.store.entrusted(sid) if ids.is_id(ids.SESSION, sid) else None
    if found is None or found[1].agent_id != agent.agent_id or found[0].state is State.DENIED:
        raise Fault("unknown_session", "There is no session of this name.")
    return found


def refuse_over(session: Session) -> Fault:
    """Return why nothing more may happen in a session that is not live."""
    match session.state:
        case State.EXPIRED:
            return Fault("session_expired", "Nobody presented the ticket in time.")
        case State.KILLED:
            return Fault("session_killed", session.message or "The session was ended by an administrator.")
        case State.OFFERED:
            return Fault("conflict", "The session was not claimed yet.")
        case _:
            return Fault("session_ended", "The session is over.")
