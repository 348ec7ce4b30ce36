"""From a target's name to moving bytes: ask for a session, then try its ways, best first."""

from __future__ import annotations

import importlib
import threading

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli.control_plane import ControlPlane
from cli.direct_way import dial, pump
from cli.home import Home
from cli.progress import Progress


def carry(home: Home, target: str, login: str, reason: str, only: str, source: int, sink: int) -> None:
    """Open a session and carry its bytes between the descriptors until it ends. ``only`` names the one way to use, or is empty.

    Raises Refusal if policy or the gateway says no, Fault if no way leads to the agent or the way is lost.
    """
    saved = home.login()
    if only != "direct":
        # The relay's libraries take a while to import; the gateway's answer takes a while to come.
        threading.Thread(target=importlib.import_module, args=("cli.relay_way",), daemon=True).start()
    with Progress(f"Opening a session to {target}"):
        body = api.SessionOpen(target=target, login=login, reason=reason)
        offer = ControlPlane(saved.url, saved.token).post("/sessions", api.SessionOffer, body)
    ways = [way for way in sorted(offer.ways, key=lambda way: way.kind != "direct") if only in ("", way.kind)]
    for way in ways:
        if way.kind == "relay":
            from cli import relay_way

            relay_way.carry(_checked_relay(way.address), offer.ticket, source, sink)
            return
        connection = dial(way.address, offer.sid)
        if connection is not None:
            pump(connection, source, sink)
            return
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
