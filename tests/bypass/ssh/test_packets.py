"""Packets that a client has no business to send, in the middle of a program: nothing of them runs, nobody else is disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh import constants as ssh
from asyncssh.packet import Boolean, String, UInt32

from chalicelib.contracts.faults import Notice
from tests.bypass.raw import ask, raw_channel
from tests.bypass.ssh.test_files import opening, s
from tests.integration.plugin_listener import eventually
from tests.integration.ssh.conftest import Gateway
from tests.integration.ssh.test_transfers import connect, raw_client
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

ESCAPES = b"\x1b[2J\x1b]0;owned\x07" * 100
NEVER = UInt32(4242)
#: Each is sent beside a shell that reads its input; ``evil`` is what that input may not become.
ENDS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "input as standard error": (ssh.MSG_CHANNEL_EXTENDED_DATA, ("channel", UInt32(1), "evil")),
    "input of no kind": (ssh.MSG_CHANNEL_EXTENDED_DATA, ("channel", UInt32(7), "evil")),
    "input for a channel that is not": (ssh.MSG_CHANNEL_DATA, (NEVER, "evil")),
    "an answer to no question": (ssh.MSG_CHANNEL_SUCCESS, ("channel",)),
    "an answer to nothing that was asked of all": (ssh.MSG_REQUEST_SUCCESS, ()),
    "a channel that was never asked for": (ssh.MSG_CHANNEL_OPEN_CONFIRMATION, (NEVER, UInt32(0), UInt32(1), UInt32(1))),
    "keys that were not agreed on": (ssh.MSG_NEWKEYS, ()),
    "last words of escapes": (ssh.MSG_DISCONNECT, (UInt32(11), String(ESCAPES), String(b""))),
}
GOES_ON: dict[str, tuple[int, tuple[Any, ...]]] = {
    "more room than there is": (ssh.MSG_CHANNEL_WINDOW_ADJUST, ("channel", UInt32(0xFFFFFFFF))),
    "a message that is not known": (192, ("evil",)),
    "words for somebody who debugs": (ssh.MSG_DEBUG, (Boolean(True), String(ESCAPES), String(b""))),
    "a signal of escapes": (ssh.MSG_CHANNEL_REQUEST, ("channel", String("signal"), Boolean(False), String(ESCAPES))),
    "a signal that is no text": (ssh.MSG_CHANNEL_REQUEST, ("channel", String("signal"), Boolean(False), String(b"\xff\xfe"))),
    "the status of its own": (ssh.MSG_CHANNEL_REQUEST, ("channel", String("exit-status"), Boolean(False), UInt32(0))),
    "nothing": (ssh.MSG_IGNORE, (String(b"x" * 30_000),)),
}


async def sent(conn: asyncssh.SSHClientConnection, packet: tuple[int, tuple[Any, ...]], evil: bytes) -> tuple[Any, bytes]:
    """Send ``packet`` to a shell that reads its input, then a line of the client's own. Returns its status and what it said."""
    chan, heard = await raw_channel(conn)
    assert await chan._make_request(b"exec", s(b"bash -c 'while read -r x; do $x; done'"))
    chan.resume_reading()
    kind, parts = packet
    said = {"channel": UInt32(chan._send_chan), "evil": String(evil)}
    conn.send_packet(kind, b"".join(said[part] if isinstance(part, str) else part for part in parts))  # type: ignore[attr-defined]
    with contextlib.suppress(OSError, asyncssh.Error):
        chan.write(b"echo mine\n")
        chan.write_eof()
    async with asyncio.timeout(HANG_S):
        await chan.wait_closed()
    return chan.get_exit_status(), heard.text


@pytest.mark.parametrize("packet", ENDS.values(), ids=ENDS)
async def test_what_makes_no_sense_ends_the_connection_and_nothing_else(
    gateway: Gateway, tmp_path: Path, packet: tuple[int, tuple[Any, ...]]
) -> None:
    async with await connect(gateway) as twin:
        async with await connect(gateway) as conn:
            status, said = await sent(conn, packet, f"touch {tmp_path}/evil\n".encode())
            assert (status, said) == (None, b"")
        assert await ask(twin, b"exec", s(b"echo still here")) == (0, b"still here\n")
    await gateway.idle()
    assert not (tmp_path / "evil").exists()
    assert b"\\u001b[2J" not in b"".join(gateway.serving.recorder.written.values())


@pytest.mark.parametrize("packet", GOES_ON.values(), ids=GOES_ON)
async def test_the_twin_that_means_nothing_is_nothing(
    gateway: Gateway, tmp_path: Path, packet: tuple[int, tuple[Any, ...]]
) -> None:
    async with await connect(gateway) as conn:
        assert await sent(conn, packet, f"touch {tmp_path}/evil\n".encode()) == (0, b"mine\n")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("what", ["exec", "terminal", "sftp"])
async def test_a_client_that_reads_nothing_keeps_no_session_alive(gateway: Gateway, tmp_path: Path, what: str) -> None:
    pid, big = tmp_path / "pid", tmp_path / "big"
    conn = await connect(gateway)
    if what == "sftp":
        big.write_bytes(bytes(1 << 20))
        sftp = await raw_client(conn)
        status, rest = await sftp.ask(3, opening(os.fsencode(big)))
        assert status == -102
        sftp.chan.pause_reading()
        for number in range(200):
            sftp.send(5, number, rest, (0).to_bytes(8, "big"), (1 << 15).to_bytes(4, "big"))
    else:
        chan, _ = await raw_channel(conn)
        if what == "terminal":
            size = b"".join(map(UInt32, (80, 24, 0, 0)))
            assert await chan._make_request(b"pty-req", s(b"xterm"), size, s(b"\0"))
        assert await chan._make_request(b"exec", s(f"echo $$ > {pid}; exec yes".encode()))
        await eventually(lambda: pid.exists() and bool(pid.read_text()))
    gateway.serving.ended.set_result(Notice("session_killed", "Somebody ended it."))
    await gateway.idle_after_one()
    assert gateway.notices[0].code == "session_killed"
    await eventually(lambda: what == "sftp" or not Path(f"/proc/{pid.read_text().strip()}").exists())
    conn.abort()


async def test_a_storm_of_new_keys_leaves_the_connection_and_others_alone(gateway: Gateway) -> None:
    async with await connect(gateway) as conn, await connect(gateway) as twin:
        storming: Any = conn
        for number in range(50):
            storming._send_kexinit()
            storming._kexinit_sent = True
            if number % 10 == 0:
                assert await ask(twin, b"exec", s(b"echo still here")) == (0, b"still here\n")
            await eventually(lambda: storming._kex_complete and not storming._kexinit_sent and storming._kex is None)
        assert await ask(conn, b"exec", s(b"echo mine")) == (0, b"mine\n")
