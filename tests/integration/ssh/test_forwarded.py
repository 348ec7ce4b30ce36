"""Forwarded ports that policy permits: real ssh, real sshd, real sockets; and beside each what policy does not permit."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path

import asyncssh
import pytest

from infra.demo.ports import free_port
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.ssh.forwarded_ports import Echo, echo, ended, events, forwarded, forwarding
from tests.integration.ssh.test_forwarding import connect, listens

pytestmark = pytest.mark.servers
__all__ = ["echo", "forwarding"]


async def test_stdio_is_forwarded_and_recorded(forwarding: Gateway, echo: Echo) -> None:
    data = bytes(16) + os.urandom(3_000_000)
    ran = await run(forwarding.ssh(options=["-W", f"127.0.0.1:{echo.port}"]), data)
    assert (ran.status, ran.err) == (0, b"")
    assert hashlib.sha256(ran.out).digest() == hashlib.sha256(data + b"bye").digest()
    await forwarding.idle()
    heading, *lines = forwarding.serving.recorder.lines(0, "jsonl")
    assert (heading["principal"], heading["channel"]) == ("ann@example.com", 0)
    asked, opened, closed = lines
    assert (asked["kind"], asked["verdict"], asked["objects"]) == ("direct-tcpip", "allowed", [f"127.0.0.1:{echo.port}"])
    assert (opened["event"], closed["event"]) == ("forward.opened", "forward.closed")
    assert (closed["sent"], closed["received"]) == (len(data), len(data) + 3)
    hashes = [hashlib.sha256(passed).hexdigest() for passed in (data, data + b"bye")]
    assert [closed["sent_sha256"], closed["received_sha256"]] == hashes
    assert closed["duration_ms"] >= 0
    assert closed["looks_like"] == ""
    assert forwarding.serving.operations == 1
    happened = [what for what, *_ in forwarding.serving.recorder.happened]
    assert happened[0] == "record", "it is on disk before it is opened"


async def test_a_port_of_the_client_reaches_what_the_target_reaches(forwarding: Gateway, echo: Echo) -> None:
    port = free_port()
    process = await forwarded(forwarding, "-L", f"127.0.0.1:{port}:127.0.0.1:{echo.port}")
    await eventually(lambda: listens(port))
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    for number, (reader, writer) in enumerate(pairs):
        writer.write(b"%d" % number * 10)
        assert await reader.readexactly(10) == b"%d" % number * 10
    # One direction ends, the other goes on.
    reader, writer = pairs[0]
    writer.write_eof()
    assert await reader.read() == b"bye"
    for _, writer in pairs:
        writer.close()
    await eventually(lambda: sum(each.get("event") == "forward.closed" for each in events(forwarding)) == 5)
    assert await ended(process) == b""
    await forwarding.idle()
    assert echo.connections == 5


async def test_where_nobody_listens(forwarding: Gateway) -> None:
    ran = await run(forwarding.ssh(options=["-W", f"127.0.0.1:{free_port()}", "-o", "LogLevel=INFO"]))
    assert ran.status == 255
    assert b"The target could not connect: Connection refused" in ran.err
    assert events(forwarding)[-1]["event"] == "forward.failed"


async def test_a_place_that_is_not_listed_and_one_that_policy_forbids(gateway: Gateway, sshd: Sshd, echo: Echo) -> None:
    gateway.serving = serving_for(
        sshd,
        "permit(principal, action, resource);",
        '@message("Not to the vault.") forbid(principal, action == Action::"forward", resource) '
        f"when {{ context.port == {echo.port} }};",
        forward=["127.0.0.1:*"],
    )
    for where, words in (
        (f"127.0.0.1:{echo.port}", b"Not to the vault. (denied, "),
        ("db.internal:1", b"does not list it. (denied, "),
    ):
        ran = await run(gateway.ssh(options=["-W", where, "-o", "LogLevel=INFO"]))
        assert ran.status == 255
        assert words in ran.err
    assert (echo.connections, gateway.serving.denied) == (0, 2)


async def test_a_rule_names_host_port_and_direction(gateway: Gateway, sshd: Sshd, echo: Echo) -> None:
    gateway.serving = serving_for(
        sshd,
        'permit(principal, action == Action::"forward", resource) when { context.host == "127.0.0.1" && '
        f'context.port == {echo.port} && context.direction == "local" }};',
        forward=["*:*"],
        listen=["*:*"],
    )
    ran = await run(gateway.ssh(options=["-W", f"[::ffff:127.0.0.1]:{echo.port}"]), b"x")
    assert (ran.status, ran.out) == (0, b"xbye")
    for where in (f"127.0.0.1:{echo.port + 1}", f"localhost:{echo.port}"):
        assert (await run(gateway.ssh(options=["-W", where]))).status == 255
    assert echo.connections == 1
    async with connect(gateway) as conn:
        with pytest.raises(asyncssh.ChannelListenError):
            await conn.start_server(lambda *_: None, "127.0.0.1", echo.port)


async def test_a_forward_waits_for_others(gateway: Gateway, sshd: Sshd, echo: Echo) -> None:
    gateway.serving = serving_for(
        sshd,
        "permit(principal, action, resource);",
        '@approval("group:dba") forbid(principal, action == Action::"forward", resource) '
        'unless { context.approvals.contains("dba") };',
        forward=["127.0.0.1:*"],
    )
    approvals = gateway.serving.approvals
    running = asyncio.ensure_future(run(gateway.ssh(options=["-W", f"127.0.0.1:{echo.port}"]), b"x"))
    await approvals.waiting.wait()
    assert echo.connections == 0
    ((operation, risks),) = approvals.asked
    assert operation.text == f"direct-tcpip 127.0.0.1:{echo.port}"
    assert any("neither decided nor recorded" in risk for risk in risks)
    approvals.release.set()
    ran = await running
    assert (ran.status, ran.out) == (0, b"xbye")
    assert approvals.used == [("req_1", operation.digest())]


async def test_who_waits_reads_so_in_a_program_that_runs(gateway: Gateway, sshd: Sshd, echo: Echo) -> None:
    gateway.serving = serving_for(
        sshd,
        "permit(principal, action, resource);",
        '@approval("group:dba") forbid(principal, action == Action::"forward", resource) '
        'unless { context.approvals.contains("dba") };',
        forward=["127.0.0.1:*"],
    )
    async with connect(gateway) as conn:
        process = await conn.create_process("echo on; cat")
        assert await process.stdout.readline() == "on\n"
        opening = asyncio.ensure_future(conn.open_connection("127.0.0.1", echo.port))
        assert "Waiting until" in await process.stderr.readline()
        gateway.serving.approvals.release.set()
        reader, writer = await opening
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.close()


async def test_a_browser_goes_where_it_may(forwarding: Gateway, echo: Echo) -> None:
    port = free_port()
    process = await forwarded(forwarding, "-D", f"127.0.0.1:{port}")
    await eventually(lambda: listens(port))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x05\x01\x00")
    assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + echo.port.to_bytes(2, "big"))
    assert (await reader.readexactly(10))[1] == 0
    writer.write(b"hi")
    writer.write_eof()
    assert await reader.read() == b"hibye"
    writer.close()
    await ended(process)


async def test_a_client_that_leaves_withdraws(gateway: Gateway, sshd: Sshd, echo: Echo) -> None:
    gateway.serving = serving_for(
        sshd,
        "permit(principal, action, resource);",
        '@approval("group:dba") forbid(principal, action == Action::"forward", resource) '
        'unless { context.approvals.contains("dba") };',
        forward=["127.0.0.1:*"],
    )
    async with connect(gateway) as conn:
        opening = asyncio.ensure_future(conn.open_connection("127.0.0.1", echo.port))
        await gateway.serving.approvals.waiting.wait()
    with contextlib.suppress(asyncssh.Error):
        await opening
    await gateway.idle()
    assert (gateway.serving.approvals.withdrawn, echo.connections) == (1, 0)


async def test_a_jump_through_the_target(forwarding: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(sshd.user_key.export_private_key())
    (tmp_path / "key").chmod(0o600)
    jump = " ".join(forwarding.ssh(options=["-W", "%h:%p"]))
    ran = await run(
        ["ssh", "-F", "none", "-i", str(tmp_path / "key"), "-o", f"ProxyCommand={jump}", "-o", "StrictHostKeyChecking=no",
         "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-p", str(sshd.port), "127.0.0.1", "echo $SSH_CONNECTION"]
    )  # fmt: skip
    assert (ran.status, ran.err) == (0, b"")
    assert ran.out.split()[2:] == [b"127.0.0.1", b"%d" % sshd.port]
    await eventually(lambda: events(forwarding)[-1]["event"] == "forward.closed")
    assert events(forwarding)[-1]["looks_like"] == "ssh"


async def test_nothing_is_forwarded_that_cannot_be_recorded(forwarding: Gateway, echo: Echo) -> None:
    forwarding.serving.recorder.failing = True
    ran = await run(forwarding.ssh(options=["-W", f"127.0.0.1:{echo.port}"]))
    assert ran.status == 255
    assert echo.connections == 0
    await forwarding.idle()
    assert forwarding.notices[-1].code == "recording_failed"
