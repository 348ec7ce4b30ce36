"""``POST /agent/sessions/{sid}/close``: the session is over, and both sides agree on every chunk of it."""

from __future__ import annotations

import msgspec

from chalicelib.contracts import relay
from chalicelib.contracts.api import Done, SessionClose
from chalicelib.contracts.faults import MESSAGE_LIMIT, Fault
from chalicelib.contracts.session import Session, State
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases.endings import ended
from chalicelib.usecases.entrusted import entrusted, refuse_over

_CLOSED = frozenset({State.ENDED, State.KILLED, State.EXPIRED})
_STEPS = {State.INTERRUPTED: State.ENDED, State.OFFERED: State.EXPIRED}


def close_session(ports: Ports, agent: Agent, sid: str, asked: SessionClose) -> Done:
    """End the session; again with the same chain does nothing. Raises Fault: unknown_session, chunk_conflict, session_ended.

    One that was offered and never claimed expires: its agent says that it will not serve it any more.
    """
    session, _ = entrusted(ports, agent, sid)
    agreed = (session.chunks, session.chain) == (asked.chunks, asked.chain)
    if session.state in _CLOSED and agreed:
        return Done()
    if session.state not in (State.OFFERED, State.LIVE, State.INTERRUPTED):
        raise refuse_over(session)
    if not agreed:
        raise Fault("chunk_conflict", f"The gateway knows {session.chunks} chunks of this session; register the others first.")
    over = _over(session, asked, ports.clock.now_ms())
    amended = session.state is State.INTERRUPTED
    event = ended(ports.clock, over, actor=f"agent:{agent.name}", amended=amended)
    try:
        # From its own state only: whether the agent was thought to be gone is part of what is written.
        ports.store.step_session(over, frozenset({session.state}), event)
    except Conflict:
        raise Fault("conflict", "The session changed at the same moment; close it again.") from None
    _dismiss(ports, sid)
    return Done()


def _dismiss(ports: Ports, sid: str) -> None:
    """Send away a client that waits for an agent which will not come: it may have connected while the session ended."""
    link = ports.store.link(sid)
    if link.client and not link.agent:
        ports.downlink.post(link.client, relay.encode(relay.Refused("session_ended", "The session is over.")))


def _over(session: Session, asked: SessionClose, now_ms: int) -> Session:
    # An interrupted session can be completed but not killed any more: it was over before (contracts/session.py).
    state = _STEPS.get(session.state) or State(asked.state)
    message = "The agent was gone before the session began." if session.state is State.OFFERED else asked.message
    return msgspec.structs.replace(
        session,
        state=state,
        ended_ms=session.ended_ms or now_ms,
        seen_ms=now_ms,
        message=message[:MESSAGE_LIMIT] or session.message,
        operations=max(asked.operations, session.operations),
        denied=max(asked.denied, session.denied),
    )
