"""The tunnel's driver against a relay on loopback: what arrives, what survives, and what is said when nothing does."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import TypeVar

import asyncssh
import pytest
from websockets.exceptions import ConnectionClosed

from agent.runtime import carrier as carriers
from agent.runtime.tunnel import Credentials, Limits, Timing, Tunnel, TunnelError, bridge
from chalicelib.contracts import relay
from chalicelib.contracts.faults import CODES, Fault
from chalicelib.contracts.tunnel import INITIAL_CREDIT
from tests.patience import HANG_S
from tests.unit.agent.runtime.relay_server import SIDE, Day, RelayServer, relay_server

QUICK = Timing(first_pause=0.01, last_pause=0.05, drain=0.1)
T = TypeVar("T")
U = TypeVar("U")


def credentials(side: str) -> Credentials:
    async def headers(resume: str | None) -> Mapping[str, str]:
        return {SIDE: side, "Authorization": resume or f"ticket of {side}"}

    return headers


def blob(size: int, seed: int = 7) -> bytes:
    return Random(seed).randbytes(size)


class Notes(list[str]):
    """What a tunnel's observer was told."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def append(self, name: str) -> None:
        super().append(name)
        self._changed.set()

    async def until(self, name: str) -> None:
        while name not in self:
            self._changed.clear()
            await self._changed.wait()


async def read_all(tunnel: Tunnel) -> bytes:
    parts = []
    while data := await tunnel.read():
        parts.append(data)
    return b"".join(parts)


async def converse(
    server: RelayServer,
    client: Callable[[Tunnel], Awaitable[T]],
    agent: Callable[[Tunnel], Awaitable[U]],
    *,
    timing: Timing = QUICK,
    limits: Limits | None = None,
    observed: dict[str, Notes] | None = None,
) -> tuple[T, U]:
    """Run both ends, each in its context; return what they return."""

    async def end(side: str, act: Callable[[Tunnel], Awaitable[object]]) -> object:
        notes = (observed if observed is not None else {}).setdefault(side, Notes())
        opening = f"opening of {side}".encode()
        async with Tunnel.connect(
            server.url, credentials(side), opening=opening, limits=limits, timing=timing, observe=notes.append
        ) as tunnel:
            return await act(tunnel)

    tasks = [asyncio.ensure_future(end("client", client)), asyncio.ensure_future(end("agent", agent))]
    async with asyncio.timeout(HANG_S):
        await asyncio.wait(tasks)
    return tuple(task.result() for task in tasks)  # type: ignore[return-value]


async def ask(tunnel: Tunnel, question: bytes) -> bytes:
    await tunnel.write(question)
    tunnel.write_eof()
    return await read_all(tunnel)


async def answer_with_hash(tunnel: Tunnel) -> bytes:
    everything = await read_all(tunnel)
    await tunnel.write(hashlib.sha256(everything).digest())
    tunnel.write_eof()
    return everything


async def wait_for_end(tunnel: Tunnel) -> bytes:
    return await read_all(tunnel)


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


def test_pauses_double_up_to_a_bound() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(carriers.next_pause(pauses[-1], Timing(first_pause=0.2, last_pause=5.0)))
    assert pauses[1:] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert all(0.5 <= carriers.jittered(1.0) <= 1.0 for _ in range(100))


async def lone(server: RelayServer, **options: object) -> TunnelError:
    with pytest.raises(TunnelError) as caught:
        async with asyncio.timeout(HANG_S), Tunnel.connect(server.url, credentials("client"), timing=QUICK, **options):  # type: ignore[arg-type]
            pytest.fail("there is no peer")
    assert caught.value.code in CODES
    return caught.value


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 410])
async def test_a_refused_handshake_is_final(status: int) -> None:
    async with relay_server() as server:
        server.refuse = lambda _: status
        error = await lone(server)
    assert (error.code, error.status) == ("tunnel_refused", status)
    assert str(status) in error.message
    assert len(server.ends["client"].credentials) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_relay_in_trouble_is_asked_again(status: int) -> None:
    async with relay_server() as server:
        server.refuse = lambda side: status if len(server.ends[side].credentials) < 4 else None
        digest, _ = await converse(server, lambda t: ask(t, b"x"), answer_with_hash)
        assert digest == hashlib.sha256(b"x").digest()
        assert len(server.ends["client"].credentials) == 4


async def test_no_relay_at_all_is_a_lost_tunnel() -> None:
    async with relay_server() as server:
        url = server.url
    server.url = url
    error = await lone(server, limits=Limits(patience=0.2))
    assert error.code == "tunnel_lost"
    assert "connection" in error.message


async def test_a_peer_that_never_comes_is_a_lost_tunnel_with_the_relays_reason() -> None:
    async with relay_server() as server:
        error = await lone(server, limits=Limits(patience=0.5))
        assert (error.code, error.reason) == ("tunnel_lost", "agent_offline")
        hellos = server.heard.count(("client", "hello"))
        assert hellos > 2, "it asked again"
        await server.until(lambda: server.open_sockets == 0)


async def test_a_refusal_in_words_is_final() -> None:
    async def refused(tunnel: Tunnel) -> TunnelError:
        await server.say("client", '{"t":"refused","code":"session_ended","message":"The session has ended."}')
        with pytest.raises(TunnelError) as caught:
            await tunnel.read()
        return caught.value

    async def abandoned(tunnel: Tunnel) -> None:
        with pytest.raises(TunnelError):
            await tunnel.read()

    async with relay_server() as server:
        error, _ = await converse(server, refused, abandoned, limits=Limits(patience=0.5))
    assert (error.code, error.reason, error.message) == ("tunnel_refused", "session_ended", "The session has ended.")


async def test_credentials_that_fail() -> None:
    attempts = []

    async def no_network(resume: str | None) -> Mapping[str, str]:
        attempts.append(resume)
        if len(attempts) < 3:
            raise ConnectionRefusedError("the control plane is away")
        raise Fault("session_expired", "The session has expired.")

    with pytest.raises(TunnelError) as caught:
        async with asyncio.timeout(HANG_S), Tunnel.connect("ws://127.0.0.1:9/", no_network, timing=QUICK):
            pytest.fail("there are no credentials")
    assert (caught.value.code, caught.value.reason) == ("tunnel_refused", "session_expired")
    assert attempts == [None] * 3


async def test_an_abort_carries_its_code_and_what_came_before_is_read_first() -> None:
    async def kill(tunnel: Tunnel) -> None:
        await tunnel.write(b"last words")
        await tunnel.read()
        await tunnel.abort("session_killed", "Revoked by an administrator.")
        with pytest.raises(TunnelError):
            await tunnel.write(b"x")

    async def killed(tunnel: Tunnel) -> TunnelError:
        await tunnel.opened()
        assert await tunnel.read() == b"last words"
        await tunnel.write(b"x")
        with pytest.raises(TunnelError) as caught:
            await tunnel.read()
        with pytest.raises(TunnelError):
            await tunnel.write(b"y")
        return caught.value

    async with relay_server() as server:
        error, _ = await converse(server, killed, kill)
    assert (error.code, error.reason) == ("tunnel_aborted", "session_killed")
    assert error.message == "Revoked by an administrator."


async def test_a_fault_inside_the_context_is_told_to_the_peer_and_raised_as_it_is() -> None:
    async def fail(tunnel: Tunnel) -> None:
        raise Fault("ticket_invalid", "The ticket is for another agent.")

    async def told(tunnel: Tunnel) -> TunnelError:
        with pytest.raises(TunnelError) as caught:
            await tunnel.read()
        return caught.value

    raised: list[Fault] = []

    async def failing(tunnel: Tunnel) -> None:
        await tunnel.opened()
        await fail(tunnel)

    async with relay_server() as server:

        async def agent() -> None:
            try:
                async with Tunnel.connect(server.url, credentials("agent"), timing=QUICK) as tunnel:
                    await failing(tunnel)
            except Fault as fault:
                raised.append(fault)

        async def client() -> TunnelError:
            async with Tunnel.connect(server.url, credentials("client"), timing=QUICK) as tunnel:
                return await told(tunnel)

        async with asyncio.timeout(HANG_S):
            error, _ = await asyncio.gather(client(), agent())
    assert (error.code, error.reason) == ("tunnel_aborted", "ticket_invalid")
    assert [fault.code for fault in raised] == ["ticket_invalid"]


async def test_cancelling_one_end_aborts_the_other() -> None:
    started = asyncio.Event()

    async def agent() -> None:
        async with Tunnel.connect(server.url, credentials("agent"), timing=QUICK) as tunnel:
            await tunnel.opened()
            started.set()
            await tunnel.read()

    async with relay_server() as server, asyncio.timeout(HANG_S):
        task = asyncio.ensure_future(agent())
        async with Tunnel.connect(server.url, credentials("client"), timing=QUICK) as tunnel:
            await started.wait()
            task.cancel()
            with pytest.raises(TunnelError) as caught:
                await tunnel.read()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert caught.value.code == "tunnel_aborted"


async def test_a_peer_that_breaks_the_protocol_is_told_so() -> None:
    async def fed_garbage(tunnel: Tunnel) -> TunnelError:
        await server.say("client", relay.encode(relay.Deliver(relay.pack(b"garbage"))).decode())
        with pytest.raises(TunnelError) as caught:
            await tunnel.read()
        return caught.value

    async def blamed(tunnel: Tunnel) -> TunnelError:
        with pytest.raises(TunnelError) as caught:
            await tunnel.read()
        return caught.value

    async with relay_server() as server:
        mine, theirs = await converse(server, fed_garbage, blamed)
    assert mine.code == "tunnel_protocol"
    assert (theirs.code, theirs.reason) == ("tunnel_aborted", "tunnel_protocol")


async def test_leaving_the_context_ends_the_stream_and_closes_the_sockets() -> None:
    async def leave(tunnel: Tunnel) -> None:
        await tunnel.write(b"bye")

    async def stay(tunnel: Tunnel) -> bytes:
        return await ask(tunnel, blob(300_000))

    # More than the window: whoever leaves must go on taking what comes, or the other never ends.
    async with relay_server() as server:
        got, _ = await converse(server, stay, leave, limits=Limits(window=INITIAL_CREDIT, send_buffer=50_000))
        assert got == b"bye"
        async with asyncio.timeout(HANG_S):
            await server.until(lambda: server.open_sockets == 0)


async def test_a_closed_tunnel_takes_nothing() -> None:
    kept: list[Tunnel] = []

    async def keep(tunnel: Tunnel) -> None:
        kept.append(tunnel)

    async with relay_server() as server:
        await converse(server, keep, wait_for_end)
    with pytest.raises(TunnelError):
        await kept[0].write(b"x")


async def test_the_socket_sends_small_segments_at_once_and_notices_a_dead_link() -> None:
    async with relay_server() as server:
        carrier = await carriers.dial(server.url, {SIDE: "client"}, QUICK)
        sock = carrier._connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await carrier.close()


async def test_a_bridge_is_a_socket() -> None:
    data = blob(2_000_000)

    async def through_a_socket(tunnel: Tunnel) -> bytes:
        reader, writer = await asyncio.open_connection(sock=await bridge(tunnel))
        writer.write(data)
        writer.write_eof()
        got = await reader.read()
        writer.close()
        return got

    async with relay_server(Day(jitter=0.01)) as server:
        digest, got = await converse(server, through_a_socket, answer_with_hash)
    assert got == data
    assert digest == hashlib.sha256(data).digest()


async def test_a_bridge_ends_when_the_tunnel_fails() -> None:
    async def bridged(tunnel: Tunnel) -> bytes:
        reader, writer = await asyncio.open_connection(sock=await bridge(tunnel))
        rest = await reader.read()
        writer.close()
        return rest

    async def kill(tunnel: Tunnel) -> None:
        await tunnel.opened()
        await tunnel.abort("session_killed", "Revoked.")

    async with relay_server() as server:
        assert (await converse(server, bridged, kill))[0] == b""


async def test_closing_a_bridge_ends_our_side() -> None:
    async def close_it(tunnel: Tunnel) -> None:
        end = await bridge(tunnel)
        await asyncio.get_running_loop().sock_sendall(end, b"only this")
        end.close()
        await server.until(lambda: server.open_sockets == 0)

    async def keep_talking(tunnel: Tunnel) -> bytes:
        got = await read_all(tunnel)
        await tunnel.write(blob(100_000))
        return got

    async with relay_server() as server:
        _, got = await converse(server, close_it, keep_talking)
    assert got == b"only this"


class _Anybody(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


async def test_ssh_does_not_notice_that_its_connections_die() -> None:
    data = blob(1_500_000)
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def cat(process: asyncssh.SSHServerProcess[bytes]) -> None:
        while part := await process.stdin.read(65_536):
            process.stdout.write(part)
            await process.stdout.drain()
        process.exit(0)

    async def serve(tunnel: Tunnel) -> None:
        connection = await asyncssh.run_server(
            await bridge(tunnel), server_factory=_Anybody, server_host_keys=[key], process_factory=cat, encoding=None
        )
        await connection.wait_closed()

    async def use(tunnel: Tunnel) -> bytes:
        options = {"known_hosts": None, "username": "alice", "client_keys": None, "config": None, "agent_path": None}
        async with asyncssh.connect("target", sock=await bridge(tunnel), **options) as connection:  # type: ignore[arg-type]
            result = await connection.run("cat", input=data, encoding=None)
            assert isinstance(result.stdout, bytes)
            return result.stdout

    async with relay_server(Day(jitter=0.01, lose_every=40, kill_every=15)) as server:
        got, _ = await converse(server, use, serve)
        assert got == data
        assert server.ends["client"].connections + server.ends["agent"].connections > 2
