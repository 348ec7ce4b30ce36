"""``$disconnect``: forget a socket. API Gateway tells us at its best, not always, so nothing relies on it alone."""

from __future__ import annotations

from chalicelib.contracts import relay
from chalicelib.ports import Connection, Ports


def close_socket(ports: Ports, connection: str) -> Connection | None:
    """Clear the end that this socket still is, and tell the other end, so that it does not wait for a frame to fail."""
    closed = ports.store.connection_closed(connection)
    if closed is None or closed.side in ("control", "waiting"):
        return closed
    link = ports.store.link(closed.owner)
    peer = link.agent if closed.side == "client" else link.client
    mine = link.client if closed.side == "client" else link.agent
    if peer and not mine:
        # The link has moved on by this very end; the route that failed is the one before.
        ports.downlink.post(peer, relay.encode(relay.Lost("tunnel_lost", link.generation - 1)))
    return closed
