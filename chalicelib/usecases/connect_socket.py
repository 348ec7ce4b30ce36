"""``$connect``: who opens a WebSocket, and to what end. Nothing can be posted to it yet: it exists only when this has returned.

people   Authorization: Bearer <ticket>        the first socket of a session
either   Authorization: Resume <token>         the next one, after the first broke or grew old (``Route.resume``)
people   Authorization: Bearer <watch ticket>  with X-Sallyport-Socket: watch; the ticket admits every socket of its watch
people   Authorization: Bearer <access token>  with X-Sallyport-Socket: request and X-Sallyport-Request: req_…
agents   Authorization: Agent <proof>          with X-Sallyport-Socket: control, or session and X-Sallyport-Session: ses_…
agents   Authorization: Agent <proof>          with X-Sallyport-Socket: watch and X-Sallyport-Watch: <watch ticket>
"""

from __future__ import annotations

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.capability import TICKET_TYP, TicketClaims, WatchClaims, check_ticket, check_watch
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.session import Session, State
from chalicelib.domain import tickets
from chalicelib.domain.agent_proof import Replays
from chalicelib.ports import Agent, Conflict, Connection, Ports
from chalicelib.usecases.authenticate import Asked, authenticate_agent, authenticate_person
from chalicelib.usecases.entrusted import entrusted, refuse_over
from chalicelib.usecases.watch_session import verified

#: What an agent's proof for a WebSocket is bound to. A handshake has no route, so it gets a path that no HTTP route has.
HANDSHAKE = Asked(method="GET", path="/ws", body=b"")
RESUME = "resume"
_OPEN = frozenset({State.OFFERED, State.LIVE})


class Opening(msgspec.Struct, kw_only=True, frozen=True):
    """A handshake: the new connection's identifier and the headers that matter."""

    connection: str
    authorization: str
    socket: str = ""
    session: str = ""
    request: str = ""
    watch: str = ""


def connect_socket(ports: Ports, replays: Replays, asked: Opening) -> Connection:
    """Admit the socket and remember what it is. Raises Fault."""
    scheme, _, token = asked.authorization.partition(" ")
    match scheme.lower():
        case "bearer" if asked.socket == "request":
            connection = _waiting(ports, asked)
        case "bearer" if asked.socket == "watch":
            connection = _watcher(ports, asked.connection, token.strip())
        case "bearer":
            connection = _with_ticket(ports, asked.connection, token.strip())
        case "resume":
            connection = _with_resume(ports, asked.connection, token.strip())
        case "agent":
            agent = authenticate_agent(ports, replays, asked.authorization, HANDSHAKE)
            if asked.socket == "control":
                return _control(ports, asked.connection, agent)
            if asked.socket == "watch":
                connection = _watched(ports, asked, agent)
            elif asked.socket == "session":
                session, _ = entrusted(ports, agent, asked.session)
                connection = _end(ports, asked.connection, "agent", session)
            else:
                raise Fault("bad_request", "X-Sallyport-Socket is control, session or watch.")
        case _:
            raise Fault("login_required", "This needs a ticket.")
    ports.store.connection_opened(connection)
    return connection


def _waiting(ports: Ports, asked: Opening) -> Connection:
    caller = authenticate_person(ports, asked.authorization)
    case = ports.store.case(asked.request) if ids.is_id(ids.REQUEST, asked.request) else None
    if case is None or case.request.principal != caller.sub:
        raise Fault("unknown_request", "There is no request of this name, or it is not yours.")
    return Connection(connection=asked.connection, side="waiting", owner=asked.request, since_ms=ports.clock.now_ms())


def _control(ports: Ports, connection: str, agent: Agent) -> Connection:
    opened = Connection(connection=connection, side="control", owner=agent.agent_id, since_ms=ports.clock.now_ms())
    try:
        earlier = ports.store.agent_connected(agent.agent_id, opened)
    except Conflict:
        raise Fault("agent_unknown", "This agent is not enrolled, or another one has taken its name.") from None
    if earlier and earlier != connection:
        ports.downlink.close(earlier)
    return opened


def _with_ticket(ports: Ports, connection: str, ticket: str) -> Connection:
    try:
        claims = msgspec.convert(ports.signer.verify_token(TICKET_TYP, ticket), TicketClaims)
    except ValueError as error:
        raise Fault("ticket_invalid", "The ticket is not valid here.", detail=str(error)) from None
    # Which agent it is for is the agent's to check; here it only has to be a ticket of ours, in time.
    check_ticket(claims, claims.aud, ports.clock.now_ms())
    session = ports.store.session(claims.sid)
    if session is None:
        raise Fault("unknown_session", "There is no session of this name.")
    opened = _end(ports, connection, "client", session)
    return msgspec.structs.replace(opened, ticket=ticket, ticket_until_ms=claims.exp * 1000)


def _watcher(ports: Ports, connection: str, ticket: str) -> Connection:
    claims = verified(ports, ticket)
    session = ports.store.session(claims.sid)
    if session is None:
        raise Fault("unknown_session", "There is no session of this name.")
    check_watch(claims, claims.aud, ports.clock.now_ms())
    opened = _watch_end(ports, connection, "client", session, claims)
    return msgspec.structs.replace(opened, ticket=ticket, ticket_until_ms=claims.exp * 1000)


def _watched(ports: Ports, asked: Opening, agent: Agent) -> Connection:
    claims = verified(ports, asked.watch)
    session, _ = entrusted(ports, agent, claims.sid)
    # A tunnel that the agent holds already may outlive the time in which its ticket had to be presented.
    check_watch(claims, agent.agent_id, ports.clock.now_ms(), begun=True)
    return _watch_end(ports, asked.connection, "agent", session, claims)


def _watch_end(ports: Ports, connection: str, side: str, session: Session, claims: WatchClaims) -> Connection:
    if session.state is not State.LIVE:
        raise refuse_over(session)
    return Connection(
        connection=connection,
        side=side,
        owner=claims.wid,
        since_ms=ports.clock.now_ms(),
        deadline_ms=claims.deadline_ms,
        watches=session.sid,
    )


def _with_resume(ports: Ports, connection: str, token: str) -> Connection:
    try:
        sid, side, deadline = ports.routes.unseal(RESUME, token)
        deadline_ms = int(deadline)
    except ValueError as error:
        raise Fault("ticket_invalid", "The resume token is not valid here.", detail=str(error)) from None
    session = ports.store.session(sid)
    if session is None or side not in ("client", "agent"):
        raise Fault("unknown_session", "There is no session of this name.")
    if deadline_ms != session.deadline_ms:
        raise Fault("ticket_invalid", "The resume token is not valid here.")
    return _end(ports, connection, side, session)


def _end(ports: Ports, connection: str, side: str, session: Session) -> Connection:
    now_ms = ports.clock.now_ms()
    if session.state not in _OPEN:
        raise refuse_over(session)
    if now_ms >= session.deadline_ms or (session.state is State.OFFERED and now_ms >= _offer_ends(session)):
        raise Fault("session_expired", "The session's time is over.")
    return Connection(connection=connection, side=side, owner=session.sid, since_ms=now_ms, deadline_ms=session.deadline_ms)


def _offer_ends(session: Session) -> int:
    return tickets.ticket_until_ms(session) + tickets.OFFER_GRACE_MS
