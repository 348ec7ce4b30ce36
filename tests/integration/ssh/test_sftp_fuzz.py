"""Damaged and sly file requests, with OpenSSH's own file server behind: what it did, by its own log, is what was permitted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import random
import re
import shutil
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.bypass.raw import raw_channel
from tests.bypass.ssh.test_files import OutOnly, s
from tests.fakes.agent_runtime import FakeIdentity
from tests.integration.plugin_listener import eventually
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.ssh.test_fuzz import damaged
from tests.integration.ssh.test_limits import connect
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

#: Channels full of requests. ``SFTP_FUZZ=500`` takes some minutes.
CHANNELS = int(os.environ.get("SFTP_FUZZ", "25"))
#: What the server did, with the names in quotes: ``open "/x" flags READ mode 0666``, ``rename old "/x" new "/y"``.
DID = re.compile(
    r"^(open|opendir|remove name|rmdir name|mkdir name|rename old|posix-rename old|hardlink old|symlink old|set|statvfs|"
    r"lstat name|stat name|readlink|lsetstat|copy-data from) \""
)
NONE = b"\0\0\0\0"


class Chatty(Sshd):
    """A target whose file server says what it does."""

    @property
    def log(self) -> Path:
        return self.folder / "sftp.log"

    def _write(self, name: str, data: bytes, mode: int) -> None:
        server = f"/usr/lib/openssh/sftp-server -e -l VERBOSE 2>>{self.log}"
        super()._write(name, data.replace(b"internal-sftp", server.encode()), mode)


@pytest.fixture
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatty]:
    server = Chatty(tmp_path_factory.mktemp("chatty"))
    yield server
    server.stop()


@pytest.fixture
async def sly(chatty: Chatty, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(FakeIdentity(), tmp_path)
    closed = f'forbid(principal, action, resource) when {{ context.text like "* {tmp_path}/vault*" }};'
    gate.serving = serving_for(chatty, "permit(principal, action, resource);", closed)
    await gate.listen()
    yield gate
    await gate.close()


def plant(root: Path) -> list[bytes]:
    """Make a vault, an open room and links; return names to ask for."""
    for folder in ("vault", "room"):
        if (root / folder).is_symlink() or (root / folder).is_file():
            (root / folder).unlink()
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder / "deep").mkdir(parents=True)
    for file in ("vault/key", "room/note", "room/deep/leaf"):
        (root / file).write_text("x" * 100)
    links = {
        "room/in": "../vault",
        "room/key": "in/key",
        "room/up": "deep/..",
        "vault/out": "../room",
        "room/new": "../vault/new",
    }
    for name, content in links.items():
        (root / name).symlink_to(content)
    at = os.fsencode(root)
    names = ["vault", "vault/key", "room", "room/note", "room/deep/leaf", "room/fresh", "vault/fresh", *links]
    ways = [
        "room/in/key",
        "room/in/fresh",
        "room/up/in/key",
        "room/in/out/note",
        "room/deep/../in/key",
        "room//key/",
        "room/./new",
    ]
    return [at + b"/" + name.encode() for name in (*names, *ways)]


def request(dice: random.Random, number: int, names: list[bytes]) -> bytes:
    """Return a request that may mean something."""
    one, two = s(dice.choice(names)), s(dice.choice(names))
    handle = s(struct.pack(">I", dice.randrange(4)))
    flags = struct.pack(">I", dice.choice((1, 2, 3, 10, 26, 42, 8, 16, 6)))
    attributes = dice.choice((NONE, struct.pack(">II", 4, 0o644), struct.pack(">IQ", 1, 5)))
    bodies = {
        3: one + flags + attributes, 4: handle, 5: handle + struct.pack(">QI", 0, 50), 6: handle + struct.pack(">Q", 3) + s(b"y"),
        7: one, 8: handle, 9: one + attributes, 10: handle + attributes, 11: one, 12: handle, 13: one, 14: one + attributes,
        15: one, 16: one, 17: one, 18: one + two, 19: one, 20: one + two,
        200: dice.choice((
            s(b"posix-rename@openssh.com") + one + two, s(b"hardlink@openssh.com") + one + two, s(b"statvfs@openssh.com") + one,
            s(b"lsetstat@openssh.com") + one + attributes, s(b"expand-path@openssh.com") + one,
            s(b"copy-data") + handle + struct.pack(">QQ", 0, 0) + handle + struct.pack(">Q", 0),
        )),
    }  # fmt: skip
    kind = dice.choice(list(bodies))
    body = struct.pack(">BI", kind, number) + bodies[kind]
    if dice.random() < 0.1:
        body = damaged(dice, body)
    whole = struct.pack(">I", len(body)) + body
    return damaged(dice, whole) if dice.random() < 0.01 else whole


async def channel(gateway: Gateway, dice: random.Random, names: list[bytes]) -> None:
    """Ask for many things on one channel, cut anywhere."""
    async with await connect(gateway) as conn:
        chan, _ = await raw_channel(conn)
        chan._session = heard = OutOnly()
        assert await chan._make_request(b"subsystem", s(b"sftp"))
        chan.resume_reading()
        chan.write(struct.pack(">IBI", 5, 1, 3))
        await eventually(lambda: heard.text)
        stream: Any = b"".join(request(dice, number, names) for number in range(1, dice.randrange(10, 60)))
        with contextlib.suppress(OSError, asyncssh.Error):
            while stream and not chan.is_closing():
                size = dice.choice((1, 7, 50, 300, 3000))
                chan.write(stream[:size])
                stream = stream[size:]
                if dice.random() < 0.3:
                    await asyncio.sleep(0.002)
            chan.write_eof()
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()


async def test_what_the_server_did_is_what_was_permitted(
    sly: Gateway, chatty: Chatty, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    did = 0
    for seed in range(CHANNELS):
        names = plant(tmp_path)
        await channel(sly, random.Random(seed), names)
        await sly.idle()
        said = chatty.log.read_text(errors="backslashreplace")
        chatty.log.write_text("")
        lines = sly.serving.recorder.lines(1, "jsonl")
        permitted = {line["text"] for line in lines if line.get("event") == "operation" and line["verdict"] == "allowed"}
        for line in said.splitlines():
            # Names that were damaged are escaped in the log in another way than in the record.
            if not DID.match(line) or "\\" in line:
                continue
            did += 1
            paths = re.findall(r'"([^"]*)"', line)
            assert not [path for path in paths if f"{tmp_path}/vault" in posixpath.normpath(path)], (seed, line)
            # The content of a link is as the client wrote it; everything else was permitted under the very name that is used.
            names_of = paths[1:] if line.startswith("symlink") else paths
            assert all(any(path.rstrip("/") in text for text in permitted) for path in names_of), (seed, line)
        assert (tmp_path / "vault" / "key").read_text() == "x" * 100, seed
        assert sorted(each.name for each in (tmp_path / "vault").iterdir()) == ["deep", "key", "out"], seed
    assert did > CHANNELS * 3
    assert "ssh.channel.failed" not in "".join(capfd.readouterr())
