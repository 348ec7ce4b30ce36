"""``POST /sessions/{sid}/kill``: somebody orders the end of a session.

The order is stored with its audit event before the agent hears of it, so that it holds for an agent that is away: it is told
again when it announces itself, and by the reaper. The first order stands; repeating it tells the agent once more, and stores
nothing.
"""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from chalicelib.contracts import ids, relay
from chalicelib.contracts.api import REASON_LIMIT
from chalicelib.contracts.api_live import SessionKill, SessionKilled
from chalicelib.contracts.audit import SessionKillOrdered
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Verdict
from chalicelib.contracts.session import OVER, Session, State
from chalicelib.domain.plain_text import one_line
from chalicelib.ports import Agent, Conflict, Custody, Ports
from chalicelib.usecases.circumstances import moment
from chalicelib.usecases.endings import ended
from chalicelib.usecases.list_sessions import may_kill, may_see
from chalicelib.usecases.minting import mint

CODE: Final = "session_killed"
_TRIES: Final = 20
#: Characters of the reason that the session's owner reads; the event has all of it.
_SHOWN: Final = 600


def kill_session(ports: Ports, caller: AccessClaims, sid: str, asked: SessionKill, source_ip: str) -> SessionKilled:
    """Order the end of a session. Raises Fault: unknown_session, denied, reason_required, too_large, session_ended."""
    if len(asked.reason) > REASON_LIMIT:
        raise Fault("too_large", f"A reason is at most {REASON_LIMIT} characters long.")
    if not asked.reason.strip():
        raise Fault("reason_required", "Say why: whoever works in that session reads it.", hint="Add --reason.")
    for _ in range(_TRIES):
        session, custody, verdict = _permitted(ports, caller, sid, asked.reason, source_ip)
        if session.state in OVER:
            if session.killed_by != caller.sub:
                raise Fault("session_ended", "The session is over already.")
            return _standing(session, reached=True)
        with contextlib.suppress(Conflict):  # it was claimed, closed or extended by a chunk at this moment: look again
            if not session.killed_by:
                session = _order(ports, caller, session, asked.reason, verdict.rule)
            if session.state is State.OFFERED:
                session = _end_offer(ports, caller, session)
            return _standing(session, reached=tell_agent(ports, session, ports.store.agent(custody.agent_id)))
    raise Fault("conflict", "The session changes at this moment.", hint="Try again.")


def tell_agent(ports: Ports, session: Session, agent: Agent | None) -> bool:
    """Tell ``agent`` to end ``session``, whose end somebody ordered. False where it is not there."""
    if agent is None or not agent.connection:
        return False
    if ports.downlink.post(agent.connection, relay.encode(relay.Kill(session.sid, CODE, session.message))):
        return True
    ports.store.connection_closed(agent.connection)
    return False


def remind_agent(ports: Ports, agent: Agent) -> None:
    """Tell an agent that has just come back whatever was ordered while it was away."""
    for session in ports.store.unfinished():
        if session.killed_by and session.agent == agent.name:
            tell_agent(ports, session, agent)


def _permitted(ports: Ports, caller: AccessClaims, sid: str, reason: str, source_ip: str) -> tuple[Session, Custody, Verdict]:
    found = ports.store.entrusted(sid) if ids.is_id(ids.SESSION, sid) else None
    hidden = Fault("unknown_session", "There is no session of this name, or it is not yours to see.")
    if found is None:
        raise hidden
    session, custody = found
    policy = ports.policies.current()
    at = moment(ports.clock, reason=reason, source_ip=source_ip)
    verdict = may_kill(policy, caller, session, at)
    if verdict.allowed:
        return session, custody, verdict
    # Whether somebody else's session exists is nothing for a person who may not see it.
    if not may_see(policy, caller, session, at):
        raise hidden
    hint = f"Decided by rule {verdict.rule}." if verdict.rule else ""
    raise Fault("denied", verdict.message, hint=hint, detail="; ".join(verdict.errors))


def _order(ports: Ports, caller: AccessClaims, session: Session, reason: str, rule: str) -> Session:
    ordered = msgspec.structs.replace(
        session, killed_by=caller.sub, message=f"{caller.sub} ended this session: {one_line(reason, _SHOWN)}"
    )
    event = SessionKillOrdered(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=caller.sub,
        sid=session.sid,
        target=session.target,
        owner=session.principal,
        reason=reason,
        rule=rule,
    )
    ports.store.step_session(ordered, frozenset({session.state}), event)
    return ordered


def _end_offer(ports: Ports, caller: AccessClaims, session: Session) -> Session:
    over = msgspec.structs.replace(session, state=State.KILLED, ended_ms=ports.clock.now_ms())
    ports.store.step_session(over, frozenset({State.OFFERED}), ended(ports.clock, over, actor=caller.sub))
    return over


def _standing(session: Session, *, reached: bool) -> SessionKilled:
    return SessionKilled(
        sid=session.sid,
        state=session.state,
        reached=reached or session.state in OVER,
        agent=session.agent,
        message=session.message,
    )
