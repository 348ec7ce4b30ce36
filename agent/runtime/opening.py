"""Which protocol a client speaks that came to the listener's one port: told from the first bytes that it sends.

One address is announced, and one port is opened in a firewall; the protocols take turns on it because their first bytes differ:

    SSH-2.0-…                             ssh (RFC 4253 §4.2)
    00 00 LL LL 04 D2 16 2F  and its kin  PostgreSQL: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage
    16 03 …                               TLS; its ALPN names the protocol inside (RFC 7301)
    nothing                               a client that waits for its server to speak first: ``silent`` names its protocol

Bytes are only looked at. Each plug-in recognises its own clients, and what nobody recognises is closed without an answer. Who
named a session speaks the protocol of that session's target; where its offer is here already, the client's bytes are not awaited.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from agent.runtime.listener import SILENCE_S, peek
from agent.runtime.serving import More, Plugin, plugin_named

#: Bytes that are looked at: the largest TLS record, which a ClientHello with post-quantum keys fills to an eighth.
LOOK: Final = 5 + 16 * 1024
#: Seconds that a client may take to send enough of its first message.
OPENING_S: Final = 5.0


def recognise(plugins: Sequence[Plugin], first: bytes) -> Plugin | More | None:
    """Return the plug-in of a client that begins with ``first``, how much is needed to tell, or None where nobody knows it."""
    least = 0
    for plugin in plugins:
        found = plugin.recognise(first)
        if found is True:
            return plugin
        if isinstance(found, More):
            least = found.least if not least else min(least, found.least)
    return More(least) if len(first) < least <= LOOK else None


async def plugin_for(
    plugins: Sequence[Plugin], connection: socket.socket, silent: str, silence_s: float = SILENCE_S
) -> Plugin | None:
    """Return the plug-in of the client behind ``connection``, or None. A client that says nothing speaks ``silent``."""
    try:
        async with asyncio.timeout(silence_s):
            first = await peek(connection, 1, LOOK)
    except TimeoutError:
        return plugin_named(plugins, silent)
    try:
        async with asyncio.timeout(OPENING_S):
            while first and isinstance(found := recognise(plugins, first), More):
                longer = await peek(connection, found.least, LOOK)
                if len(longer) <= len(first):
                    return None  # the client closed its side in the middle of its first message
                first = longer
    except TimeoutError:
        return None
    return found if first and not isinstance(found, More) else None
