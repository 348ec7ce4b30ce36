"""Forwarded ports that policy permits: real ssh, real sshd, real sockets; and beside each what policy does not permit."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest

from chalicelib.contracts.faults import Notice
from tests.fakes.agent_runtime import make_policy
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for, settled
from tests.integration.ssh.test_forwarding import connect, free_port, listens

pytestmark = pytest.mark.servers


class Echo:
    """A server that says everything back, and ends its side when the client ended its own."""

    def __init__(self) -> None:
        self.connections = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
        writer.close()

    async def close(self) -> None:
        self._server.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    server = Echo()
    await server.open()
    yield server
    await server.close()


@pytest.fixture
async def forwarding(gateway: Gateway, sshd: Sshd, echo: Echo) -> Gateway:
    """A gateway that forwards to anywhere on this machine, and has the target listen there."""
    gateway.serving = serving_for(sshd, forward=["127.0.0.1:*"], listen=["localhost:*", "127.0.0.1:*"])
    return gateway


def events(gateway: Gateway) -> list[dict[str, Any]]:
    assert gateway.serving is not None
    return gateway.serving.recorder.lines(0, "jsonl")[1:]


async def forwarded(gateway: Gateway, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *gateway.ssh("-N", options=[*options, "-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=INFO"]),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> bytes:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    return (await process.communicate())[1]


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


async def test_nothing_is_forwarded_that_cannot_be_recorded(forwarding: Gateway, echo: Echo) -> None:
    forwarding.serving.recorder.failing = True
    ran = await run(forwarding.ssh(options=["-W", f"127.0.0.1:{echo.port}"]))
    assert ran.status == 255
    assert echo.connections == 0
    await forwarding.idle()
    assert forwarding.notices[-1].code == "recording_failed"


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
        sent, last = 0, -1
        with contextlib.suppress(TimeoutError):
            while sent != last:
                last = sent
                async with asyncio.timeout(2):
                    for _ in range(64):
                        writer.write(bytes(65536))
                        await writer.drain()
                        sent += 65536
        assert 0 < sent < 40_000_000
        assert (await conn.run("echo on")).stdout == "on\n"
    await forwarding.idle()
    server.close()
