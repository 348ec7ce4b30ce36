"""What asyncssh keeps of each connection and nobody asks for again, let go once the peer has logged in.

An idle session is two connections, and each has its own copies of the same names of algorithms, of the arguments that it was made
with, and of the messages of a key exchange that is over: a tenth of what the session costs. Names are shared from here on; the
rest goes. The next key exchange brings messages of its own. Used with the versions of asyncssh that were read
(:mod:`agent.protocols.ssh.packets`).
"""

from __future__ import annotations

from typing import Any, Final, cast

from agent.protocols.ssh.leg import Leg
from agent.protocols.ssh.packets import known

#: What a connection calls its lists of names, and what its options call the same.
_NAMES: Final = {
    "_kex_algs": "kex_algs",
    "_enc_algs": "encryption_algs",
    "_mac_algs": "mac_algs",
    "_cmp_algs": "compression_algs",
    "_sig_algs": "signature_algs",
}
#: One list for all connections that have the same names. They are ours, so there are few.
_shared: Final[dict[tuple[bytes, ...], list[bytes]]] = {}


def slim(leg: Leg) -> None:
    """Let go of what ``leg``, whose peer has logged in, needs no more."""
    conn = cast(Any, leg)
    if not known():
        return
    for name, option in _NAMES.items():
        names = list(getattr(conn, name))
        shared = _shared.setdefault(tuple(names), names)
        setattr(conn, name, shared)
        setattr(conn._options, option, shared)
    conn._options.kwargs = {}
    conn._server_sig_algs = set()
    if conn._kex is None and not conn._kexinit_sent:
        conn._client_kexinit = conn._server_kexinit = b""
