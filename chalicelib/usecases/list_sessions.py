"""Sessions of a day: one's own always, other people's where policy lets one look at them. Looking at a list is not an event."""

from __future__ import annotations

import datetime as dt
from typing import Final

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.api import PAGE_LIMIT, SessionPage
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.policy import Moment, Policy, Verdict
from chalicelib.contracts.session import Session
from chalicelib.ports import Ports, SessionQuery

_ROUNDS: Final = 5
_FILTER_LIMIT: Final = 254


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
    query = _query(ports, asked)
    limit = min(max(asked.limit, 1), PAGE_LIMIT)
    moment = Moment(now_ms=ports.clock.now_ms(), source_ip=source_ip)
    policy = ports.policies.current()
    found: list[Session] = []
    cursor = asked.cursor
    for _ in range(_ROUNDS):
        sessions, cursor = ports.store.sessions(query, limit - len(found), cursor)
        found += [each for each in sessions if each.principal == caller.sub or may_replay(policy, caller, each, moment).allowed]
        if not cursor or len(found) >= limit:
            break
    return SessionPage(sessions=found, cursor=cursor)


def view_session(ports: Ports, caller: AccessClaims, sid: str, source_ip: str) -> Session:
    """Return one session. Raises Fault(unknown_session) for one that the caller may not see, as if it did not exist."""
    session = ports.store.session(sid) if ids.is_id(ids.SESSION, sid) else None
    moment = Moment(now_ms=ports.clock.now_ms(), source_ip=source_ip)
    if session is not None and (
        session.principal == caller.sub or may_replay(ports.policies.current(), caller, session, moment).allowed
    ):
        return session
    raise Fault("unknown_session", "There is no session of this name, or it is not yours to see.")


def may_replay(policy: Policy, caller: AccessClaims, session: Session, moment: Moment) -> Verdict:
    """Ask policy about the recording of ``session``. A target that is gone is asked about by what the session remembers of it."""
    target = policy.document.target(session.target) or Target(
        name=session.target, protocol=session.protocol, agent=session.agent, address="", logins={}, default_login=""
    )
    return policy.replay(caller.principal, session.sid, session.principal, str(session.state), target, moment)


def _query(ports: Ports, asked: Listing) -> SessionQuery:
    day = asked.day or dt.datetime.fromtimestamp(ports.clock.now_ms() / 1000, dt.UTC).date().isoformat()
    try:
        if dt.date.fromisoformat(day).isoformat() != day:
            raise ValueError
    except ValueError:
        raise Fault("bad_request", "day reads like 2026-11-20 (UTC).") from None
    if max(len(asked.principal), len(asked.target), len(asked.state)) > _FILTER_LIMIT:
        raise Fault("too_large", "A filter is too long.")
    if asked.cursor and not ids.is_id(ids.SESSION, asked.cursor):
        raise Fault("bad_request", "The cursor is not one of ours.")
    return SessionQuery(day=day, principal=asked.principal, target=asked.target, state=asked.state)
