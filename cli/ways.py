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

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli import handing
from cli.control_plane import ControlPlane
from cli.direct_way import dial, pump
from cli.home import Home
from cli.progress import Progress


def carry(home: Home, target: str, login: str, reason: str, only: str, source: int, sink: int) -> None:
    """Open a session and carry its bytes between the descriptors until it ends. ``only`` names the one way to use, or is empty.

    Raises Refusal if policy or the gateway says no, Fault if no way leads to the agent or the way is lost.
    """
    found = _first(home, target, login, reason, only)
    if isinstance(found, Relay):
        from cli import relay_way

        relay_way.carry(found.address, found.ticket, source, sink)
    else:
        pump(found, source, sink)


def hand_over(home: Home, target: str, login: str, reason: str, only: str, receiver: int) -> None:
    """Open a session and pass a socket that leads to it through the socket ``receiver``, as ``ProxyUseFdpass`` asks.

    Raises what ``carry`` raises before there is a socket; what happens later is told on standard error.
    """
    found = _first(home, target, login, reason, only)
    connection = handing.in_background(found.address, found.ticket) if isinstance(found, Relay) else found
    handing.hand(connection, receiver)


class Relay(NamedTuple):
    """The relay is the way: its address, and the ticket that admits to it."""

    address: str
    ticket: str


def _first(home: Home, target: str, login: str, reason: str, only: str) -> Relay | socket.socket:
    """Open a session; return the connection of its first way that works, or the relay."""
    saved = home.login()
    # The relay's libraries take a while to import; the gateway's answer takes a while to come.
    preparing = threading.Thread(target=importlib.import_module, args=("cli.relay_way",), daemon=True)
    if only != "direct":
        preparing.start()
    with Progress(f"Opening a session to {target}"):
        body = api.SessionOpen(target=target, login=login, reason=reason)
        offer = ControlPlane(saved.url, saved.token).post("/sessions", api.SessionOffer, body)
    ways = [way for way in sorted(offer.ways, key=lambda way: way.kind != "direct") if only in ("", way.kind)]
    for way in ways:
        if way.kind == "relay":
            # A process that is about to fork must not have a second thread in the middle of an import.
            if preparing.is_alive():
                preparing.join()
            return Relay(_checked_relay(way.address), offer.ticket)
        connection = dial(way.address, offer.sid)
        if connection is not None:
            return connection
    tried = ", ".join(f"{way.kind} at {way.address}" for way in ways) or f"{only or 'nothing'}, which was not offered"
    raise Fault("agent_offline", f"No way leads to the agent of {target} (tried {tried}).", hint="See: sallyport ls")


def _checked_relay(address: str) -> str:
    """Refuse a relay that would carry the ticket in the clear: ``wss://``, or ``ws://`` on this machine only."""
    from cli.control_plane import checked_url

    scheme, _, rest = address.partition("://")
    if scheme not in ("ws", "wss"):
        raise Fault("bad_request", "The relay's address must begin with wss://.")
    checked_url(f"{'https' if scheme == 'wss' else 'http'}://{rest}", "The relay's address")
    return address
