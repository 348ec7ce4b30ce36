"""Handing ssh a connected socket instead of carrying its bytes (ssh_config(5), ``ProxyUseFdpass``).

ssh starts us with a Unix socket as standard output and waits until we have passed a descriptor through it and exited. For a
direct connection that is all: nothing of ours is left on the path. For the relay a process stays in the background, in a
session of its own so that Ctrl-C is ssh's alone to deal with, and ends when either side does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys

from chalicelib.contracts.faults import Fault


def can_receive(descriptor: int) -> bool:
    """Tell whether ``descriptor`` is a Unix socket, through which a descriptor can be passed."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return False
    with socket.socket(fileno=os.dup(descriptor)) as end:
        return end.family == socket.AF_UNIX


def hand(connection: socket.socket, receiver: int) -> None:
    """Pass ``connection`` on and let go of it. Raises Fault(tunnel_lost) if nobody is there to take it."""
    with connection, socket.socket(fileno=os.dup(receiver)) as end:
        try:
            socket.send_fds(end, [b"\0"], [connection.fileno()])
        except OSError as error:
            raise Fault("tunnel_lost", f"ssh did not take the connection: {error.strerror}.") from None


def hang_up(receiver: int) -> None:
    """Pass on a connection that is over. Without one, ssh complains of its own insides (``mm_receive_fd``) below our words."""
    ours, theirs = socket.socketpair()
    theirs.close()
    # One that was passed on before is the one that ssh has taken; then nobody reads this.
    with contextlib.suppress(Fault):
        hand(ours, receiver)


def in_background(address: str, ticket: str) -> socket.socket:
    """Return a socket whose other end a new process carries through the relay at ``address``."""
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        status = _carry(address, ticket, theirs)
    finally:
        # Never back into the code that was forked: what follows there belongs to the other process.
        os._exit(status)


def _carry(address: str, ticket: str, end: socket.socket) -> int:
    from cli import relay_way
    from cli.__main__ import explain

    try:
        relay_way.carry(address, ticket, end.fileno(), end.fileno())
    except Exception as error:  # noqa: BLE001 - the one catch-all of this process, which main never comes back to
        status = explain(error)
        sys.stderr.flush()
        return status
    return 0
