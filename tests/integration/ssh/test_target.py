"""Targets that cannot be used: every failure in words, whatever was asked for, and never a byte to the wrong host."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import asyncssh
import msgspec
import pytest

from agent.protocols.ssh import target as target_leg
from agent.runtime.serving import Credential
from chalicelib.contracts.gateway import Target
from tests.integration.plugin_listener import Ran, eventually, run
from tests.integration.ssh.conftest import Gateway, Sshd

pytestmark = pytest.mark.servers


def aim(gateway: Gateway, **changes: object) -> None:
    gateway.serving.target = msgspec.structs.replace(gateway.serving.target, **changes)


async def every_way(gateway: Gateway) -> list[Ran[bytes]]:
    """Ask for each kind of channel."""
    return [
        await run(gateway.ssh("id")),
        await run(gateway.ssh("-tt")),
        await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), b"ls\n"),
    ]


async def told(gateway: Gateway, code: str) -> None:
    for ran in await every_way(gateway):
        assert ran.status == 255, ran
        assert ran.err.count(b"sallyport: ") >= 1, ran
        assert f"({code}, {gateway.serving.claims.sid})".encode() in ran.err.replace(b"\r", b"")
        assert b"Traceback" not in ran.err
    await gateway.idle()
    assert {notice.code for notice in gateway.notices} == {code}


async def test_a_host_with_another_key_gets_nothing(gateway: Gateway, sshd: Sshd) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    aim(gateway, options={**gateway.serving.target.options, "host_keys": [other]})
    await told(gateway, "target_host_key")
    assert {notice.code for notice in gateway.serving.target_notices} == {"target_host_key"}
    assert "Accepted publickey" not in (sshd.folder / "sshd.log").read_text().split("\n")[-2]


async def test_a_host_without_the_pinned_kind_of_key(gateway: Gateway) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode().strip()
    aim(gateway, options={**gateway.serving.target.options, "host_keys": [other]})
    await told(gateway, "target_host_key")


@pytest.mark.parametrize("keys", [[], None, ["garbage"]])
async def test_a_target_without_a_pinned_key_is_not_dialled(gateway: Gateway, keys: object) -> None:
    aim(gateway, options={"shell": "recorded", "host_keys": keys})
    await told(gateway, "target_host_key")


async def test_a_target_that_is_down(gateway: Gateway) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        aim(gateway, address=f"127.0.0.1:{nobody.getsockname()[1]}")
        await told(gateway, "target_unreachable")


async def test_a_credential_that_is_refused(gateway: Gateway) -> None:
    gateway.serving._credential = Credential("ssh-key", asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    await told(gateway, "target_login")


async def test_no_credential(gateway: Gateway) -> None:
    gateway.serving._credential = None
    await told(gateway, "credential_missing")


@pytest.fixture
async def silent() -> AsyncIterator[Target]:
    """The address of a host that accepts and says nothing."""
    held = []
    server = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for writer in held:
        writer.close()


async def test_a_target_that_stalls(gateway: Gateway, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_leg, "HANDSHAKE_S", 0.3)
    aim(gateway, address=silent)
    await told(gateway, "target_timeout")


async def test_a_target_that_goes_away_in_the_middle(gateway: Gateway) -> None:
    relay: list[asyncio.StreamWriter] = []
    host, port = gateway.serving.target.address.split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def middle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(host, int(port))
        relay.append(writer)
        await asyncio.gather(pump(reader, their_writer), pump(their_reader, writer))

    server = await asyncio.start_server(middle, "127.0.0.1", 0)
    aim(gateway, address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    running = asyncio.ensure_future(run(gateway.ssh("echo begun; sleep 60")))
    await eventually(lambda: "begun" in gateway.serving.recorder.text(1))
    relay[0].close()
    ran = await running
    assert (ran.status, ran.out) == (255, b"begun\n")
    assert b"The connection to the target was lost. (target_closed, " in ran.err
    server.close()


def hang_up(connection: asyncssh.SSHServerConnection) -> None:
    """End the TCP connection without a word, as a server process does that dies."""
    connection._transport.close()


class Rude(asyncssh.SSHServer):
    """A target that hangs up as soon as somebody asks it for anything."""

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connection = connection

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return Hangup(self._connection)


class Hangup(asyncssh.SSHServerSession[bytes]):
    def __init__(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connection = connection

    def pty_requested(self, term_type: str, term_size: object, term_modes: object) -> bool:
        hang_up(self._connection)
        return True

    def exec_requested(self, command: str) -> bool:
        hang_up(self._connection)
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        hang_up(self._connection)
        return True


async def test_a_target_that_hangs_up_while_a_program_is_started(gateway: Gateway) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with await asyncssh.listen("127.0.0.1", 0, server_factory=Rude, server_host_keys=[key], encoding=None) as server:
        pinned = key.export_public_key().decode().strip()
        aim(
            gateway,
            address=f"127.0.0.1:{server.get_port()}",
            options={**gateway.serving.target.options, "host_keys": [pinned]},
        )
        for ran in await every_way(gateway):
            assert ran.status == 255, ran
            assert b"target_closed" in ran.err.replace(b"\r", b"") + ran.out, ran
            assert b"internal" not in ran.err


class Inside(asyncssh.SSHServer):
    """A target that wants to reach into the network through the gateway: every channel that a server may open to its client."""

    def __init__(self, tried: list[str]) -> None:
        self.tried = tried

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def begin_auth(self, username: str) -> bool:
        return False

    async def reach(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        conn, session = self.conn, asyncssh.SSHTCPSession
        ways = {
            "forwarded-tcpip": conn.create_connection(session, "127.0.0.1", 22),
            "forwarded-streamlocal": conn.create_unix_connection(asyncssh.SSHUNIXSession, "/run/docker.sock"),
            "x11": conn.create_x11_connection(session),
            "auth-agent": conn.create_agent_connection(asyncssh.SSHUNIXSession),
        }
        for name, way in ways.items():
            try:
                await way
                self.tried.append(f"{name} opened")
            except asyncssh.ChannelOpenError:
                self.tried.append(f"{name} refused")
        process.stdout.write(b"done\n")
        process.exit(0)


async def test_a_target_reaches_nothing_through_the_gateway(gateway: Gateway) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    tried: list[str] = []
    made: list[Inside] = []

    def factory() -> Inside:
        made.append(Inside(tried))
        return made[-1]

    async with await asyncssh.listen(
        "127.0.0.1", 0, server_factory=factory, server_host_keys=[key], encoding=None,
        process_factory=lambda process: made[-1].reach(process),
    ) as server:  # fmt: skip
        pinned = key.export_public_key().decode().strip()
        aim(gateway, address=f"127.0.0.1:{server.get_port()}", options={"host_keys": [pinned]})
        ran = await run(gateway.ssh("id"))
    assert ran.out == b"done\n", ran
    assert tried == [f"{name} refused" for name in ("forwarded-tcpip", "forwarded-streamlocal", "x11", "auth-agent")]


class Picky(asyncssh.SSHServer):
    """Lets everybody in, and takes packets of ten bytes."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> Any:
        return self.conn.create_server_channel(encoding=None, max_pktsize=10), Taking()


class Taking(asyncssh.SSHServerSession[bytes]):
    """Starts whatever is asked for."""

    def exec_requested(self, command: str) -> bool:
        return True


async def test_a_target_that_takes_only_crumbs_gets_none(gateway: Gateway) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with await asyncssh.listen("127.0.0.1", 0, server_factory=Picky, server_host_keys=[key], encoding=None) as server:
        pinned = key.export_public_key().decode().strip()
        aim(gateway, address=f"127.0.0.1:{server.get_port()}", options={"host_keys": [pinned]})
        ran = await run(gateway.ssh("cat"))
    assert ran.status == 255, ran
    assert b"target_closed" in ran.err
