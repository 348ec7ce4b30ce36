"""Transfers at their edges: many at once, very large, cut off, resumed, and under names that nobody would choose."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.bypass.raw import raw_channel
from tests.bypass.ssh.test_files import Client, OutOnly, opening, s
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

NAMES = [
    b"a b",
    b"new\nline",
    b"\x1b[2Jescape\x07",
    b"\xff\xfe bytes",
    b"..hidden..",
    b"-rf",
    b"~",
    b"$(id)",
    b"quote'\"`",
    "ＧＲÜẞＥ\u202e".encode(),
    b"x" * 255,
    b"\\xff",
]


async def connect(gateway: Gateway) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None, agent_path=None
    )


async def raw_client(conn: asyncssh.SSHClientConnection) -> Client:
    """An sftp channel that is spoken by hand."""
    chan, _ = await raw_channel(conn)
    chan._session = heard = OutOnly()
    assert await chan._make_request(b"subsystem", s(b"sftp"))
    chan.resume_reading()
    made = Client(chan, heard)
    chan.write(struct.pack(">IBI", 5, 1, 3))
    assert (await made.answer())[0] == 2
    return made


def files(gateway: Gateway) -> list[dict[str, Any]]:
    return [line for line in gateway.serving.recorder.lines(1, "jsonl") if line.get("event") == "file"]


async def test_names_that_nobody_would_choose(gateway: Gateway, tmp_path: Path) -> None:
    tmp_path = tmp_path / "odd"
    tmp_path.mkdir()
    here = os.fsencode(tmp_path)
    async with await connect(gateway) as conn, conn.start_sftp_client(path_encoding=None) as sftp:
        for number, name in enumerate(NAMES):
            data = f"content {number}".encode()
            async with sftp.open(here + b"/" + name, "wb") as remote:
                await remote.write(data)
            assert (tmp_path / os.fsdecode(name)).read_bytes() == data
            async with sftp.open(here + b"/" + name, "rb") as remote:
                assert await remote.read() == data
            await sftp.rename(here + b"/" + name, here + b"/moved")
            await sftp.rename(here + b"/moved", here + b"/" + name)
        assert sorted(await sftp.listdir(here)) == sorted([*NAMES, b".", b".."])
    await gateway.idle()
    told = [(each["path"], each["direction"]) for each in files(gateway)]
    assert len(told) == 2 * len(NAMES)
    assert (f"{tmp_path}/new\nline", "upload") in told
    assert (f"{tmp_path}/\\xff\\xfe bytes", "download") in told
    flagged = [line for line in gateway.serving.recorder.lines(1, "jsonl") if "not_utf8" in line.get("flags", [])]
    assert {line["text"].split(" ", 1)[1] for line in flagged} >= {f"{tmp_path}/\\xff\\xfe bytes"}


async def test_as_many_at_once_as_a_mounted_file_system_asks_for(gateway: Gateway, tmp_path: Path) -> None:
    """A mount sends hundreds of requests without waiting. Every answer goes to its question, in whatever order they are."""
    for n in range(60):
        (tmp_path / f"f{n}").write_bytes(bytes([n]) * n)
    async with await connect(gateway) as conn, conn.start_sftp_client() as sftp:

        async def look(n: int) -> None:
            path = f"{tmp_path}/f{n % 60}"
            assert (await sftp.stat(path)).size == n % 60
            assert (await sftp.realpath(path)) == path
            async with sftp.open(path, "rb") as file:
                assert await file.read() == bytes([n % 60]) * (n % 60)
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.lstat(f"{tmp_path}/none{n}")

        await asyncio.gather(*(look(n) for n in range(300)))


async def test_requests_keep_their_order(gateway: Gateway, tmp_path: Path) -> None:
    """In one write: make, move, look, remove. Each depends on those before it, and all wait for where paths lead."""
    at = os.fsencode(tmp_path)
    none = b"\0\0\0\0"
    async with await connect(gateway) as conn:
        sftp = await raw_client(conn)
        requests = [
            (14, s(at + b"/d") + none),
            (18, s(at + b"/d") + s(at + b"/e")),
            (17, s(at + b"/e")),
            (17, s(at + b"/d")),
            (15, s(at + b"/e")),
            (3, opening(at + b"/e", 2 | 8)),
        ]
        one = b"".join(struct.pack(">IBI", len(body) + 5, kind, number) + body for number, (kind, body) in enumerate(requests, 1))
        for _ in range(3):
            sftp.chan.write(one)
            answers = [await sftp.answer() for _ in requests]
            codes = [(number, kind if kind != 101 else int.from_bytes(rest[:4], "big")) for kind, number, rest in answers]
            assert codes == [(1, 0), (2, 0), (3, 105), (4, 2), (5, 0), (6, 102)]
            (tmp_path / "e").unlink()


def made(folder: Path) -> int:
    return len(list(folder.glob("d*")))


async def test_a_client_that_asks_and_leaves(gateway: Gateway, tmp_path: Path) -> None:
    """The end of input stands behind requests that wait: all of them are done before the file server hears of it."""
    at = os.fsencode(tmp_path)
    async with await connect(gateway) as conn:
        sftp = await raw_client(conn)
        for n in range(50):
            sftp.send(14, n, s(at + b"/d%d" % n), b"\0\0\0\0")
        sftp.chan.write_eof()
        async with asyncio.timeout(HANG_S):
            await sftp.chan.wait_closed()
    assert made(tmp_path) == 50


async def test_twenty_thousand_entries(gateway: Gateway, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for n in range(20_000):
        (many / f"entry-{n:05d}-{'x' * 40}").touch()
    ran = await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), f"ls -1f {many}\n".encode())
    assert ran.status == 0
    assert ran.out.count(b"entry-") == 20_000


async def test_two_hundred_megabytes(gateway: Gateway, tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    with (tmp_path / "up").open("wb") as file:
        for _ in range(200):
            file.write(block)
    lines = f"put {tmp_path}/up {tmp_path}/remote\nget {tmp_path}/remote {tmp_path}/down\n"
    ran = await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), lines.encode())
    assert ran.status == 0, ran
    digest = hashlib.sha256(block * 200).hexdigest()
    for name in ("remote", "down"):
        with (tmp_path / name).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == digest
    await gateway.idle()
    told = [(each["direction"], each["bytes"], each["sha256"], each.get("whole", False)) for each in files(gateway)]
    assert told == [("upload", 200 << 20, digest, False), ("download", 200 << 20, digest, True)]
    for name in ("up", "remote", "down"):
        (tmp_path / name).unlink()


async def test_an_upload_that_is_cut_off_and_resumed(gateway: Gateway, tmp_path: Path) -> None:
    data = os.urandom(8 << 20)
    (tmp_path / "up").write_bytes(data)
    slow = gateway.batch("sftp", "-l", "8000", "-b", "-", "web@127.0.0.1")
    process = await asyncio.create_subprocess_exec(
        *slow, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(f"put {tmp_path}/up {tmp_path}/remote\n".encode())
    remote = tmp_path / "remote"
    await eventually(lambda: remote.exists() and remote.stat().st_size > 200_000)
    process.kill()
    await process.wait()
    await gateway.idle()
    (cut,) = files(gateway)
    there = remote.read_bytes()
    assert (cut["closed"], cut["bytes"], cut["sha256"]) == (False, len(there), hashlib.sha256(there).hexdigest())
    ran = await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), f"put -a {tmp_path}/up {remote}\n".encode())
    assert ran.status == 0, ran
    assert remote.read_bytes() == data
    await gateway.idle()
    _, rest = files(gateway)
    assert (rest["closed"], rest["offset"], rest["bytes"]) == (True, len(there), len(data) - len(there))
    assert rest["sha256"] == hashlib.sha256(data[len(there) :]).hexdigest()


async def test_parallel_and_overlapping_writes_are_told_as_ranges(gateway: Gateway, tmp_path: Path) -> None:
    async with await connect(gateway) as conn, conn.start_sftp_client() as sftp, sftp.open(f"{tmp_path}/f", "wb") as file:
        await file.write(b"a" * 100, 0)
        await file.write(b"b" * 100, 50)
        await file.write(b"c" * 10, 150)
    await gateway.idle()
    (told,) = files(gateway)
    assert "sha256" not in told
    assert (told["bytes"], told["ranges"], told["closed"]) == (210, [[0, 100], [50, 160]], True)


async def test_writes_that_the_target_refuses_are_counted(gateway: Gateway, tmp_path: Path) -> None:
    async with await connect(gateway) as conn, conn.start_sftp_client() as sftp:
        file = await sftp.open("/dev/full", "wb")
        with pytest.raises(asyncssh.SFTPError):
            await file.write(b"x" * 100_000)
        await file.close()
    await gateway.idle()
    (told,) = files(gateway)
    assert told["failed"] >= 1
    assert "sha256" not in told


async def test_every_extension_of_openssh(gateway: Gateway, tmp_path: Path) -> None:
    """What the target's file server offers and the gateway understands works as without a gateway."""
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to("a")
    async with await connect(gateway) as conn, conn.start_sftp_client() as sftp:
        await sftp.posix_rename(f"{tmp_path}/a", f"{tmp_path}/b")
        await sftp.link(f"{tmp_path}/b", f"{tmp_path}/c")
        assert (await sftp.statvfs(str(tmp_path))).bsize > 0
        await sftp.utime(f"{tmp_path}/link", (1, 1), follow_symlinks=False)
        assert int((tmp_path / "link").lstat().st_mtime) == 1
        assert sftp.limits.max_read_len > 0
        async with sftp.open(f"{tmp_path}/b", "r+b") as file:
            await file.fsync()
            assert (await file.statvfs()).bsize > 0
        await sftp.remote_copy(f"{tmp_path}/b", f"{tmp_path}/copied")
        assert (tmp_path / "copied").read_bytes() == b"x" * 100
        await sftp.truncate(f"{tmp_path}/b", 10)
        assert (tmp_path / "c").stat().st_size == 10
