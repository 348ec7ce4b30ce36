"""Ports for servers that are told theirs before they listen.

One that the system gives to whoever asks for any port may be given to somebody else before its server is up, which takes seconds
for a database. So it is one that the system gives to nobody.
"""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Below the smallest stand services that a machine may have; what is above the largest, Linux gives away unless told otherwise.
_LEAST: Final = 10_000
_MOST: Final = 32_767
_TRIES: Final = 1_000


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment. Raises RuntimeError where there is none."""
    least, most = _bounds()
    for _ in range(_TRIES):
        port = least + secrets.randbelow(most - least + 1)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port from {least} to {most} is free")


def _bounds() -> tuple[int, int]:
    try:
        first, last = (int(word) for word in _RANGE.read_text().split())
    except (OSError, ValueError):
        return _LEAST, _MOST
    # Where a machine gives away nearly all of them, any is as good as another.
    outside = [(_LEAST, min(first - 1, 65_535)), (max(last + 1, _LEAST), 65_535)]
    return max([*outside, (_LEAST, _LEAST + 999)], key=lambda each: each[1] - each[0])
