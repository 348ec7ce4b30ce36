"""The tunnel's driver against a relay on loopback: what arrives, in order and whole, and who waits for whom."""

from __future__ import annotations

import asyncio

import pytest

from agent.runtime.tunnel import Limits, Tunnel
from chalicelib.contracts import relay
from chalicelib.contracts.tunnel import INITIAL_CREDIT
from tests.patience import HANG_S
from tests.unit.agent.runtime.relay_server import Day, relay_server
from tests.unit.agent.runtime.tunnel_ends import blob, converse, read_all


@pytest.mark.parametrize(
    "day",
    [
        Day(),
        Day(jitter=0.03),
        Day(jitter=0.02, lose_every=20),
        Day(jitter=0.01, kill_every=13),
        Day(jitter=0.02, lose_every=25, kill_every=11),
    ],
    ids=["a good day", "jitter", "loss", "dying sockets", "all of it"],
)
async def test_bytes_arrive_equal_both_ways(day: Day) -> None:
    there, back = blob(2_000_000), blob(700_000, 8)

    async def talk(tunnel: Tunnel, data: bytes) -> bytes:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read_all(tunnel))
            await tunnel.write(data)
            tunnel.write_eof()
        return reading.result()

    async with relay_server(day) as server:
        got_back, got_there = await converse(server, lambda t: talk(t, there), lambda t: talk(t, back))
        assert got_there == there
        assert got_back == back
        assert max(server.relayed) > relay.FRAGMENT_LIMIT, "bulk is coalesced into fragmented messages"
        if day.kill_every:
            assert server.ends["client"].connections + server.ends["agent"].connections > 2
        assert bool(server.lost) == bool(day.lose_every)


async def test_the_opening_payloads_are_exchanged() -> None:
    async with relay_server() as server:
        assert await converse(server, Tunnel.opened, Tunnel.opened) == (b"opening of agent", b"opening of client")


async def test_a_keystroke_waits_for_no_timer() -> None:
    # Every timer of the stream is longer than the test's patience, so that waiting for one fails it.
    limits = Limits(ack_delay=50, initial_rto=50, min_rto=50, max_rto=50)

    async def type_keys(tunnel: Tunnel) -> bytes:
        echo = b""
        for key in b"ls -l\r":
            await tunnel.write(bytes([key]))
            echo += await tunnel.read()
        return echo

    async def echo_keys(tunnel: Tunnel) -> None:
        while data := await tunnel.read():
            await tunnel.write(data)

    async with relay_server() as server, asyncio.timeout(HANG_S):
        echo, _ = await converse(server, type_keys, echo_keys, limits=limits)
    assert echo == b"ls -l\r"


async def test_a_slow_reader_holds_the_writer() -> None:
    limits = Limits(window=INITIAL_CREDIT, send_buffer=50_000, payload=10_000)
    data = blob(1_000_000)
    progress = {"written": 0, "read": 0}
    bound = limits.window + limits.send_buffer + limits.max_in_flight * limits.payload

    async def write(tunnel: Tunnel) -> None:
        for at in range(0, len(data), 1_000):
            await tunnel.write(data[at : at + 1_000])
            progress["written"] = at + 1_000
            assert progress["written"] - progress["read"] <= bound

    async def read_slowly(tunnel: Tunnel) -> bytes:
        got = b""
        while part := await tunnel.read():
            got += part
            progress["read"] = len(got)
            await asyncio.sleep(0)
        return got

    async with relay_server() as server:
        _, got = await converse(server, write, read_slowly, limits=limits)
    assert got == data
