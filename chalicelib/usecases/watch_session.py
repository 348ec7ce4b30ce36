"""``POST /sessions/{sid}/watch``: somebody wants to look on while a session goes on, and what its agent tells of that."""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts import ids, relay
from chalicelib.contracts.api_live import WatchNews, WatchOffer
from chalicelib.contracts.audit import WatchAllowed, WatchBegan, WatchEnded
from chalicelib.contracts.capability import TICKET_S, WATCH_TYP, AccessClaims, WatchClaims
from chalicelib.contracts.faults import CODES, Fault
from chalicelib.contracts.session import Session, State
from chalicelib.domain.plain_text import one_line
from chalicelib.domain.ssh_certificate import host_alias
from chalicelib.ports import Agent, Custody, Ports
from chalicelib.usecases.circumstances import moment
from chalicelib.usecases.entrusted import refuse_over
from chalicelib.usecases.list_sessions import may_see, may_watch
from chalicelib.usecases.minting import mint

_MESSAGE: Final = 500


def watch_session(ports: Ports, caller: AccessClaims, sid: str, source_ip: str) -> WatchOffer:
    """Return a ticket to look on. Raises Fault: unknown_session, denied, session_ended, conflict, agent_offline.

    That somebody may look is evidence, so the event is stored before the ticket exists.
    """
    session, custody, rule = _permitted(ports, caller, sid, source_ip)
    if session.state is not State.LIVE:
        raise _not_now(session)
    agent = ports.store.agent(custody.agent_id)
    if agent is None or not agent.connection:
        raise _offline(session)
    claims = _claims(ports, caller, session, agent, source_ip)
    event = WatchAllowed(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=caller.sub,
        sid=sid,
        target=session.target,
        wid=claims.wid,
        owner=session.principal,
        rule=rule,
    )
    ports.store.record([event])
    ticket = ports.signer.sign_token(WATCH_TYP, msgspec.to_builtins(claims))
    if not ports.downlink.post(agent.connection, relay.encode(relay.Watch(sid, ticket))):
        ports.store.connection_closed(agent.connection)
        raise _offline(session)
    return WatchOffer(
        wid=claims.wid,
        ticket=ticket,
        url=ports.settings.websocket_url,
        host_alias=host_alias(session.target),
        expires_ms=claims.exp * 1000,
        deadline_ms=claims.deadline_ms,
        session=session,
    )


def verified(ports: Ports, ticket: str) -> WatchClaims:
    """Return the claims of a watch ticket of ours; times are the caller's to check. Raises Fault(ticket_invalid)."""
    try:
        return msgspec.convert(ports.signer.verify_token(WATCH_TYP, ticket), WatchClaims)
    except ValueError as error:
        raise Fault("ticket_invalid", "The ticket is not valid here.", detail=str(error)) from None


def told(ports: Ports, session: Session, agent: Agent, news: WatchNews) -> WatchBegan | WatchEnded:
    """Return the event of what the agent of ``session`` reports. Raises Fault(ticket_invalid | ticket_mismatch)."""
    claims = verified(ports, news.ticket)
    if (claims.sid, claims.aud) != (session.sid, agent.agent_id):
        raise Fault("ticket_mismatch", "The ticket is for another session or agent.")
    id_, now_ms = mint(ports.clock, ids.EVENT), ports.clock.now_ms()
    about = {"actor": claims.sub, "sid": session.sid, "target": session.target, "wid": claims.wid, "owner": session.principal}
    if not news.code:
        return WatchBegan(id=id_, time_ms=now_ms, **about)
    code = news.code if news.code in CODES or news.code == "ok" else "internal"
    message = one_line(news.message, _MESSAGE)
    return WatchEnded(id=id_, time_ms=now_ms, code=code, message=message, shown=max(news.shown, 0), **about)


def _permitted(ports: Ports, caller: AccessClaims, sid: str, source_ip: str) -> tuple[Session, Custody, str]:
    found = ports.store.entrusted(sid) if ids.is_id(ids.SESSION, sid) else None
    hidden = Fault("unknown_session", "There is no session of this name, or it is not yours to see.")
    if found is None:
        raise hidden
    session, custody = found
    policy = ports.policies.current()
    at = moment(ports.clock, source_ip=source_ip)
    verdict = may_watch(policy, caller.principal, session, at)
    if verdict.allowed:
        return session, custody, verdict.rule
    # Whether somebody else's session exists is nothing for a person who may not see it.
    if not may_see(policy, caller, session, at):
        raise hidden
    hint = f"Decided by rule {verdict.rule}." if verdict.rule else ""
    raise Fault("denied", verdict.message, hint=hint, detail="; ".join(verdict.errors))


def _claims(ports: Ports, caller: AccessClaims, session: Session, agent: Agent, source_ip: str) -> WatchClaims:
    now_s = ports.clock.now_ms() // 1000
    return WatchClaims(
        iss=ports.settings.issuer,
        aud=agent.agent_id,
        wid=mint(ports.clock, ids.WATCH),
        sid=session.sid,
        sub=caller.sub,
        groups=caller.groups,
        mfa=caller.mfa,
        source_ip=moment(ports.clock, source_ip=source_ip).source_ip,
        iat=now_s,
        exp=now_s + TICKET_S,
        deadline_ms=min(session.deadline_ms, caller.exp * 1000),
    )


def _not_now(session: Session) -> Fault:
    why = refuse_over(session)
    recorded = session.state in {State.ENDED, State.KILLED, State.INTERRUPTED}
    return Fault(why.code, why.message, hint=f"To see what happened: sallyport replay {session.sid}") if recorded else why


def _offline(session: Session) -> Fault:
    return Fault(
        "agent_offline", f"Agent {session.agent}, which serves this session, is not connected.", hint="Try again in a minute."
    )
