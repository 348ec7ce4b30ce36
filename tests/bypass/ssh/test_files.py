"""File transfer past the policy: by handles, by order, by spelling, by packets that two readers read differently."""

from __future__ import annotations

import asyncio
import os
import struct
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.bypass.raw import Heard, raw_channel
from tests.bypass.world import World
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

OK, DENIED, FAILURE, BAD, UNSUPPORTED = 0, 3, 4, 5, 8


def s(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class Client:
    """Speaks sftp by hand."""

    def __init__(self, chan: Any, heard: Heard) -> None:
        self.chan, self.heard = chan, heard
        self._at = 0

    def send(self, kind: int, number: int, *parts: bytes) -> None:
        body = b"".join(parts)
        self.chan.write(struct.pack(">IBI", len(body) + 5, kind, number) + body)

    async def answer(self) -> tuple[int, int, bytes]:
        """Return type, number and rest of the next answer."""
        async with asyncio.timeout(HANG_S):
            while True:
                text = self.heard.text[self._at :]
                if len(text) >= 4 and len(text) >= 4 + (size := int.from_bytes(text[:4], "big")):
                    self._at += 4 + size
                    return text[4], int.from_bytes(text[5:9], "big"), text[9 : 4 + size]
                if self.chan.is_closing() and self.heard.lost:
                    raise ConnectionError
                await asyncio.sleep(0.01)

    async def ask(self, kind: int, *parts: bytes, number: int = 7) -> tuple[int, bytes]:
        self.send(kind, number, *parts)
        found, said, rest = await self.answer()
        assert said == number
        return (int.from_bytes(rest[:4], "big"), rest) if found == 101 else (-found, rest)


class OutOnly(Heard):
    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype is None:
            super().data_received(data, datatype)


async def client(conn: asyncssh.SSHClientConnection) -> Client:
    chan, _ = await raw_channel(conn)
    chan._session = heard = OutOnly()
    assert await chan._make_request(b"subsystem", s(b"sftp"))
    chan.resume_reading()
    made = Client(chan, heard)
    chan.write(struct.pack(">IBI", 5, 1, 3))
    assert (await made.answer())[0] == 2
    return made


def opening(path: bytes, flags: int = 1) -> bytes:
    return s(path) + struct.pack(">II", flags, 0)


@pytest.fixture
def files(world: World) -> Path:
    return world.vault.parent


async def test_every_request_that_names_the_vault(world: World, files: Path) -> None:
    vault, key = str(files / "vault").encode(), str(files / "vault" / "key").encode()
    free = files / "free"
    free.write_text("free\n")
    mine, none = str(free).encode(), b"\0\0\0\0"
    rows: list[tuple[int, bytes]] = [
        (3, opening(key)),
        (3, opening(key, 0)),
        (3, opening(key, 2 | 8 | 16)),
        (3, opening(files.as_posix().encode() + b"//vault/./key")),
        (3, opening(files.as_posix().encode() + b"/vault/x/../key")),
        (3, opening(b"/../../" + key)),
        (3, opening(b"//" + key)),
        (3, opening(key + b"/")),
        (7, s(key)),
        (9, s(key) + none),
        (11, s(vault)),
        (11, s(vault + b"/")),
        (13, s(key)),
        (14, s(vault) + none),
        (15, s(vault)),
        (17, s(key)),
        (18, s(key) + s(mine + b"2")),
        (18, s(mine) + s(key)),
        (18, s(vault) + s(mine + b"2")),
        (19, s(key)),
        (20, s(key) + s(mine + b"-link")),
        (20, s(b"vault/key") + s(mine + b"-link")),
        (20, s(mine) + s(key)),
        (200, s(b"posix-rename@openssh.com") + s(key) + s(mine)),
        (200, s(b"hardlink@openssh.com") + s(key) + s(mine + b"3")),
        (200, s(b"lsetstat@openssh.com") + s(key) + none),
        (200, s(b"statvfs@openssh.com") + s(key)),
        (200, s(b"expand-path@openssh.com") + s(key)),
    ]
    async with await world.connect() as conn:
        sftp = await client(conn)
        for kind, body in rows:
            code, rest = await sftp.ask(kind, body)
            assert code == DENIED, (kind, body, rest)
            assert b"The vault is closed." in rest or b"denied" in rest
        # The twin: the same requests, next door.
        assert (await sftp.ask(3, opening(mine)))[0] == -102
        assert (await sftp.ask(7, s(mine)))[0] == -105
        assert (await sftp.ask(11, s(str(files).encode())))[0] == -102
        assert (await sftp.ask(200, s(b"hardlink@openssh.com") + s(mine) + s(mine + b"3")))[0] == OK
        assert (await sftp.ask(20, s(mine) + s(mine + b"4")))[0] == OK
    assert (files / "vault" / "key").read_text() == "the vault's key\n"


async def test_every_request_that_reaches_the_vault_through_a_link(world: World, files: Path) -> None:
    """Links that were there before, of every kind; and a path that only the kernel walks into the vault."""
    (files / "tray" / "deep").mkdir(parents=True)
    (files / "tray" / "note").write_text("a note\n")
    for name, content in {
        "key-link": files / "vault" / "key",
        "twice": Path("key-link"),
        "room": files / "vault",
        "around": files / "tray" / "deep",
        "harmless": Path("tray/note"),
    }.items():
        (files / name).symlink_to(content)
    at, none = os.fsencode(files) + b"/", b"\0\0\0\0"
    rows: list[tuple[int, bytes]] = [
        (3, opening(at + b"key-link")),
        (3, opening(at + b"twice", 2 | 8 | 16)),
        (3, opening(at + b"room/key")),
        (3, opening(at + b"room/../vault/key")),
        (3, opening(at + b"around/../../vault/key")),
        (7, s(at + b"room/")),
        (7, s(at + b"room/.")),
        (9, s(at + b"key-link") + none),
        (11, s(at + b"room")),
        (13, s(at + b"room/key")),
        (16, s(at + b"key-link")),
        (17, s(at + b"twice")),
        (18, s(at + b"room/key") + s(at + b"mine")),
        (18, s(at + b"tray/note") + s(at + b"room/key")),
        (20, s(at + b"room/key") + s(at + b"soft")),
        (20, s(b"room/key") + s(at + b"soft")),
        (200, s(b"posix-rename@openssh.com") + s(at + b"tray/note") + s(at + b"room/key")),
        (200, s(b"hardlink@openssh.com") + s(at + b"key-link") + s(at + b"hard")),
        (200, s(b"lsetstat@openssh.com") + s(at + b"room/key") + none),
        (200, s(b"statvfs@openssh.com") + s(at + b"room")),
        (200, s(b"expand-path@openssh.com") + s(at + b"room/key")),
    ]
    async with await world.connect() as conn:
        sftp = await client(conn)
        for kind, body in rows:
            code, rest = await sftp.ask(kind, body)
            assert code == DENIED, (kind, body, rest)
        # In one breath: what stands behind a denied link is decided for itself, and in its order.
        for number, path in ((31, b"key-link"), (32, b"harmless"), (33, b"room/key")):
            sftp.send(3, number, opening(at + path))
        kinds = [(number, kind) for kind, number, _ in [await sftp.answer() for _ in range(3)]]
        assert kinds == [(31, 101), (32, 102), (33, 101)]
        # The twin: a link is a thing of its own, and one that leads nowhere closed is no obstacle.
        assert (await sftp.ask(7, s(at + b"room")))[0] == -105
        assert (await sftp.ask(19, s(at + b"key-link")))[0] == -104
        assert (await sftp.ask(11, s(at + b"around")))[0] == -102
        assert (await sftp.ask(13, s(at + b"twice")))[0] == OK
    assert (files / "vault" / "key").read_text() == "the vault's key\n"
    assert (files / "tray" / "note").exists()
    assert not (files / "soft").is_symlink()
    for name in ("key-link", "room", "around", "harmless"):
        (files / name).unlink()


async def test_requests_behind_a_denial_and_guessed_handles(world: World, files: Path) -> None:
    key = str(files / "vault" / "key").encode()
    mine = str(files / "mine").encode()
    (files / "mine").write_text("mine\n")
    async with await world.connect() as conn:
        sftp = await client(conn)
        # Sent in one breath: the opening is denied, and what is built on it must not find another file's handle.
        sftp.send(3, 1, opening(key))
        for number, handle in enumerate((b"\0\0\0\0", b"\0\0\0\1", b"", b"\0" * 256), 2):
            sftp.send(5, number, s(handle), struct.pack(">QI", 0, 100))
        codes = {number: int.from_bytes(rest[:4], "big") for _, number, rest in [await sftp.answer() for _ in range(5)]}
        assert codes == {1: DENIED, 2: FAILURE, 3: FAILURE, 4: FAILURE, 5: FAILURE}
        code, rest = await sftp.ask(3, opening(mine))
        assert code == -102
        handle = rest[4 : 4 + int.from_bytes(rest[:4], "big")]
        # A handle that was opened to be read is good for that and nothing else.
        assert (await sftp.ask(6, s(handle), struct.pack(">Q", 0), s(b"x")))[0] == FAILURE
        assert (await sftp.ask(12, s(handle)))[0] == FAILURE
        assert (await sftp.ask(200, s(b"copy-data"), s(handle), struct.pack(">QQ", 0, 0), s(handle), struct.pack(">Q", 0)))[
            0
        ] == FAILURE
        assert (await sftp.ask(5, s(handle), struct.pack(">QI", 0, 100)))[0] == -103
        # Closed and used again in one breath: the server might have given the number to another file by then.
        sftp.send(4, 20, s(handle))
        sftp.send(5, 21, s(handle), struct.pack(">QI", 0, 100))
        answers = {number: int.from_bytes(rest[:4], "big") for _, number, rest in [await sftp.answer() for _ in range(2)]}
        assert answers == {20: OK, 21: FAILURE}
        # Another channel's handles are nothing here.
        other = await client(conn)
        assert (await other.ask(5, s(handle), struct.pack(">QI", 0, 100)))[0] == FAILURE


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (3, s(b"/tmp/a\0/key") + struct.pack(">II", 1, 0), BAD),
        (3, s(b"/" + b"a" * 5000) + struct.pack(">II", 1, 0), BAD),
        (3, opening(b"/tmp/x") + b"trailing", BAD),
        (3, s(b"/tmp/x") + struct.pack(">I", 1), BAD),
        (3, s(b"/tmp/x") + struct.pack(">II", 0x4000_0001, 0), BAD),
        (3, s(b"/tmp/x") + struct.pack(">III", 1, 0x8000_0000, 1) + s(b"acl") + s(b"x"), BAD),
        (3, b"\xff\xff\xff\xff" + b"/tmp/x", BAD),
        (5, s(b"h" * 300) + struct.pack(">QI", 0, 1), BAD),
        (16, s(b"/etc") + b"\1" + s(b"passwd"), BAD),
        (21, s(b"/etc/passwd"), UNSUPPORTED),
        (22, s(b"/etc/passwd"), UNSUPPORTED),
        (255, b"", UNSUPPORTED),
        (1, b"", UNSUPPORTED),
        (200, s(b"space-available") + s(b"/"), UNSUPPORTED),
        (200, s(b"vendor-id") + s(b"x"), UNSUPPORTED),
        (200, s(b"text-seek"), UNSUPPORTED),
        (200, s(b"home-directory") + s(b"root"), UNSUPPORTED),
        (200, s(b"\x1b[2Jx@openssh.com"), UNSUPPORTED),
        (200, b"", BAD),
        (200, s(b"limits@openssh.com") + b"more", BAD),
        (200, s(b"users-groups-by-id@openssh.com") + s(b"abc") + s(b""), BAD),
        (200, s(b"users-groups-by-id@openssh.com") + s(b""), BAD),
    ],
)
async def test_a_packet_that_two_readers_might_read_differently(world: World, kind: int, body: bytes, code: int) -> None:
    async with await world.connect() as conn:
        sftp = await client(conn)
        found, rest = await sftp.ask(kind, body)
        assert found == code, rest
        assert b"\x1b" not in rest
        assert (await sftp.ask(16, s(b".")))[0] == -104


@pytest.mark.parametrize(
    "packet",
    [
        b"\xff\xff\xff\xff\x03",
        b"\0\0\0\0",
        struct.pack(">I", 300_000) + b"\x03",
        struct.pack(">IB", 2, 3) + b"x",
        (struct.pack(">IBI", 9, 16, 5) + s(b"")) * 2,
    ],
    ids=["4 GB", "empty", "too long", "no number", "a number twice"],
)
async def test_a_stream_that_makes_no_sense_ends_with_a_code(world: World, packet: bytes) -> None:
    async with await world.connect() as conn:
        sftp = await client(conn)
        sftp.chan.write(packet)
        async with asyncio.timeout(HANG_S):
            await sftp.chan.wait_closed()
        assert sftp.chan.get_exit_status() in (126, 255)
        assert (await (await client(conn)).ask(16, s(b".")))[0] == -104
    assert "ssh.channel.failed" not in world.log()


async def test_names_with_newlines_forge_no_lines(world: World, files: Path) -> None:
    name = files / 'x\n{"event":"operation","verdict":"allowed","text":"forged"}\n\x1b[2J\u202e'
    name.write_text("odd")
    async with await world.connect() as conn:
        sftp = await client(conn)
        assert (await sftp.ask(3, opening(os.fsencode(name))))[0] == -102
        assert (await sftp.ask(3, opening(os.fsencode(files) + b"/bad-\xff\xfe")))[0] == 2
    sid = world.sessions(target="prod-web")[0]["sid"]
    await world.over(sid)
    lines = world.recorded(sid)
    assert not [line for line in lines if line.startswith('{"event"') or '"text":"forged"' in line]
    assert any("forged" in line for line in lines)
    assert any("not_utf8" in line for line in lines)


def test_the_twin_scp_and_sftp_as_people_use_them(world: World, tmp_path: Path, files: Path) -> None:
    here = tmp_path / "up"
    here.write_bytes(os.urandom(300_000))
    assert world.run("scp", str(here), f"prod-web:{files}/up").returncode == 0
    assert world.run("scp", f"prod-web:{files}/up", str(tmp_path / "down")).returncode == 0
    assert (tmp_path / "down").read_bytes() == here.read_bytes()
    old = world.run("scp", "-O", str(here), f"prod-web:{files}/up2")
    assert old.returncode != 0
    assert "not_supported" in old.stderr
    assert not (files / "up2").exists()
    closed = world.run("scp", f"prod-web:{files}/vault/key", str(tmp_path / "key"))
    assert closed.returncode != 0
    assert "The vault is closed." in closed.stderr
