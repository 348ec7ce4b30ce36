"""Packets of one byte on a forwarded port: turns and packets are counted, and no time is taken."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from asyncssh.constants import MSG_CHANNEL_DATA

from agent.protocols.ssh import packets
from tests.integration.ssh.conftest import Gateway
from tests.integration.ssh.forwarded_ports import Echo, echo, forwarding
from tests.integration.ssh.test_forwarding import connect

pytestmark = pytest.mark.servers
__all__ = ["echo", "forwarding"]

CRUMBS = 1000


class Turns:
    """Counts turns of the loop, and packets of data in each: those that came from the client, and those sent to either side."""

    def __init__(self) -> None:
        self.count = 0
        self.packets: Counter[tuple[str, int]] = Counter()

    def begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.count += 1
        self._next = self._loop.call_soon(self._turn)

    def end(self) -> None:
        self._next.cancel()

    def most(self, where: str) -> int:
        """Return the most packets ``where`` in one turn."""
        return max(count for (there, _), count in self.packets.items() if there == where)


def watch(leg: Any, counted: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    send, send_data, taken = leg.send_packet, leg.send_data, leg._take

    def sent(conn: Any) -> None:
        counted.packets["to the client" if conn.is_server() else "to the target", counted.count] += 1

    def send_any(conn: Any, kind: int, *parts: bytes, handler: Any = None) -> None:
        if kind == MSG_CHANNEL_DATA:
            sent(conn)
        send(conn, kind, *parts, handler=handler)

    def send_little(conn: Any, *said: Any) -> None:
        # What cannot be sent in few steps is sent as any packet.
        before = counted.packets.total()
        send_data(conn, *said)
        if counted.packets.total() == before:
            sent(conn)

    def take(conn: Any, packet: bytes) -> bool:
        if packet[1] == MSG_CHANNEL_DATA and conn.is_server():
            counted.packets["from the client", counted.count] += 1
        return bool(taken(conn, packet))

    monkeypatch.setattr(leg, "send_packet", send_any)
    monkeypatch.setattr(leg, "send_data", send_little)
    monkeypatch.setattr(leg, "_take", take)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    counted = Turns()
    for leg in (packets._QuickServer, packets._QuickClient):
        watch(leg, counted, monkeypatch)
    return counted


async def crumbs(gateway: Gateway, echo: Echo, turns: Turns) -> None:
    """Have crumbs echoed through a forwarded port."""
    async with connect(gateway) as conn:
        reader, writer = await conn.open_connection("127.0.0.1", echo.port)
        turns.begin()
        for _ in range(CRUMBS):
            writer.write(b"c")
        writer.write_eof()
        assert await reader.read() == b"c" * CRUMBS + b"bye"
        turns.end()


async def test_others_have_their_turn(forwarding: Gateway, echo: Echo, turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "TURN_S", 0.0)
    await crumbs(forwarding, echo, turns)
    assert turns.most("from the client") == 1


async def test_crumbs_of_one_turn_are_one_packet(
    forwarding: Gateway, echo: Echo, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packets, "TURN_S", 60.0)
    await crumbs(forwarding, echo, turns)
    # And one more where the end follows in the next turn at once.
    assert turns.most("to the target") <= 2
    assert turns.most("to the client") <= 2
