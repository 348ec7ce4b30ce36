"""A tunnel as a socket, for those who know no tunnels: SSH first of all."""

from __future__ import annotations

import asyncio
import hashlib

import asyncssh

from agent.runtime.tunnel import Tunnel, bridge
from tests.unit.agent.runtime.relay_server import Day, relay_server
from tests.unit.agent.runtime.tunnel_ends import answer_with_hash, blob, converse, read_all


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
