"""One socket of a tunnel: what it is set to, when it is given up, and the pauses before the next."""

from __future__ import annotations

import asyncio
import socket

import pytest
from websockets.exceptions import ConnectionClosed

from agent.runtime import carrier as carriers
from agent.runtime.tunnel import Timing
from chalicelib.contracts import relay
from tests.patience import HANG_S
from tests.unit.agent.runtime.relay_server import SIDE, relay_server
from tests.unit.agent.runtime.tunnel_ends import QUICK


async def talk_for_ever(carrier: carriers.Carrier) -> None:
    while True:
        await carrier.say(relay.Data("route", "A" * 100_000))


async def test_a_socket_that_takes_no_more_is_given_up() -> None:
    async with relay_server() as server, asyncio.timeout(HANG_S):
        carrier = await carriers.dial(server.url, {SIDE: "client"}, Timing(stall=0.2))
        await server.until(lambda: server.open_sockets == 1)
        server.mute.add(server.ends["client"].newest)
        server.choke("client")
        with pytest.raises(ConnectionClosed):
            await talk_for_ever(carrier)
        assert carrier.worn.is_set()
        await carrier._connection.wait_closed()


def test_pauses_double_up_to_a_bound() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(carriers.next_pause(pauses[-1], Timing(first_pause=0.2, last_pause=5.0)))
    assert pauses[1:] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert all(0.5 <= carriers.jittered(1.0) <= 1.0 for _ in range(100))


async def test_the_socket_sends_small_segments_at_once_and_notices_a_dead_link() -> None:
    async with relay_server() as server:
        carrier = await carriers.dial(server.url, {SIDE: "client"}, QUICK)
        sock = carrier._connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await carrier.close()
