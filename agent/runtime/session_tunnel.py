"""The tunnel of one session, as the supervisor uses it: dialled with the agent's proof, bridged to a socket for the plug-in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

from agent.runtime.control_socket import PROOF_PATH, SOCKET_HEADER
from agent.runtime.identity import Identity
from agent.runtime.tunnel import Tunnel
from agent.telemetry import logger
from chalicelib.contracts.faults import Notice

SESSION_HEADER: Final = "X-Sallyport-Session"
WATCH_HEADER: Final = "X-Sallyport-Watch"
#: Seconds that the last bytes of a session may take to reach the tunnel, and its peer's to end.
_TAIL_S: Final = 5.0
_POLL_S: Final = 0.01


class SessionTunnel:
    """Implements ``supervisor.Tunnel``."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._local: socket.socket | None = None

    async def opening(self) -> bytes:
        """Return what the client said first. Raises Fault."""
        return await self._tunnel.opened()

    def socket(self) -> socket.socket:
        """Return the agent's end of the stream."""
        self._local, plugins = socket.socketpair()
        for end in (self._local, plugins):
            end.setblocking(False)
        self._tunnel.join(self._local)
        return plugins

    async def abort(self, notice: Notice) -> None:
        """End the tunnel and tell the client why."""
        await self._tunnel.abort(notice.code, notice.message)

    async def drained(self) -> None:
        """Return when what the plug-in wrote last is in the tunnel and its peer has ended, or does not: closing discards."""
        local = self._local
        if local is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_TAIL_S):
                while local.fileno() >= 0:  # noqa: ASYNC110 - the tunnel owns the socket, and its closing is all that it tells
                    await asyncio.sleep(_POLL_S)


def session_tunnels(identity: Identity) -> Callable[[str], AbstractAsyncContextManager[SessionTunnel]]:
    """Return what opens the agent's end of a session's tunnel, by session identifier."""
    return lambda sid: _opened(identity, sid, {SOCKET_HEADER: "session", SESSION_HEADER: sid})


def watch_tunnels(identity: Identity) -> Callable[[str, str], AbstractAsyncContextManager[SessionTunnel]]:
    """Return what opens the agent's end of a watch's tunnel, by session identifier and the watcher's ticket."""
    return lambda sid, ticket: _opened(identity, sid, {SOCKET_HEADER: "watch", WATCH_HEADER: ticket})


@asynccontextmanager
async def _opened(identity: Identity, sid: str, headers: Mapping[str, str]) -> AsyncIterator[SessionTunnel]:
    async def credentials(resume: str | None) -> Mapping[str, str]:
        # A fresh proof says more than a resume token and cannot have expired, so the token is not used.
        return {"Authorization": identity.proof("GET", PROOF_PATH), **headers}

    told = logger(sid=sid)
    async with Tunnel.connect(identity.trust.websocket_url, credentials, observe=lambda event: told.debug(event)) as tunnel:
        session = SessionTunnel(tunnel)
        yield session
        await session.drained()
