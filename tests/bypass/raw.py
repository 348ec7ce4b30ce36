"""A native client's channel without asyncssh's manners: any request, in any order, with any bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh
from asyncssh.channel import SSHClientChannel

from tests.patience import HANG_S


class Heard(asyncssh.SSHClientSession[bytes]):
    """A client that keeps what it is told."""

    def __init__(self) -> None:
        self.text = b""
        self.lost: Exception | None = None

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.text += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc


async def raw_channel(conn: asyncssh.SSHClientConnection) -> tuple[Any, Heard]:
    """Open a session channel on which nothing was asked for yet."""
    heard = Heard()
    chan: Any = SSHClientChannel(conn, asyncio.get_running_loop(), "strict", None, "strict", 1 << 21, 1 << 15)
    await chan._open(b"session")
    chan._session = heard
    heard.connection_made(chan)
    return chan, heard


async def ask(conn: asyncssh.SSHClientConnection, kind: bytes, *parts: bytes) -> tuple[int | None, bytes]:
    """Open a channel, make one raw request that starts a program, and return exit status and all that was said."""
    chan, heard = await raw_channel(conn)
    if not await chan._make_request(kind, *parts):
        chan.close()
        return None, heard.text
    chan.resume_reading()
    async with asyncio.timeout(HANG_S):
        await chan.wait_closed()
    return chan.get_exit_status(), heard.text
