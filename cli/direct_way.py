"""The direct way: plain TCP to the agent's own listener, where the network allows it.

The preamble names the session; who we are is proved inside, by SSH itself. Bytes are pumped by two threads that block, because
nothing has less latency, and a slow reader stops the writer at the other end by not reading.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import Final

from chalicelib.contracts.faults import Fault

#: How long a direct connection may take before the relay is used, in seconds.
DIAL_S: Final = 0.3
_READ: Final = 256 * 1024


def preamble(sid: str) -> bytes:
    """Return the first line on a direct connection."""
    return f"SALLYPORT/1 {sid}\n".encode("ascii")


def dial(address: str, sid: str, timeout_s: float = DIAL_S) -> socket.socket | None:
    """Return a connection to ``host:port`` on which the session is already named, or None if there is no way through."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)
    except (OSError, ValueError, OverflowError):
        return None
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(preamble(sid))
        connection.settimeout(None)
    except OSError:
        connection.close()
        return None
    return connection


def pump(connection: socket.socket, source: int, sink: int) -> None:
    """Copy bytes between ``connection`` and the descriptors ``source`` and ``sink`` until the other side ends.

    The end of ``source`` is passed on. Raises Fault(tunnel_lost) if the connection breaks. Closes the connection.
    """
    upward = threading.Thread(target=_upward, args=(source, connection), name="upward", daemon=True)
    upward.start()
    try:
        while data := connection.recv(_READ):
            write_all(sink, data)
    except BrokenPipeError:
        return  # whoever started us has gone, and knows why
    except OSError as error:
        raise Fault("tunnel_lost", f"The connection to the agent broke: {error.strerror}.") from None
    finally:
        connection.close()


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte of ``data``."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _upward(source: int, connection: socket.socket) -> None:
    # Whatever ends this direction is seen and told by the other one.
    with contextlib.suppress(OSError):
        while data := os.read(source, _READ):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
