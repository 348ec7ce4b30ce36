"""The way to a session that goes on: the relay's tunnel, TLS with the agent inside, and the agent's messages.

The ticket admits every socket of the watch and opens the stream. What comes is read only once the agent's key is the one that the
gateway's SSH CA vouches for; nothing is ever sent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final

from agent.runtime.tunnel import Tunnel, TunnelError, bridge
from chalicelib.contracts import watching
from chalicelib.contracts.api_live import WatchOffer
from chalicelib.contracts.faults import CODES, Fault
from chalicelib.contracts.watching import WATCH_MESSAGE_LIMIT, Over, Sight, WatchFault
from cli.agent_trust import check_agent
from cli.goodbye import close
from cli.moments import now_ms
from cli.ways import checked_relay

#: Seconds until the agent must have come, shown its key and begun.
_OPENING_S: Final = 30.0
#: Seconds that the end of a watch may take to reach the agent.
_GOODBYE_S: Final = 1.0
#: Seconds that the reason for a lost tunnel may be behind its end.
_REASON_S: Final = 0.5


def follow(offer: WatchOffer, ssh_ca: str, show: Callable[[Sight], None]) -> Over:
    """Have ``show`` called with everything that the agent sends, until the watch is over. Returns how it ended.

    Raises Fault: the agent's or the relay's own reason, ``agent_unverified``, ``tunnel_lost``; KeyboardInterrupt.
    """
    try:
        return asyncio.run(_follow(offer, ssh_ca, show))
    except TunnelError as error:
        # What the relay or the agent gave as its reason says more than that the tunnel ended.
        raise Fault(error.reason if error.reason in CODES else error.code, error.message) from None


async def _follow(offer: WatchOffer, ssh_ca: str, show: Callable[[Sight], None]) -> Over:
    async def credentials(resume: str | None) -> Mapping[str, str]:
        # A watch is not resumed: once its ticket has expired, whoever still wants to look asks again.
        return {"Authorization": f"Bearer {offer.ticket}", "X-Sallyport-Socket": "watch"}

    tunnels = Tunnel.connect(checked_relay(offer.url), credentials, opening=offer.ticket.encode("ascii"))
    try:
        async with asyncio.timeout(_OPENING_S) as opening, tunnels as tunnel:
            async with aclosing(_sights(tunnel, ssh_ca, offer.host_alias)) as sights:
                async for sight in sights:
                    opening.reschedule(None)
                    if isinstance(sight, Over):
                        return sight
                    show(sight)
            await _reason(tunnel)
    except TimeoutError:
        raise Fault("handshake_timeout", "The agent did not begin in time.", hint="Is it of this version?") from None
    raise Fault("tunnel_lost", "The agent ended the watch without a word.")


async def _reason(tunnel: Tunnel) -> None:
    """Raise the agent's or the relay's own reason, where there is one."""
    try:
        async with asyncio.timeout(_REASON_S):
            await tunnel.read()
    except TimeoutError:
        return


async def _sights(tunnel: Tunnel, ssh_ca: str, alias: str) -> AsyncGenerator[Sight, None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No public authority vouches for an agent; the gateway's own does, in the next step.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = await bridge(tunnel)
    reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname=alias, limit=WATCH_MESSAGE_LIMIT)
    try:
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        check_agent(shown, ssh_ca, alias, now_ms())
        while line := await _line(reader):
            try:
                yield watching.decode(line)
            except WatchFault as fault:
                raise Fault("protocol_error", "The agent sent something that is no part of a watch.", detail=str(fault)) from None
    finally:
        await close(writer, _GOODBYE_S)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except OSError:  # it broke; why is the tunnel's to tell
        return b""
    except ValueError:  # longer than the reader's limit
        raise Fault("protocol_error", "The agent sent a message that is too long.") from None
