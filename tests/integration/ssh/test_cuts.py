"""The short road's reader, with one stream of packets cut anywhere: the same bytes reach the same channels.

Nothing goes over the wire here: what one end would send is handed to the other in pieces, so that thousands of cuts take seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_CHANNEL_REQUEST, MSG_DEBUG, MSG_GLOBAL_REQUEST, MSG_IGNORE
from asyncssh.packet import Boolean, String, UInt32

from tests.integration.ssh.test_packets import GCM, pair

pytestmark = pytest.mark.servers

#: Ways to cut. ``SSH_CUTS=20000`` takes a minute or two.
CUTS = int(os.environ.get("SSH_CUTS", "300"))
SIZES = (1, 3, 4, 5, 15, 16, 17, 20, 21, 36, 100, 1000, 40_000)


class Keeps(asyncssh.SSHServerSession[bytes]):
    """Keeps what it gets, with signals and ends in their places."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def exec_requested(self, command: str) -> bool:
        return True

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.got.append(data)

    def signal_received(self, signal: str) -> None:
        self.got.append(f"<{signal}>".encode())


def packets_of(dice: random.Random, conn: Any, numbers: list[int]) -> list[list[bytes]]:
    """Send a random mixture on channels ``numbers``; return what each should hear."""
    heard: list[list[bytes]] = [[] for _ in numbers]
    for _ in range(dice.randrange(1, 12)):
        at = dice.randrange(len(numbers))
        number, kind = numbers[at], dice.randrange(8)
        if kind == 0:
            conn.send_packet(MSG_IGNORE, String(bytes(dice.randrange(50))))
        elif kind == 1:
            conn.send_packet(MSG_DEBUG, Boolean(False), String("x"), String(""))
        elif kind == 2:
            conn.send_packet(MSG_GLOBAL_REQUEST, String("nothing@example.com"), Boolean(False))
        elif kind == 3:
            conn.send_packet(MSG_CHANNEL_REQUEST, UInt32(number), String("signal"), Boolean(False), String("HUP"))
            heard[at].append(b"<HUP>")
        elif kind == 4:
            conn.send_packet(93, UInt32(number), UInt32(dice.randrange(1000)))
        else:
            data = dice.randbytes(dice.choice((0, 1, 5, 11, 16, 100, 3000)))
            conn.send_packet(94, UInt32(number), String(data))
            heard[at].append(data)
    return heard


@pytest.mark.parametrize("part", range(3))
async def test_the_cuts_do_not_matter(part: int) -> None:
    dice = random.Random(part)
    sessions: list[Keeps] = []

    def keeps() -> Keeps:
        sessions.append(Keeps())
        return sessions[-1]

    async with pair(server=True, client=False, **GCM) as (conn, far):
        far.session_requested = lambda: (far.conn.create_server_channel(encoding=None, window=1 << 31), keeps())  # type: ignore[method-assign]
        channels: list[Any] = [(await conn.create_session(asyncssh.SSHClientSession, "x", encoding=None))[0] for _ in range(2)]
        numbers = [each._send_chan for each in channels]
        wire: list[bytes] = []
        near: Any = conn
        near._send = wire.append
        for cut in range(CUTS // 3):
            heard = packets_of(dice, near, numbers)
            stream = b"".join(wire)
            wire.clear()
            at = 0
            while at < len(stream):
                size = dice.choice(SIZES)
                far.conn.data_received(stream[at : at + size])
                at += size
                if dice.random() < 0.05:
                    await asyncio.sleep(0)
            while far.conn._inpbuf or far.conn._resting:  # type: ignore[attr-defined] # noqa: ASYNC110 - turns of this loop
                await asyncio.sleep(0)
            assert not far.lost, (cut, far.lost)
            for session, expected in zip(sessions, heard, strict=True):
                assert b"".join(session.got) == b"".join(expected), cut
                session.got.clear()
