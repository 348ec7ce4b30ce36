"""What the tunnel's driver makes of the relay's words, and of sockets that are replaced, die, or swallow what they are given."""

from __future__ import annotations

import asyncio
import hashlib

from agent.runtime.tunnel import Limits, Timing, Tunnel
from tests.patience import HANG_S
from tests.unit.agent.runtime.relay_server import Day, relay_server
from tests.unit.agent.runtime.tunnel_ends import Notes, answer_with_hash, ask, blob, converse, read_all, wait_for_end


async def test_a_carrier_is_replaced_before_it_breaks() -> None:
    data = blob(2_000_000)
    observed: dict[str, Notes] = {}
    seen_by: dict[str, list[str]] = {}  # before either end thinks of closing
    timing = Timing(max_age=0.15, drain=30, first_pause=0.01, last_pause=0.05)

    async def ask_for_long(tunnel: Tunnel) -> bytes:
        for at in range(0, len(data), 100_000):
            await tunnel.write(data[at : at + 100_000])
            if at % 500_000 == 0:  # the next part waits for the next connection
                seen = server.ends["client"].connections
                await server.until(lambda seen=seen: server.ends["client"].connections > seen)  # type: ignore[misc]
        seen_by["client"] = list(observed["client"])
        tunnel.write_eof()
        return await read_all(tunnel)

    async def answer(tunnel: Tunnel) -> bytes:
        everything = await read_all(tunnel)
        seen_by["agent"] = list(observed["agent"])
        await tunnel.write(hashlib.sha256(everything).digest())
        return everything

    async with relay_server(Day(jitter=0.01)) as server:
        digest, got = await converse(server, ask_for_long, answer, timing=timing, observed=observed)
        assert got == data
        assert digest == hashlib.sha256(data).digest()
        for side in ("client", "agent"):
            assert seen_by[side].count("tunnel.replaced") >= 3
            assert "tunnel.carrier_down" not in seen_by[side], "there was a gap"
            assert "tunnel.peer_lost" not in seen_by[side], "the one before was let go of too early"
            assert server.ends[side].credentials[0] == f"ticket of {side}"
            assert set(server.ends[side].credentials[1:]) == {f"resume {side}"}


async def test_an_end_whose_socket_dies_comes_back_by_itself() -> None:
    async def interrupted(tunnel: Tunnel) -> bytes:
        heard = b""
        for side in ("agent", "client", "agent"):
            before = server.ends[side].connections
            server.kill(side)
            await tunnel.write(b"still there?")
            heard += await tunnel.read()
            await server.until(lambda side=side, before=before: server.ends[side].connections > before)  # type: ignore[misc]
        return heard

    async def reply(tunnel: Tunnel) -> None:
        while await tunnel.read():
            await tunnel.write(b"yes.")

    async with relay_server() as server:
        heard, _ = await converse(server, interrupted, reply)
    assert heard == b"yes." * 3


async def test_a_carrier_that_swallows_everything_is_replaced() -> None:
    async def into_the_hole(tunnel: Tunnel) -> bytes:
        server.mute.add(server.ends["client"].newest)
        return await ask(tunnel, b"hello?")

    timing = Timing(stall=0.3, drain=0.1, first_pause=0.01, last_pause=0.05)
    async with relay_server() as server:
        digest, _ = await converse(server, into_the_hole, answer_with_hash, timing=timing)
        assert digest == hashlib.sha256(b"hello?").digest()
        assert server.ends["client"].connections > 1


async def test_silence_is_broken_by_a_beat() -> None:
    async def be_silent(tunnel: Tunnel) -> None:
        await server.until(lambda: server.heard.count(("client", "beat")) >= 2)

    timing = Timing(keepalive=0.05, first_pause=0.01)
    async with relay_server() as server:
        await converse(server, be_silent, wait_for_end, timing=timing)


async def test_what_the_relay_says_beside_our_words_is_ignored() -> None:
    async def confused(tunnel: Tunnel) -> bytes:
        for text in (
            '{"message":"Internal server error","connectionId":"x"}',
            '{"t":"later"}',
            "not json",
            "{}",
        ):
            await server.say("client", text)
        return await ask(tunnel, b"fine")

    async with relay_server() as server:
        digest, _ = await converse(server, confused, answer_with_hash)
    assert digest == hashlib.sha256(b"fine").digest()


async def test_a_route_that_is_older_than_ours_is_not_taken() -> None:
    async def misled(tunnel: Tunnel) -> bytes:
        await server.say("client", '{"t":"route","r":"stale","resume":"x","gen":0}')
        return await ask(tunnel, b"fine")

    async with relay_server() as server:
        digest, _ = await converse(server, misled, answer_with_hash)
    assert digest == hashlib.sha256(b"fine").digest()


async def test_a_loss_of_an_older_route_is_no_loss() -> None:
    observed: dict[str, Notes] = {}

    async def alarmed(tunnel: Tunnel) -> bytes:
        await server.say("client", '{"t":"lost","code":"tunnel_lost","gen":1}')
        return await ask(tunnel, b"fine")

    async with relay_server() as server:
        await converse(server, alarmed, answer_with_hash, observed=observed)
    assert "tunnel.peer_lost" not in observed["client"]


def grow_old(tunnel: Tunnel) -> None:
    """Do what `Timing.max_age` does, now."""
    assert tunnel._newest is not None
    tunnel._newest.worn.set()


async def test_what_a_replaced_carrier_is_told_means_nothing() -> None:
    async def outlive(tunnel: Tunnel) -> bytes:
        old = server.ends["client"].newest
        grow_old(tunnel)
        await observed["client"].until("tunnel.replaced")
        await server.say("client", '{"t":"lost","code":"tunnel_lost"}', old)
        await server.say("client", '{"t":"refused","code":"route_invalid","message":"There is a newer one."}', old)
        await server.hang_up("client", old)
        return await ask(tunnel, b"alive")

    observed: dict[str, Notes] = {}
    timing = Timing(drain=60, first_pause=0.01)
    async with relay_server() as server:
        await converse(server, outlive, answer_with_hash, timing=timing, observed=observed)


async def test_a_replaced_carrier_is_closed_when_it_has_drained() -> None:
    async def wait(tunnel: Tunnel) -> None:
        grow_old(tunnel)
        await server.until(lambda: server.ends["client"].connections == 2)
        await server.until(lambda: server.open_sockets == 2)

    timing = Timing(drain=0.01, first_pause=0.01)
    async with relay_server() as server:
        await converse(server, wait, wait_for_end, timing=timing)


async def test_what_was_on_its_way_to_a_dead_socket_leaves_again_at_once() -> None:
    # No timer of the stream fires within the test's patience: the new route alone says that something was lost.
    limits = Limits(ack_delay=50, initial_rto=50, min_rto=50, max_rto=50)

    async def speak(tunnel: Tunnel) -> bytes:
        await tunnel.opened()
        server.mute.add(server.ends["agent"].newest)
        relayed = len(server.relayed)
        await tunnel.write(b"into the void")
        await server.until(lambda: len(server.relayed) > relayed)
        server.kill("agent")
        return await ask(tunnel, b", and again")

    async with relay_server() as server, asyncio.timeout(HANG_S):
        _, heard = await converse(server, speak, answer_with_hash, limits=limits)
    assert heard == b"into the void, and again"
