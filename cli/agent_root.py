"""The root under which an agent meets native clients: asked for on a connection of its own, from the agent that is known."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from chalicelib.contracts.faults import Fault
from cli import postgres_wire as wire
from cli.agent_trust import check_agent, native_root
from cli.direct_way import dial
from cli.home import Home
from cli.moments import now_ms

#: Seconds until the agent must have taken the connection, and until it must have answered.
_DIAL_S: Final = 3.0
_ANSWER_S: Final = 15.0


def fetch_root(home: Home, address: str, sid: str, alias: str) -> bytes | None:
    """Return the root, in PEM, of the agent at ``address`` that serves ``sid``; nothing where its operator gave it a certificate.

    None where it cannot be reached from here. Raises Fault(agent_unverified) where somebody else answers, and login_required.

    The session is named, because to whoever names none the agent shows what it shows to native clients.
    """
    trust = home.trust()
    if trust is None:
        raise Fault("login_required", "You are not logged in.", hint="Run: sallyport login")
    connection = dial(address, sid, _DIAL_S)
    if connection is None:
        return None
    with connection:
        try:
            shown = _shown(connection)
        except OSError:
            return None
    check_agent(shown, trust.ssh_ca, alias, now_ms())
    return native_root(shown or b"")


def _shown(connection: socket.socket) -> bytes | None:
    """Return the certificate that whoever is there shows in TLS, and has the key of. Raises OSError."""
    connection.settimeout(_ANSWER_S)
    connection.sendall(wire.SSL_REQUEST)
    if connection.recv(1) != b"S":
        raise Fault("agent_unverified", "What answers for the agent does not speak TLS.", hint="Nothing was sent to it.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No public authority vouches for an agent; the gateway's own does, in the next step.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connection) as secured:
        return secured.getpeercert(binary_form=True)
