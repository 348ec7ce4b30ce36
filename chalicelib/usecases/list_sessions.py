"""Sessions of a day: one's own always, others where policy lets one look at, watch or end them. Looking at a list is no event."""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.api import SessionPage
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.policy import ALLOW, DENY, Moment, Policy, Principal, Verdict
from chalicelib.contracts.session import Session, State
from chalicelib.ports import Ports, SessionQuery
from chalicelib.usecases.listing import asked_day, bounded, check_query, page

_OPEN: Final = frozenset({State.OFFERED, State.LIVE})


class Listing(msgspec.Struct, kw_only=True, frozen=True):
    """The query of ``GET /sessions``. An empty ``day`` is today (UTC)."""

    day: str = ""
    principal: str = ""
    target: str = ""
    state: str = ""
    limit: int = 50
    cursor: str = ""


def list_sessions(ports: Ports, caller: AccessClaims, asked: Listing, source_ip: str) -> SessionPage:
    """Return at most ``limit`` sessions, newest first. A page may be short while there is a cursor. Raises Fault(bad_request)."""
    check_query(asked.principal, asked.target, asked.state, cursor=asked.cursor, kind=ids.SESSION)
    day = asked_day(ports.clock, asked.day)
    query = SessionQuery(day=day, principal=asked.principal, target=asked.target, state=asked.state)
    moment = Moment(now_ms=ports.clock.now_ms(), source_ip=source_ip)
    policy = ports.policies.current()
    sessions, cursor = page(
        lambda limit, cursor: ports.store.sessions(query, limit, cursor),
        lambda each: may_see(policy, caller, each, moment),
        bounded(asked.limit),
        asked.cursor,
    )
    return SessionPage(sessions=sessions, cursor=cursor)


def view_session(ports: Ports, caller: AccessClaims, sid: str, source_ip: str) -> Session:
    """Return one session. Raises Fault(unknown_session) for one that the caller may not see, as if it did not exist."""
    session = ports.store.session(sid) if ids.is_id(ids.SESSION, sid) else None
    moment = Moment(now_ms=ports.clock.now_ms(), source_ip=source_ip)
    if session is not None and may_see(ports.policies.current(), caller, session, moment):
        return session
    raise Fault("unknown_session", "There is no session of this name, or it is not yours to see.")


def may_see(policy: Policy, caller: AccessClaims, session: Session, moment: Moment) -> bool:
    """Tell whether ``session`` exists for the caller: one's own, one to look at, or an open one to watch or end."""
    if session.principal == caller.sub or may_replay(policy, caller, session, moment).allowed:
        return True
    if session.state not in _OPEN:
        return False
    return may_watch(policy, caller.principal, session, moment).allowed or may_kill(policy, caller, session, moment).allowed


def may_watch(policy: Policy, who: Principal, session: Session, moment: Moment) -> Verdict:
    """Ask policy about looking on while ``session`` goes on."""
    about = (session.sid, session.principal, str(session.state))
    return policy.watch(who, about, target_of(policy, session), moment)


def may_kill(policy: Policy, caller: AccessClaims, session: Session, moment: Moment) -> Verdict:
    """Ask policy about ending ``session``. What is one's own one may end, unless a rule forbids it."""
    about = (session.sid, session.principal, str(session.state))
    verdict = policy.kill(caller.principal, about, target_of(policy, session), moment)
    unsaid = verdict.decision == DENY and not verdict.rules and not verdict.errors
    return Verdict(ALLOW) if unsaid and session.principal == caller.sub else verdict


def may_replay(policy: Policy, caller: AccessClaims, session: Session, moment: Moment) -> Verdict:
    """Ask policy about the recording of ``session``."""
    target = target_of(policy, session)
    return policy.replay(caller.principal, session.sid, session.principal, str(session.state), target, moment)


def target_of(policy: Policy, session: Session) -> Target:
    """Return a session's target. One that is gone is asked about by what the session remembers of it."""
    return policy.document.target(session.target) or Target(
        name=session.target, protocol=session.protocol, agent=session.agent, address="", logins={}, default_login=""
    )
