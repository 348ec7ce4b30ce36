"""How a connection to an agent is ended by the one who began it."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def close(writer: asyncio.StreamWriter, within_s: float) -> None:
    """End the connection so that the agent sees it end, and not break. That may take ``within_s`` to reach it."""
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(within_s):
            await writer.wait_closed()
    # A transport with TLS that was closed twice has nothing left to end, over which Python 3.11.2 (Debian 12) stumbles.
    with suppress(AttributeError):
        writer.transport.abort()
