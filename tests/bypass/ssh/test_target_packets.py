"""Packets that a target has no business to send, beside a program: they open nothing, answer nothing, and disturb nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncssh
import msgspec
import pytest
from asyncssh import constants as ssh
from asyncssh.packet import Boolean, String, UInt32

from tests.bypass.raw import ask, raw_channel
from tests.bypass.ssh.test_files import s
from tests.integration.plugin_listener import eventually
from tests.integration.ssh.conftest import Gateway
from tests.integration.ssh.test_transfers import connect
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

ESCAPES = b"\x1b[2J\x1b]0;owned\x07" * 50
NEVER = UInt32(4242)
Packet = tuple[int, tuple[Any, ...]]


def opening(kind: str, *rest: bytes) -> Packet:
    return ssh.MSG_CHANNEL_OPEN, (String(kind), UInt32(7), UInt32(1 << 20), UInt32(1 << 15), *rest)


def asking(kind: str, *rest: bytes) -> Packet:
    return ssh.MSG_GLOBAL_REQUEST, (String(kind), Boolean(True), *rest)


def wishing(kind: str, *rest: bytes) -> Packet:
    return ssh.MSG_CHANNEL_REQUEST, ("channel", String(kind), Boolean(True), *rest)


KEY = asyncssh.generate_private_key("ssh-ed25519").public_data
PLACE = (String("127.0.0.1"), UInt32(22), String("127.0.0.1"), UInt32(1))
GOES_ON: dict[str, list[Packet]] = {
    "a program at the gateway": [opening("session")],
    "a way through the gateway": [opening("direct-tcpip", *PLACE)],
    "a connection that nobody listens for": [opening("forwarded-tcpip", *PLACE)],
    "a socket that nobody listens for": [opening("forwarded-streamlocal@openssh.com", String("/x"), String(""))],
    "the person's keys": [opening("auth-agent@openssh.com")],
    "the person's screen": [opening("x11", String("127.0.0.1"), UInt32(1))],
    "a device": [opening("tun@openssh.com", UInt32(1), UInt32(0))],
    "a channel of no kind": [opening("no-such-thing@example.com")] * 500,
    "new keys of the host": [asking("hostkeys-00@openssh.com", String(KEY), String(b"junk"))] * 500,
    "to prove keys": [asking("hostkeys-prove-00@openssh.com", String(KEY))],
    "to listen at the gateway": [asking("tcpip-forward", String(""), UInt32(0))],
    "a request of no kind": [asking("no-such-thing@example.com")] * 500,
    "a program on the program's channel": [wishing("exec", String("id"))],
    "the keys on the program's channel": [wishing("auth-agent-req@openssh.com")],
    "a terminal on the program's channel": [wishing("pty-req", String("xterm"), *[UInt32(1)] * 4, String(""))],
    "words for somebody who debugs": [(ssh.MSG_DEBUG, (Boolean(True), String(ESCAPES), String(b"")))] * 200,
    "nothing, often": [(ssh.MSG_IGNORE, (String(b"x" * 30_000),))] * 50,
    "a message that is not known": [(192, (String(ESCAPES),))] * 200,
    "more room than there is": [(ssh.MSG_CHANNEL_WINDOW_ADJUST, ("channel", UInt32(0xFFFFFFFF)))] * 20,
}
ENDS: dict[str, list[Packet]] = {
    "a channel named like the reader of openings": [opening("channel")],
    "an answer to no question": [(ssh.MSG_CHANNEL_SUCCESS, ("channel",))],
    "an answer to nothing that was asked of all": [(ssh.MSG_REQUEST_SUCCESS, ())],
    "a channel opened again": [(ssh.MSG_CHANNEL_OPEN_CONFIRMATION, ("channel", UInt32(0), UInt32(1), UInt32(1)))],
    "a channel refused that is open": [(ssh.MSG_CHANNEL_OPEN_FAILURE, ("channel", UInt32(1), String(ESCAPES), String("")))],
    "output of no kind": [(ssh.MSG_CHANNEL_EXTENDED_DATA, ("channel", UInt32(7), String(b"evil")))],
    "output of a channel that is not": [(ssh.MSG_CHANNEL_DATA, (NEVER, String(b"evil")))],
    "output behind its end": [(ssh.MSG_CHANNEL_EOF, ("channel",)), (ssh.MSG_CHANNEL_DATA, ("channel", String(b"evil")))],
    "output behind its close": [(ssh.MSG_CHANNEL_CLOSE, ("channel",)), (ssh.MSG_CHANNEL_DATA, ("channel", String(b"evil")))],
    "keys that were not agreed on": [(ssh.MSG_NEWKEYS, ())],
    "a login of its own": [(ssh.MSG_USERAUTH_REQUEST, (String("root"), String("ssh-connection"), String("none")))],
    "a service of its own": [(ssh.MSG_SERVICE_REQUEST, (String("ssh-userauth"),))],
    "last words of escapes": [(ssh.MSG_DISCONNECT, (UInt32(11), String(ESCAPES), String(b"")))],
}


class Told:
    """A target that says ``begin``, sends its packets, says ``end``, and is done."""

    packets: list[Packet]

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if process.command == "calm":
            process.stdout.write(b"calm\n")
            process.exit(0)
            return
        conn: Any = process.get_extra_info("connection")
        own: Any = process.channel
        process.stdout.write(b"begin\n")
        with contextlib.suppress(OSError, asyncssh.Error):
            for kind, parts in self.packets:
                conn.send_packet(kind, b"".join(UInt32(own._send_chan) if part == "channel" else part for part in parts))
            # Refusals of what was opened name a channel that asyncssh knows nothing of.
            conn._packet_handlers = conn._packet_handlers | dict.fromkeys((82, 91, 92, 99, 100, 81), lambda *_: None)
            process.stdout.write(b"end\n")
            process.exit(0)


@pytest.fixture
async def told(gateway: Gateway) -> AsyncIterator[Told]:
    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    told, key = Told(), asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(Open, "127.0.0.1", 0, server_host_keys=[key], process_factory=told.serve, encoding=None)
    assert gateway.serving is not None
    old = gateway.serving.target
    options = {"host_keys": [key.export_public_key().decode().strip()], "forward": ["*:*"], "listen": ["*:*"]}
    gateway.serving.target = msgspec.structs.replace(old, address=f"127.0.0.1:{server.get_port()}", options=options)
    yield told
    server.close()


def recorded(gateway: Gateway) -> bytes:
    assert gateway.serving is not None
    return b"".join(gateway.serving.recorder.written.values())


@pytest.mark.parametrize("packets", ENDS.values(), ids=ENDS)
async def test_what_makes_no_sense_ends_the_leg_in_words_and_nothing_else(
    gateway: Gateway, told: Told, packets: list[Packet]
) -> None:
    told.packets = packets
    async with await connect(gateway) as twin, await connect(gateway) as conn:
        assert await ask(twin, b"exec", s(b"calm")) == (0, b"calm\n")
        async with asyncio.timeout(HANG_S):
            status, said = await ask(conn, b"exec", s(b"evil"))
        # The next program dials again, and others never noticed.
        assert await ask(conn, b"exec", s(b"calm")) == (0, b"calm\n")
        assert await ask(twin, b"exec", s(b"calm")) == (0, b"calm\n")
    await gateway.idle()
    assert (status, b"target_closed" in said) == (255, True)
    assert b"\x1b" not in said
    assert b"evil" not in said
    assert b"\\u001b" not in recorded(gateway)


async def test_of_two_ends_the_first_one_counts(gateway: Gateway, told: Told) -> None:
    told.packets = [wishing("exit-status", UInt32(3)), wishing("exit-status", UInt32(0)), wishing("exit-signal")]
    async with await connect(gateway) as conn:
        assert await ask(conn, b"exec", s(b"evil")) == (3, b"begin\n")
        assert await ask(conn, b"exec", s(b"calm")) == (0, b"calm\n")
    await gateway.idle()
    # What is on record is what the client was told.
    assert b'"x","3"' in recorded(gateway).replace(b", ", b",")


async def test_more_output_than_there_is_room_for(gateway: Gateway, told: Told) -> None:
    told.packets = [(ssh.MSG_CHANNEL_DATA, ("channel", String(b"evil" * 4_000)))] * 3_000
    async with await connect(gateway) as twin, await connect(gateway) as conn:
        chan, heard = await raw_channel(conn)
        assert await chan._make_request(b"exec", s(b"evil"))  # nothing is read, so the target's window is not opened again
        assert await ask(twin, b"exec", s(b"calm")) == (0, b"calm\n")
        await eventually(lambda: b"target_closed" in recorded(gateway))
        chan.resume_reading()
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()
        assert chan.get_exit_status() == 255
        assert len(heard.text) < 24_000_000
        assert await ask(conn, b"exec", s(b"calm")) == (0, b"calm\n")


@pytest.mark.parametrize("packets", GOES_ON.values(), ids=GOES_ON)
async def test_what_nobody_asked_for_is_refused_and_the_program_goes_on(
    gateway: Gateway, told: Told, packets: list[Packet]
) -> None:
    told.packets = packets
    async with await connect(gateway) as conn:
        async with asyncio.timeout(HANG_S):
            status, said = await ask(conn, b"exec", s(b"evil"))
        assert (status, said) == (0, b"begin\nend\n")
    await gateway.idle()
    assert b"\\u001b" not in recorded(gateway)
