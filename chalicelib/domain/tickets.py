"""Tickets and the times of a session: when an offer ends, when a grant ends, and when silence means that nobody is there."""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts.capability import TICKET_S, TicketClaims
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.policy import Principal
from chalicelib.contracts.session import Session, State

#: The reaper waits this long behind a ticket's end, so that a claim that is on its way is not cut off.
OFFER_GRACE_MS: Final = 60_000
#: An agent ends a session at its deadline by itself; this long after, it is taken for gone.
DEADLINE_GRACE_MS: Final = 120_000


def ticket_until_ms(session: Session) -> int:
    """Return when the session's ticket ends."""
    return session.opened_ms + TICKET_S * 1000


def deadline_ms(target: Target, now_ms: int) -> int:
    """Return the absolute end of a session that opens now."""
    return now_ms + target.max_session_s * 1000


class Promise(msgspec.Struct, frozen=True):
    """An event and the hex hash of its leaf: what the log is going to hold."""

    event: str
    leaf: str


def claims(
    issuer: str, agent_id: str, session: Session, who: Principal, promise: Promise, approvals: frozenset[str] = frozenset()
) -> TicketClaims:
    """Return what the ticket of ``session`` says to the agent. ``approvals`` are the groups that said yes to opening it."""
    return TicketClaims(
        iss=issuer,
        aud=agent_id,
        sid=session.sid,
        sub=who.name,
        groups=who.groups,
        mfa=who.mfa,
        target=session.target,
        login=session.login,
        policy_version=session.policy_version,
        reason=session.reason,
        source_ip=session.source_ip,
        recording=session.recording,
        iat=session.opened_ms // 1000,
        exp=ticket_until_ms(session) // 1000,
        deadline_ms=session.deadline_ms,
        event=promise.event,
        leaf=promise.leaf,
        approvals=sorted(approvals),
    )


def overdue(session: Session, spoken_ms: int, now_ms: int, stale_ms: int) -> tuple[State, str] | None:
    """Return the state that a session must step to because of time alone, and what to say; None while all is well.

    ``spoken_ms`` is when the session's agent last spoke of it.
    """
    if session.state is State.OFFERED:
        if now_ms > ticket_until_ms(session) + OFFER_GRACE_MS:
            return State.EXPIRED, "Nobody presented the ticket in time."
        return None
    if session.state is not State.LIVE:
        return None
    if now_ms > session.deadline_ms + DEADLINE_GRACE_MS:
        return State.INTERRUPTED, "The session's time was over and its agent did not close it; what was uploaded stands."
    if now_ms > spoken_ms + stale_ms:
        return State.INTERRUPTED, "The agent stopped speaking of this session; what was uploaded stands."
    return None
