"""``$default``: one message of a socket that is open.

A frame costs no table read: its sealed route names the sender's own connection, the peer's, the session's end and the link's
generation, and only this gateway can seal one. The frame's text is put into a new envelope and never looked into.
"""

from __future__ import annotations

from chalicelib.contracts import relay
from chalicelib.contracts.session import OVER, State
from chalicelib.domain import tickets
from chalicelib.ports import Connection, Link, Ports
from chalicelib.usecases.connect_socket import RESUME

ROUTE = "route"
#: How long a handshake may take: API Gateway gives a $connect 29 s.
OPENING_MS = 30_000
#: How many sessions one heartbeat may name; an agent with more sends more heartbeats.
LIVE_LIMIT = 2_000


def relay_frame(ports: Ports, sender: str, text: str | bytes) -> None:
    """Do what the message asks for. Its sender's mistakes are answered on the socket and never raised."""
    try:
        message = relay.decode_upward(text)
    except relay.UnknownMessage:
        return  # a newer client's word, not an error
    except relay.RelayFault as fault:
        _refuse(ports, sender, fault.code, f"{str(fault).capitalize()}.")
        return
    match message:
        case relay.Data():
            _carry(ports, sender, message)
        case relay.Hello():
            _introduce(ports, sender)
        case relay.Beat():
            _beat(ports, sender, message)


def _carry(ports: Ports, sender: str, data: relay.Data) -> None:
    try:
        owner, peer, generation, until_ms = ports.routes.unseal(ROUTE, data.r)
    except ValueError:
        _refuse(ports, sender, "route_invalid", "The route was not made by this gateway.")
        return
    if owner != sender:
        _refuse(ports, sender, "route_invalid", "The route belongs to another connection.")
    elif ports.clock.now_ms() > int(until_ms):
        _refuse(ports, sender, "session_ended", "The session's time is over.")
    elif not ports.downlink.post(peer, relay.deliver(data)):
        ports.downlink.post(sender, relay.encode(relay.Lost("tunnel_lost", int(generation))))


def _introduce(ports: Ports, sender: str) -> None:
    me = ports.store.connection(sender)
    if me is None or me.side not in ("client", "agent"):
        _refuse(ports, sender, "route_invalid", "This connection is not an end of a session.")
        return
    link = ports.store.link(me.owner)
    mine, peer = (link.client, link.agent) if me.side == "client" else (link.agent, link.client)
    if mine != sender:
        _refuse(ports, sender, "route_invalid", "A newer connection of this session has taken the place of this one.")
    elif not peer:
        _peer_is_missing(ports, me)
    elif _post_route(ports, me, peer, link):
        _post_route(ports, _reverse(me, peer), sender, link)


def _post_route(ports: Ports, end: Connection, peer: str, link: Link) -> bool:
    """Tell ``end`` the way to ``peer``; False if ``end`` itself is gone."""
    until_ms = end.deadline_ms + tickets.DEADLINE_GRACE_MS
    route = relay.Route(
        r=ports.routes.seal(ROUTE, end.connection, peer, str(link.generation), str(until_ms)),
        resume=ports.routes.seal(RESUME, end.owner, end.side, str(end.deadline_ms)),
        gen=link.generation,
    )
    if ports.downlink.post(end.connection, relay.encode(route)):
        return True
    known = ports.store.connection(end.connection)
    # API Gateway calls a socket gone until its $connect is over, so a young one may only be opening.
    if known is not None and ports.clock.now_ms() - known.since_ms > OPENING_MS:
        ports.store.connection_closed(end.connection)
    return False


def _reverse(me: Connection, peer: str) -> Connection:
    side = "agent" if me.side == "client" else "client"
    return Connection(connection=peer, side=side, owner=me.owner, since_ms=me.since_ms, deadline_ms=me.deadline_ms)


def _peer_is_missing(ports: Ports, me: Connection) -> None:
    if me.side != "client":
        return
    session = ports.store.session(me.watches or me.owner)
    if session is not None and session.state in OVER:
        # It ended between this end's $connect and its first word, and nobody will ever come.
        ports.downlink.post(me.connection, relay.encode(relay.Refused("session_ended", "The session is over.")))
        return
    if session is not None and session.state is State.OFFERED and ports.clock.now_ms() >= tickets.ticket_until_ms(session):
        # Its agent died before it claimed the session, and what is left of the ticket brings no other.
        _refuse(ports, me.connection, "session_expired", "No agent took this session in time.")
        return
    # An offer can be lost: posts are not acknowledged, and the agent's control socket may have been changing.
    if not me.ticket or ports.clock.now_ms() >= me.ticket_until_ms:
        return
    agent = ports.store.agent_named(session.agent) if session else None
    order = relay.Watch(me.watches, me.ticket) if me.watches else relay.Offer(me.owner, me.ticket)
    if agent is None or not agent.connection:
        ports.downlink.post(me.connection, relay.encode(relay.Lost("agent_offline")))
    elif not ports.downlink.post(agent.connection, relay.encode(order)):
        ports.store.connection_closed(agent.connection)
        ports.downlink.post(me.connection, relay.encode(relay.Lost("agent_offline")))


def _beat(ports: Ports, sender: str, beat: relay.Beat) -> None:
    if beat.live is None:
        # Without a list it only keeps the socket open: API Gateway ends one that is silent for ten minutes.
        return
    me = ports.store.connection(sender)
    if me is not None and me.side == "control":
        ports.store.agent_seen(me.owner, ports.clock.now_ms(), beat.live[:LIVE_LIMIT], beat.refuses)


def _refuse(ports: Ports, connection: str, code: str, message: str) -> None:
    ports.downlink.post(connection, relay.encode(relay.Refused(code, message)))
