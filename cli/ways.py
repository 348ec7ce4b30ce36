"""From a target's name to moving bytes: ask for a session, then try its ways, best first.

ssh takes the bytes in one of two manners. With ``ProxyUseFdpass`` it is *handed* a connected socket and talks to the agent
itself, without a process of ours in between; for the relay that socket leads to a process in the background. Every other
client gets them on standard input and output.
"""

from __future__ import annotations

import importlib
import socket
import threading
from typing import NamedTuple

import msgspec

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli import handing
from cli.control_plane import ControlPlane, Refusal
from cli.direct_way import dial, pump
from cli.home import Home
from cli.patience import Patience
from cli.progress import Progress


def carry(home: Home, target: str, login: str, reason: str, only: str, source: int, sink: int) -> None:
    """Open a session and carry its bytes between the descriptors until it ends. ``only`` names the one way to use, or is empty.

    Raises Refusal if policy or the gateway says no, Fault if no way leads to the agent or the way is lost.
    """
    with Progress(f"Opening a session to {target}"):
        found = first(home, target, login, reason, only)
    if found.connection is None:
        from cli import relay_way

        relay_way.carry(found.address, found.ticket, source, sink)
    else:
        pump(found.connection, source, sink)


def hand_over(home: Home, target: str, login: str, reason: str, only: str, receiver: int) -> None:
    """Open a session and pass a socket that leads to it through the socket ``receiver``, as ``ProxyUseFdpass`` asks.

    Raises what ``carry`` raises before there is a socket; what happens later is told on standard error.
    """
    with Progress(f"Opening a session to {target}"):
        found = first(home, target, login, reason, only)
    connection = found.connection or handing.in_background(found.address, found.ticket)
    handing.hand(connection, receiver)


class Opened(NamedTuple):
    """A session and its first way that works: a direct connection on which the session is named already, or the relay."""

    sid: str
    ticket: str
    address: str
    """``host:port`` of the agent, or the relay's URL."""
    connection: socket.socket | None = None
    """None through the relay."""


def first(home: Home, target: str, login: str, reason: str, only: str, patience: Patience | None = None) -> Opened:
    """Open a session and find its way; others are waited for as long as ``patience`` lasts.

    Raises Refusal if policy or the gateway says no, Fault if no way leads to the agent.
    """
    # The relay's libraries take a while to import; the gateway's answer takes a while to come.
    preparing = threading.Thread(target=importlib.import_module, args=("cli.relay_way",), daemon=True)
    if only != "direct":
        preparing.start()
    offer = offered(home, target, login, reason, patience)
    ways = [way for way in sorted(offer.ways, key=lambda way: way.kind != "direct") if only in ("", way.kind)]
    for way in ways:
        if way.kind == "relay":
            # A process that is about to fork must not have a second thread in the middle of an import.
            if preparing.is_alive():
                preparing.join()
            return Opened(offer.sid, offer.ticket, checked_relay(way.address))
        connection = dial(way.address, offer.sid)
        if connection is not None:
            return Opened(offer.sid, offer.ticket, way.address, connection)
    tried = ", ".join(f"{way.kind} at {way.address}" for way in ways) or f"{only or 'nothing'}, which was not offered"
    raise Fault("agent_offline", f"No way leads to the agent of {target} (tried {tried}).", hint="See: sallyport ls")


def offered(home: Home, target: str, login: str, reason: str, patience: Patience | None = None) -> api.SessionOffer:
    """Open a session, after others have agreed where policy asks them first. Raises Refusal or Fault for every no."""
    saved = home.login()
    plane = ControlPlane(saved.url, saved.token)
    body = api.SessionOpen(target=target, login=login, reason=reason)
    try:
        return plane.post("/sessions", api.SessionOffer, body)
    except Refusal as refusal:
        if refusal.notice.code != "approval_required":
            raise
    from chalicelib.contracts.api_requests import AccessAsk
    from cli import asking

    granted = asking.agreed(saved, AccessAsk(target=target, login=login, reason=reason), patience)
    return plane.post("/sessions", api.SessionOffer, msgspec.structs.replace(body, approval=granted.rid))


def checked_relay(address: str) -> str:
    """Refuse a relay that would carry the ticket in the clear: ``wss://``, or ``ws://`` on this machine only."""
    from cli.control_plane import checked_url

    scheme, _, rest = address.partition("://")
    if scheme not in ("ws", "wss"):
        raise Fault("bad_request", "The relay's address must begin with wss://.")
    checked_url(f"{'https' if scheme == 'wss' else 'http'}://{rest}", "The relay's address")
    return address
