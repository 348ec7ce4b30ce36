"""Forwarded connections in their course: who is slow, what is taken back, and how they end."""

from __future__ import annotations

import asyncio
import contextlib

import asyncssh
import msgspec
import pytest

from chalicelib.contracts.faults import Notice
from tests.fakes.agent_runtime import make_policy
from tests.integration.plugin_listener import eventually
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for, settled
from tests.integration.ssh.forwarded_ports import Echo, echo, events, forwarding
from tests.integration.ssh.test_forwarding import connect

pytestmark = pytest.mark.servers
__all__ = ["echo", "forwarding"]


async def test_a_slow_reader_is_waited_for_in_a_bounded_space(forwarding: Gateway) -> None:
    """A server that sends for ever, and a client that does not read: what waits is bounded by windows."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connect(forwarding) as conn:
        _, writer = await conn.open_connection("127.0.0.1", port, window=65536)
        assert await settled(lambda: sent) < 40_000_000
        # Another connection is not kept waiting by it.
        assert (await conn.run("echo on")).stdout == "on\n"
        writer.close()
    await forwarding.idle()
    server.close()
    assert events(forwarding)[-1]["event"] == "forward.closed"


async def test_the_end_of_the_session_is_the_end_of_what_is_forwarded(forwarding: Gateway, echo: Echo) -> None:
    async with connect(forwarding) as conn:
        reader, writer = await conn.open_connection("127.0.0.1", echo.port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        forwarding.serving.ended.set_result(Notice("session_killed", "An administrator ended this session."))
        assert await reader.read() in (b"", b"bye")
        with pytest.raises((asyncssh.Error, OSError)):
            await conn.open_connection("127.0.0.1", echo.port)
    await forwarding.idle()
    assert events(forwarding)[-1]["event"] == "forward.closed"


@pytest.mark.parametrize("taken", ["the rule", "the list"])
async def test_permission_that_is_taken_back_ends_what_is_open(forwarding: Gateway, echo: Echo, taken: str) -> None:
    async with connect(forwarding) as conn:
        reader, writer = await conn.open_connection("127.0.0.1", echo.port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        target = forwarding.serving.target
        if taken == "the rule":
            rule = 'permit(principal, action in [Action::"connect", Action::"run"], resource);'
            forwarding.serving.in_force = make_policy(rule, target=target)
        else:
            bare = msgspec.structs.replace(target, options={"host_keys": target.options["host_keys"]})
            forwarding.serving.in_force = make_policy(target=bare)
        writer.write(b"y")
        assert await reader.read() == b""
        await eventually(lambda: events(forwarding)[-1]["event"] == "forward.closed")
        assert [each["event"] for each in events(forwarding)][-2:] == ["forward.revoked", "forward.closed"]
        assert events(forwarding)[-1]["sent"] == 1
        assert (await conn.run("echo on")).stdout == "on\n"


ASKS = (
    "permit(principal, action, resource);",
    '@approval("group:dba") forbid(principal, action == Action::"forward", resource) '
    'unless { context.approvals.contains("dba") };',
)


@pytest.mark.parametrize(
    ("rules", "stays"),
    [
        (ASKS, True),
        ((*ASKS, "permit(principal, action, resource);"), True),
        (ASKS[:1], True),
        ((*ASKS, 'forbid(principal, action == Action::"forward", resource);'), False),
    ],
)
async def test_what_others_agreed_to_stays_while_it_is_left_to_them(
    gateway: Gateway, sshd: Sshd, echo: Echo, rules: tuple[str, ...], stays: bool
) -> None:
    gateway.serving = serving_for(sshd, *ASKS, forward=["127.0.0.1:*"])
    gateway.serving.approvals.release.set()
    async with connect(gateway) as conn:
        reader, writer = await conn.open_connection("127.0.0.1", echo.port)
        gateway.serving.in_force = make_policy(*rules, target=gateway.serving.target)
        writer.write(b"x")
        assert await reader.read(1) == (b"x" if stays else b"")
        writer.close()


async def test_a_policy_that_changes_elsewhere_ends_nothing(forwarding: Gateway, echo: Echo) -> None:
    async with connect(forwarding) as conn:
        reader, writer = await conn.open_connection("127.0.0.1", echo.port)
        forwarding.serving.in_force = make_policy(target=forwarding.serving.target, version=2)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.close()


async def test_a_slow_server_is_waited_for_in_a_bounded_space(forwarding: Gateway) -> None:
    """A client that sends for ever, and a server that does not read."""
    took: list[asyncio.StreamReader] = []
    server = await asyncio.start_server(lambda reader, writer: took.append(reader), "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    async with connect(forwarding) as conn:
        _, writer = await conn.open_connection("127.0.0.1", port)
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536

        sending = asyncio.ensure_future(send())
        await eventually(lambda: sent)
        assert await settled(lambda: sent) < 40_000_000
        sending.cancel()
        assert (await conn.run("echo on")).stdout == "on\n"
    await forwarding.idle()
    server.close()
