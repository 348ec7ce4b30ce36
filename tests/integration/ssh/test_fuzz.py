"""Clients and targets whose packets are damaged: in the clear during the handshake, and under the right keys afterwards.

Whatever arrives, a connection ends or goes on; nothing is logged as a fault of ours, nothing runs that was not asked for whole,
and the next client is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from agent.protocols.ssh import target as target_leg
from agent.protocols.ssh import transport
from tests.bypass.raw import raw_channel
from tests.bypass.ssh.test_files import s
from tests.fakes.agent_runtime import FakeDoor
from tests.integration.plugin_listener import run
from tests.integration.ssh.conftest import Gateway
from tests.integration.ssh.test_limits import connect
from tests.integration.ssh.test_login import Person
from tests.integration.ssh.test_target import aim

pytestmark = pytest.mark.servers

#: Damaged clients of each kind. ``SSH_FUZZ=2000`` takes some minutes.
CLIENTS = int(os.environ.get("SSH_FUZZ", "40"))

Damage = Callable[[random.Random, bytes], bytes]


def damaged(dice: random.Random, data: bytes) -> bytes:
    """Change a byte or a length, cut, repeat or lengthen."""
    if not data:
        return dice.randbytes(dice.randrange(5))
    at = dice.randrange(len(data))
    ways: list[Callable[[], bytes]] = [
        lambda: data[:at] + bytes((dice.randrange(256),)) + data[at + 1 :],
        lambda: data[:at] + struct.pack(">I", dice.choice((0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, 256 * 1024))) + data[at + 4 :],
        lambda: data[:at],
        lambda: data + dice.randbytes(dice.randrange(1, 40)),
        lambda: data[:at] + data,
        lambda: dice.randbytes(len(data)),
    ]
    return dice.choice(ways)()


def damage(conn: Any, dice: random.Random) -> None:
    """Damage one packet in eight before it is sealed; and its type now and then."""
    send = conn.send_packet

    def send_damaged(kind: int, *parts: bytes, handler: Any = None) -> None:
        if dice.random() < 0.125:
            whole = damaged(dice, b"".join(parts))
            send(kind if dice.random() < 0.8 else dice.randrange(1, 256), whole)
            if dice.random() < 0.3:
                send(kind, *parts)
        else:
            send(kind, *parts, handler=handler)

    conn.send_packet = send_damaged


class Damaged(asyncssh.SSHClient):
    """A client with damaged packets."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        damage(conn, self.dice)


class DamagedTarget(asyncssh.SSHServer):
    """A target with damaged packets, which lets everybody in."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        damage(conn, self.dice)

    def begin_auth(self, username: str) -> bool:
        return False


async def visit(gateway: Gateway, dice: random.Random, **options: Any) -> None:
    """Log in, open channels and ask for things, as far as one gets."""
    settings: dict[str, Any] = {"config": None, "known_hosts": None, "username": "web", "client_keys": None, "agent_path": None}
    with contextlib.suppress(asyncssh.Error, OSError, TimeoutError, ValueError, KeyError, AssertionError, EOFError):
        async with asyncio.timeout(3):
            conn = await asyncssh.connect("127.0.0.1", gateway.port, client_factory=lambda: Damaged(dice), **(settings | options))
            try:
                for kind, text in ((b"exec", b"echo asked"), (b"subsystem", b"sftp"), (b"shell", b"")):
                    chan, _ = await raw_channel(conn)
                    await chan._make_request(b"env", s(b"LC_ALL"), s(b"C"))
                    await chan._make_request(b"pty-req", s(b"xterm"), struct.pack(">IIII", 80, 24, 0, 0), s(b"\0"))
                    await chan._make_request(kind, *([s(text)] if text else []))
                    chan.resume_reading()
                    for _ in range(5):
                        chan.write(struct.pack(">IBI", 9 + len(b"/tmp"), 16, 7) + s(b"/tmp") if text == b"sftp" else b"x\n")
                    await asyncio.sleep(0)
                await conn.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", 1)
            finally:
                conn.abort()


async def survived(gateway: Gateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """Another client is served, and nothing was logged as our own fault."""
    gateway.door = None
    await gateway.idle()
    ran = await run(gateway.ssh("echo honest"))
    assert ran.out == b"honest\n", ran
    said = caplog.text + "".join(capfd.readouterr())
    for bad in ("Traceback", "ssh.channel.failed", "ssh.task.failed", "ssh.identity", "internal"):
        assert bad not in said, said[-3000:]
    assert "internal" not in {notice.code for notice in gateway.notices}


@pytest.mark.parametrize("part", range(2))
async def test_damaged_packets_under_the_right_keys(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], part: int
) -> None:
    for seed in range(part * CLIENTS // 2, (part + 1) * CLIENTS // 2):
        await visit(gateway, random.Random(seed))
    await survived(gateway, caplog, capfd)


async def test_damaged_packets_of_somebody_with_a_certificate(
    gateway: Gateway, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.door = FakeDoor(gateway.serving)
    person = Person(tmp_path, gateway)
    keys = [(person.key, asyncssh.import_certificate(person.certify()))]
    for seed in range(CLIENTS):
        await visit(gateway, random.Random(1_000_000 + seed), client_keys=keys)
    await survived(gateway, caplog, capfd)


async def test_damaged_handshakes(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes are changed on the wire, where no key protects them yet."""

    class Wire(asyncssh.SSHClient):
        def __init__(self, dice: random.Random) -> None:
            self.dice = dice

        def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
            raw: Any = conn
            send = raw._send
            raw._send = lambda data: send(damaged(self.dice, data) if self.dice.random() < 0.4 else data)

    async def visit_damaged(dice: random.Random) -> None:
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(2):
                conn = await asyncssh.connect(
                    "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None, agent_path=None,
                    client_factory=lambda: Wire(dice),
                )  # fmt: skip
                conn.abort()

    # The honest client afterwards has all the time that clients have.
    with monkeypatch.context() as shortened:
        shortened.setattr(transport, "HANDSHAKE_S", 1.0)
        for seed in range(CLIENTS):
            await visit_damaged(random.Random(2_000_000 + seed))
        await gateway.idle()
    await survived(gateway, caplog, capfd)


async def test_damaged_targets(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target's broken packets are the target's fault, and said in words."""
    honest = gateway.serving.target
    key = asyncssh.generate_private_key("ssh-ed25519")
    dice = random.Random(3_000_000)

    async def say(process: Any) -> None:
        for _ in range(20):
            process.stdout.write(b"said\n" * dice.randrange(1, 50))
            process.stderr.write(b"erred\n")
            await asyncio.sleep(0)
        process.exit(dice.randrange(3))

    async with await asyncssh.listen(
        "127.0.0.1", 0, server_factory=lambda: DamagedTarget(dice), server_host_keys=[key], encoding=None, process_factory=say
    ) as server:
        pinned = key.export_public_key().decode().strip()
        aim(gateway, address=f"127.0.0.1:{server.get_port()}", options={"host_keys": [pinned], "shell": "recorded"})
        with monkeypatch.context() as shortened:
            shortened.setattr(target_leg, "HANDSHAKE_S", 1.0)
            for _ in range(CLIENTS):
                with contextlib.suppress(asyncssh.Error, TimeoutError):
                    async with asyncio.timeout(3), await connect(gateway) as conn:
                        await asyncio.gather(*(conn.run("x", encoding=None) for _ in range(3)), return_exceptions=True)
            await gateway.idle()
    gateway.serving.target = honest
    await survived(gateway, caplog, capfd)
