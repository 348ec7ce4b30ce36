"""How tunnels end, and in what words: refused, lost, aborted, left."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping

import pytest

from agent.runtime.tunnel import Limits, Tunnel, TunnelError
from chalicelib.contracts import relay
from chalicelib.contracts.faults import CODES, Fault
from chalicelib.contracts.tunnel import INITIAL_CREDIT
from tests.patience import HANG_S
from tests.unit.agent.runtime.relay_server import RelayServer, relay_server
from tests.unit.agent.runtime.tunnel_ends import QUICK, answer_with_hash, ask, blob, converse, credentials, wait_for_end


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
