"""Sessions of a test: offered, presented with a ticket, served."""

from __future__ import annotations

import asyncio
from typing import Any

from chalicelib.contracts import relay
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import FakeTunnel, Rig


async def offer(rig: Rig, **changes: Any) -> tuple[str, str, FakeTunnel]:
    """Offer a session to the agent; return its identifier, its ticket and the tunnel that the agent opened."""
    made = rig.control.session()
    ticket = rig.control.ticket(made, **changes)
    rig.supervisor.offered(relay.Offer(made.sid, ticket))
    return made.sid, ticket, await rig.tunnel(made.sid)


async def say(tunnel: FakeTunnel, line: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(tunnel.client, line)
    async with asyncio.timeout(HANG_S):
        return await loop.sock_recv(tunnel.client, 1000)


async def serve_one(rig: Rig) -> tuple[str, FakeTunnel]:
    """A session whose client has presented its ticket and said one line."""
    sid, ticket, tunnel = await offer(rig)
    tunnel.present(ticket)
    assert await say(tunnel, b"hello\n") == b"echo hello\n"
    return sid, tunnel
