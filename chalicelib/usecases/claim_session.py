"""``POST /agent/sessions/{sid}/claim``: the ticket was presented. From here on bytes flow, and only one claim wins."""

from __future__ import annotations

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.api import SessionClaim, SessionClaimed
from chalicelib.contracts.audit import SessionStarted
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.session import Session, State
from chalicelib.domain import tickets
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases.entrusted import entrusted, refuse_over
from chalicelib.usecases.minting import mint
from chalicelib.usecases.sealing_key import sealing_key


def claim_session(ports: Ports, agent: Agent, sid: str, asked: SessionClaim) -> SessionClaimed:
    """Return the session, live now.

    Raises Fault: unknown_session, ticket_used, session_expired, token_revoked, session_killed, originals_unavailable.
    """
    session, custody = entrusted(ports, agent, sid)
    now_ms = ports.clock.now_ms()
    if session.state is not State.OFFERED:
        raise _used(session)
    if now_ms >= tickets.ticket_until_ms(session):
        raise Fault("session_expired", "Nobody presented the ticket in time.")
    if ports.store.is_revoked(custody.token):
        raise Fault("token_revoked", "You logged out; this ticket is no longer good.", hint="Run: sallyport login")
    sealing = sealing_key(ports, session)
    live = msgspec.structs.replace(session, state=State.LIVE, path=asked.path, started_ms=now_ms, seen_ms=now_ms)
    event = SessionStarted(
        id=mint(ports.clock, ids.EVENT),
        time_ms=now_ms,
        actor=session.principal,
        sid=sid,
        target=session.target,
        agent=agent.name,
        path=asked.path,
    )
    try:
        ports.store.step_session(live, frozenset({State.OFFERED}), event)
    except Conflict:
        raise _used(ports.store.session(sid) or session) from None
    return SessionClaimed(session=live, sealing=sealing)


def _used(session: Session) -> Fault:
    if session.state in (State.EXPIRED, State.KILLED):
        return refuse_over(session)
    return Fault("ticket_used", "The ticket was presented before.", hint="Connect again for a new one.")
