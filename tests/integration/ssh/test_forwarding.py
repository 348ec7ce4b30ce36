"""Everything that is not a session channel: refused, in words, and recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from infra.demo.ports import free_port
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway

pytestmark = pytest.mark.servers


def connect(gateway: Gateway) -> Any:
    return asyncssh.connect("127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None)


def listens(port: int) -> bool:
    # Asked of the kernel, because a connection would be forwarded.
    return any(f":{port:04X} 00000000:0000 0A" in line for line in Path("/proc/net/tcp").read_text().splitlines())


async def test_stdio_forwarding_is_refused(gateway: Gateway) -> None:
    ran = await run(gateway.ssh(options=["-W", "127.0.0.1:22", "-o", "LogLevel=INFO"]))
    assert ran.status == 255
    assert b"Forwarding is not available through the gateway (direct-tcpip). " in ran.err
    assert b"This target lists no place for it in its option 'forward'. (not_supported, " in ran.err
    await gateway.idle()
    (heading, entry, *_) = gateway.serving.recorder.lines(0, "jsonl")
    assert heading["sid"] == gateway.serving.claims.sid
    assert (entry["kind"], entry["objects"], entry["verdict"]) == ("direct-tcpip", ["127.0.0.1:22"], "denied")
    assert gateway.serving.denied == 1
    assert gateway.serving.denials[0][0].action == "forward"


@pytest.mark.parametrize("flag", ["-L", "-D"])
async def test_local_forwarding_is_refused(gateway: Gateway, flag: str) -> None:
    port = free_port()
    where = f"127.0.0.1:{port}:127.0.0.1:22" if flag == "-L" else f"127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        *gateway.ssh("-N", options=[flag, where, "-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=INFO"]),
        stderr=asyncio.subprocess.PIPE,
    )
    await eventually(lambda: listens(port))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if flag == "-D":
        writer.write(b"\x05\x01\x00")
        await reader.readexactly(2)
        writer.write(b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x16")
    assert await reader.read(4) in (b"", b"\x05\x00\x00\x01")
    writer.close()
    assert process.stderr is not None
    assert b"not_supported" in await process.stderr.readline()
    process.kill()
    await process.communicate()
    await gateway.idle()
    assert gateway.serving.denied == 1


async def test_remote_forwarding_is_refused_and_said_in_the_next_channel(gateway: Gateway) -> None:
    ran = await run(gateway.ssh("echo on", options=["-R", f"{free_port()}:127.0.0.1:22"]))
    assert (ran.status, ran.out) == (0, b"on\n")
    assert b"Forwarding is not available through the gateway (tcpip-forward)." in ran.err
    await gateway.idle()
    assert gateway.serving.denied == 1


async def test_agent_forwarding_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    agent = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", str(path), stdout=asyncio.subprocess.DEVNULL)
    await eventually(path.exists)
    ran = await run(gateway.ssh("echo ${SSH_AUTH_SOCK:-none}", options=["-A", "-o", f"IdentityAgent={path}"]))
    agent.terminate()
    await agent.wait()
    assert ran.out == b"none\n"
    assert b"Forwarding is not available through the gateway (auth-agent-req)." in ran.err
    await gateway.idle()
    assert gateway.serving.denied == 1


async def test_everything_else_that_ssh_can_forward_is_refused(gateway: Gateway) -> None:
    async with connect(gateway) as conn:
        with pytest.raises(asyncssh.ChannelOpenError, match="direct-streamlocal"):
            await conn.open_unix_connection("/var/run/docker.sock")
        for wish in (conn.open_tun, conn.open_tap):
            with pytest.raises(asyncssh.ChannelOpenError, match=r"tun|tap"):
                await wish()
        with pytest.raises(asyncssh.ChannelListenError):
            await conn.start_unix_server(lambda: None, "/tmp/never")
        channel, _ = await conn.create_session(asyncssh.SSHClientSession, "sleep 1", encoding=None)
        assert not await channel._make_request(
            b"x11-req", b"\0", *(len(x).to_bytes(4, "big") + x for x in (b"MIT", b"00")), bytes(4)
        )
        # Granted, so that there is a channel to say no in.
        await conn.create_session(asyncssh.SSHClientSession, subsystem="netconf")
    await gateway.idle()
    kinds = [operation.kind for operation, _ in gateway.serving.denials]
    assert kinds == ["direct-streamlocal", "tun", "tap", "streamlocal-forward", "x11-req", "subsystem"]


async def test_a_flood_of_forwarding_requests_ends_the_connection(gateway: Gateway) -> None:
    gateway.serving.recorder.gate = asyncio.Event()
    async with connect(gateway) as conn:
        tries = [conn.open_unix_connection("/run/docker.sock") for _ in range(200)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert all(isinstance(result, Exception) for result in results)
        await conn.wait_closed()
    gateway.serving.recorder.gate.set()
    await gateway.idle()
    assert gateway.serving.operations <= 64


async def test_a_flood_of_connections_finds_no_room(gateway: Gateway) -> None:
    gateway.serving.recorder.gate = asyncio.Event()
    async with connect(gateway) as conn:
        tries = [asyncio.ensure_future(conn.open_connection("127.0.0.1", 22)) for _ in range(300)]
        await eventually(lambda: sum(each.done() for each in tries) >= 200)
        assert all("too many channels" in str(each.exception()) for each in tries if each.done())
        gateway.serving.recorder.gate.set()
        words = [str(result) for result in await asyncio.gather(*tries, return_exceptions=True)]
        assert sum("not_supported" in each for each in words) == 100
    await gateway.idle()
    assert gateway.serving.operations <= 100
