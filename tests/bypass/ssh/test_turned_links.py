"""One person, two file transfers at once: the second turns a name while the first follows it. Real sshd and its file server."""

from __future__ import annotations

import asyncio
import os
import struct
from pathlib import Path

import pytest

from tests.bypass.ssh.test_files import DENIED, OK, Client, opening, s
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.ssh.test_transfers import connect, raw_client

pytestmark = pytest.mark.servers

#: Once in seventy the link was there in the moment between the question and the request.
TRIES = 300
NONE = b"\0\0\0\0"
RENAME = s(b"posix-rename@openssh.com")
HARDLINK = s(b"hardlink@openssh.com")


async def turn(sftp: Client, at: bytes, over: asyncio.Event) -> int:
    """Make ``room/name`` a file, a link into the vault, a file, … until it is ``over``. Returns how often that was done."""
    times = 0
    while not over.is_set():
        # What the link says leads nowhere where it is made; it is moved to where it leads into the vault.
        steps = [
            (200, HARDLINK + s(at + b"room/plain") + s(at + b"room/other")),
            (200, RENAME + s(at + b"room/other") + s(at + b"room/name")),
            (20, s(b"../vault/key") + s(at + b"else/deep/link")),
            (200, RENAME + s(at + b"else/deep/link") + s(at + b"room/name")),
        ]
        for kind, body in steps:
            assert (await sftp.ask(kind, body))[0] == OK
        times += 1
    return times


async def read(sftp: Client, path: bytes) -> bytes | None:
    """Return what is in a file; None where it is denied."""
    code, rest = await sftp.ask(3, opening(path))
    if code == DENIED:
        return None
    assert code == -102, rest
    handle = s(rest[4 : 4 + int.from_bytes(rest[:4], "big")])
    code, data = await sftp.ask(5, handle, struct.pack(">QI", 0, 100))
    assert (code, (await sftp.ask(4, handle))[0]) == (-103, OK)
    return data[4:]


async def test_a_name_that_turns_into_a_link_leads_nowhere_closed(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    closed = f'forbid(principal, action, resource) when {{ context.text like "* {tmp_path}/vault*" }};'
    gateway.serving = serving_for(sshd, "permit(principal, action, resource);", closed)
    for folder in ("vault", "room", "else/deep"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "vault/key").write_text("the vault's key")
    (tmp_path / "room/plain").write_text("plain")
    (tmp_path / "room/name").write_text("plain")
    at = os.fsencode(tmp_path) + b"/"
    async with await connect(gateway) as conn:
        reads, turns, over = await raw_client(conn), await raw_client(conn), asyncio.Event()
        turning = asyncio.ensure_future(turn(turns, at, over))
        seen = [await read(reads, at + b"room/name") for _ in range(TRIES)]
        over.set()
        times = await turning
    # The twin: both went on, and what is open was read.
    assert times > 10
    assert b"plain" in seen
    assert set(seen) <= {b"plain", None}
