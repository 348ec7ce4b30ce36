"""Ports that the target listens on for a client (``ssh -R``), and what is refused beside them."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh
import pytest

from infra.demo.ports import free_port
from tests.fakes.agent_runtime import make_policy
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.ssh.forwarded_ports import Echo, echo, ended, events, forwarded, forwarding
from tests.integration.ssh.test_forwarding import connect, listens

pytestmark = pytest.mark.servers
__all__ = ["echo", "forwarding"]


async def test_the_target_listens_and_the_client_is_reached(forwarding: Gateway, echo: Echo) -> None:
    port = free_port()
    process = await forwarded(forwarding, "-R", f"127.0.0.1:{port}:127.0.0.1:{echo.port}")
    # The target listens a moment before asyncssh knows of it; until then it refuses who comes.
    await eventually(lambda: any(each["event"] == "forward.listening" for each in events(forwarding)))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"back")
    writer.write_eof()
    assert await reader.read() == b"backbye"
    writer.close()
    await eventually(lambda: events(forwarding)[-1]["event"] == "forward.closed")
    kinds = [each["event"] for each in events(forwarding)]
    assert kinds == ["operation", "forward.listening", "forward.came", "forward.opened", "forward.closed"]
    assert (events(forwarding)[-1]["sent"], events(forwarding)[-1]["received"]) == (7, 4)
    await ended(process)
    await forwarding.idle()
    await eventually(lambda: not listens(port))


async def test_a_port_that_the_target_chooses_and_one_that_is_taken_back(forwarding: Gateway) -> None:
    async with connect(forwarding) as conn:
        listener = await conn.start_server(lambda *_: lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = listener.get_port()
        assert listens(port)
        listener.close()
        await listener.wait_closed()
        await eventually(lambda: not listens(port))
    await forwarding.idle()
    assert [each["event"] for each in events(forwarding)] == ["operation", "forward.listening", "forward.deaf"]
    assert events(forwarding)[1]["port"] == port


async def test_listening_everywhere_is_another_permission(forwarding: Gateway) -> None:
    port = free_port()
    ran = await run(forwarding.ssh("echo on", options=["-R", f"*:{port}:127.0.0.1:22", "-g"]))
    assert ran.out == b"on\n"
    assert b"does not list it. (denied, " in ran.err
    assert forwarding.serving.denied == 1


async def test_permission_that_is_taken_back_counts_for_the_next_connection(forwarding: Gateway, sshd: Sshd) -> None:
    served = asyncio.Event()

    def serve(*_: object) -> object:
        served.set()
        return lambda reader, writer: writer.close()

    async with connect(forwarding) as conn:
        listener = await conn.start_server(serve, "127.0.0.1", 0)
        target = forwarding.serving.target
        forwarding.serving.in_force = make_policy('permit(principal, action == Action::"connect", resource);', target=target)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
        assert await reader.read() == b""
        writer.close()
    assert not served.is_set()


async def test_a_stalled_request_does_not_fill_the_memory(gateway: Gateway, sshd: Sshd) -> None:
    gateway.serving = serving_for(
        sshd,
        "permit(principal, action, resource);",
        '@approval("group:dba") forbid(principal, action == Action::"forward", resource) '
        'unless { context.approvals.contains("dba") };',
        listen=["127.0.0.1:*"],
    )
    async with connect(gateway) as conn:
        asking = asyncio.ensure_future(conn.start_server(lambda *_: None, "127.0.0.1", 0))
        await gateway.serving.approvals.waiting.wait()
        raw: Any = conn
        for _ in range(200):
            raw.send_packet(80, len(b"x").to_bytes(4, "big") + b"x" + b"\1")
        await conn.wait_closed()
    with pytest.raises((asyncssh.Error, asyncssh.ChannelListenError, OSError)):
        await asking
    await gateway.idle()
