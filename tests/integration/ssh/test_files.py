"""File transfer through the plug-in, with real sftp and scp and the target's own file server."""

from __future__ import annotations

import hashlib
import os
import pwd
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.integration.plugin_listener import run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for

pytestmark = pytest.mark.servers


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def sftp(gateway: Gateway, *lines: str) -> None:
    ran = await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), "\n".join(lines).encode() + b"\n")
    assert ran.status == 0, ran


async def test_put_and_get_are_byte_exact_and_recorded_with_their_hash(gateway: Gateway, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "up").write_bytes(data)
    remote = tmp_path / "remote file"
    await sftp(gateway, f'put {tmp_path}/up "{remote}"', f'get "{remote}" {tmp_path}/down')
    assert remote.read_bytes() == data
    assert (tmp_path / "down").read_bytes() == data
    await gateway.idle()
    lines = gateway.serving.recorder.lines(1, "jsonl")
    files = [line for line in lines if line.get("event") == "file"]
    assert [(each["path"], each["direction"], each["bytes"], each["sha256"], each["closed"]) for each in files] == [
        (str(remote), "upload", len(data), sha256(data), True),
        (str(remote), "download", len(data), sha256(data), True),
    ]
    texts = [line["text"] for line in lines if line.get("event") == "operation"]
    assert f"put {remote}" in texts
    assert f"get {remote}" in texts


async def test_everyday_operations(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"content")
    where = tmp_path / "tree"
    await sftp(
        gateway,
        f"mkdir {where}",
        f"put {tmp_path}/up {where}/one",
        f"chmod 640 {where}/one",
        f"rename {where}/one {where}/two",
        f"ln -s two {where}/link",
        f"ln {where}/two {where}/hard",
        f"ls -la {where}",
        f"df {where}",
        f"cd {where}",
        "pwd",
        "rm hard",
        f"mkdir {where}/empty",
        f"rmdir {where}/empty",
        "copy two copied",
    )
    assert (where / "two").stat().st_mode & 0o777 == 0o640
    assert (where / "link").readlink() == Path("two")
    assert sorted(each.name for each in where.iterdir()) == ["copied", "link", "two"]
    assert (where / "copied").read_bytes() == b"content"
    await gateway.idle()
    lines = gateway.serving.recorder.lines(1, "jsonl")
    texts = [line["text"] for line in lines if line.get("event") == "operation"]
    for text in (
        f"mkdir {where} mode=0777",
        f"setstat {where}/one mode=0640",
        f"rename {where}/one -> {where}/two",
        f"symlink {where}/link -> {where}/two",
        f"hardlink {where}/two -> {where}/hard",
        f"ls {where}",
        f"remove {where}/hard",
        f"rmdir {where}/empty",
    ):
        assert text in texts
    assert all(line["verdict"] == "allowed" for line in lines if line.get("event") == "operation")
    (copied,) = [line for line in lines if line.get("event") == "file" and line["path"] == f"{where}/copied"]
    assert copied["copied_from"] == [{"path": f"{where}/two", "offset": 0, "at": 0}]
    assert "unconfirmed" not in copied


async def test_resuming_says_which_part_moved(gateway: Gateway, tmp_path: Path) -> None:
    data = os.urandom(500_000)
    (tmp_path / "up").write_bytes(data)
    (tmp_path / "remote").write_bytes(data[:200_000])
    await sftp(gateway, f"reput {tmp_path}/up {tmp_path}/remote")
    assert (tmp_path / "remote").read_bytes() == data
    (tmp_path / "down").write_bytes(data[:300_000])
    await sftp(gateway, f"reget {tmp_path}/remote {tmp_path}/down")
    assert (tmp_path / "down").read_bytes() == data
    await gateway.idle()
    files = [line for n in (1, 2) for line in gateway.serving.recorder.lines(n, "jsonl") if line.get("event") == "file"]
    assert [(each["direction"], each["offset"], each["bytes"], each["sha256"]) for each in files] == [
        ("upload", 200_000, 300_000, sha256(data[200_000:])),
        ("download", 300_000, 200_000, sha256(data[300_000:])),
    ]


async def test_scp_copies_trees_with_times_and_modes(gateway: Gateway, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep" / "deeper").mkdir(parents=True)
    for n in range(30):
        (tree / "deep" / f"file {n}").write_bytes(os.urandom(n * 1000))
    (tree / "deep" / "deeper" / "script").write_text("#!/bin/sh\n")
    (tree / "deep" / "deeper" / "script").chmod(0o751)
    os.utime(tree / "deep" / "deeper" / "script", (1_000_000_000, 1_000_000_000))
    up = await run(gateway.batch("scp", "-q", "-r", "-p", str(tree), f"web@127.0.0.1:{tmp_path}/there"))
    assert up.status == 0, up
    down = await run(gateway.batch("scp", "-q", "-r", "-p", f"web@127.0.0.1:{tmp_path}/there", f"{tmp_path}/back"))
    assert down.status == 0, down
    for copy in (tmp_path / "there", tmp_path / "back"):
        names = {str(each.relative_to(copy)): each.is_file() and each.read_bytes() for each in copy.rglob("*")}
        assert names == {str(each.relative_to(tree)): each.is_file() and each.read_bytes() for each in tree.rglob("*")}
        script = (copy / "deep" / "deeper" / "script").stat()
        assert (script.st_mode & 0o777, int(script.st_mtime)) == (0o751, 1_000_000_000)


async def test_what_the_target_did_not_do_is_on_record(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "full" / "up").mkdir(parents=True)
    lines = [
        f"-rmdir {tmp_path}/full",
        f"-get {tmp_path}/none {tmp_path}/down",
        f"-rm {tmp_path}/no/such",
        f"mkdir {tmp_path}/made",
    ]
    await sftp(gateway, *lines)
    await gateway.idle()
    told = [
        (each["text"], each["status"]) for each in gateway.serving.recorder.lines(1, "jsonl") if each.get("event") == "failed"
    ]
    assert (f"rmdir {tmp_path}/full", "failure") in told
    assert (f"lstat {tmp_path}/none", "no_such_file") in told
    assert (f"lstat {tmp_path}/no/such", "no_such_file") in told
    assert not [text for text, _ in told if text.startswith("mkdir")]


async def test_relative_paths_are_named_from_home(gateway: Gateway) -> None:
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    name = f"sallyport-test-{os.getpid()}"
    try:
        ran = await run(gateway.batch("scp", "-q", "/etc/hostname", f"web@127.0.0.1:{name}"))
        assert ran.status == 0, ran
    finally:
        (home / name).unlink(missing_ok=True)
    await gateway.idle()
    texts = [line.get("text") for line in gateway.serving.recorder.lines(1, "jsonl")]
    assert f"put {home}/{name}" in texts


async def test_a_big_directory(gateway: Gateway, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for n in range(3000):
        (many / f"entry-{n:05d}-{'x' * 60}").touch()
    ran = await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), f"ls -1 {many}\n".encode())
    assert ran.status == 0
    assert ran.out.count(b"entry-") == 3000


async def test_fifty_megabytes(gateway: Gateway, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 50
    (tmp_path / "up").write_bytes(data)
    await sftp(gateway, f"put {tmp_path}/up {tmp_path}/remote", f"get {tmp_path}/remote {tmp_path}/down")
    assert (tmp_path / "down").read_bytes() == data


DENY_ETC = '@message("Not from there.") forbid(principal, action, resource) when { context.text like "get /etc/*" };'
DENY_UPLOADS = '@message("Nothing goes up.") forbid(principal, action, resource) when { context.flags.contains("upload") };'
ALLOW = "permit(principal, action, resource);"


async def test_denied_files_stay_where_they_are(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    gateway.serving = serving_for(sshd, ALLOW, DENY_ETC, DENY_UPLOADS)
    (tmp_path / "up").write_bytes(b"x")
    for line in ("get /etc/passwd", "get /tmp/../etc/passwd", "get //etc/passwd", "get /etc/./passwd"):
        ran = await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), f"{line} {tmp_path}/down\n".encode())
        assert ran.status == 1, ran
        assert b"sallyport: get /etc/passwd: Not from there. (denied, " in ran.err
        assert b"Permission denied" in ran.err
        assert not (tmp_path / "down").exists() or not (tmp_path / "down").read_bytes()
    ran = await run(gateway.batch("scp", "-q", f"{tmp_path}/up", f"web@127.0.0.1:{tmp_path}/there"))
    assert ran.status == 1
    assert b"Nothing goes up." in ran.err
    assert not (tmp_path / "there").exists()
    ran = await run(gateway.batch("scp", "-q", "web@127.0.0.1:/proc/version", f"{tmp_path}/version"))
    assert ran.status == 0, ran
    await gateway.idle()
    assert gateway.serving.denied == 5
    assert {operation.action for operation, _ in gateway.serving.denials} == {"transfer"}


async def test_without_permission_to_transfer_sftp_does_not_start(gateway: Gateway, sshd: Sshd) -> None:
    gateway.serving = serving_for(sshd, 'permit(principal, action == Action::"run", resource);')
    ran = await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), b"ls\n")
    assert ran.status == 255
    assert b"sallyport: No policy permits this. (denied, " in ran.err


async def test_a_file_is_not_opened_when_that_cannot_be_recorded(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"x")
    recorder = gateway.serving.recorder
    real, count = recorder.write, 0

    async def write(channel: int, kind: Any, lines: bytes, *, durable: bool = False) -> None:
        nonlocal count
        count += 1
        recorder.failing = b"put " in lines
        await real(channel, kind, lines, durable=durable)

    recorder.write = write  # type: ignore[method-assign]
    ran = await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), f"put {tmp_path}/up {tmp_path}/remote\n".encode())
    assert ran.status != 0
    assert b"(recording_failed, " in ran.err
    assert count > 1
    assert not (tmp_path / "remote").exists()


async def test_a_file_left_open_is_recorded_as_it_was_left(gateway: Gateway, tmp_path: Path) -> None:
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        client = await conn.start_sftp_client()
        remote = await client.open(f"{tmp_path}/left", "wb")
        await remote.write(b"half")
        conn.abort()
    await gateway.idle()
    files = [line for line in gateway.serving.recorder.lines(1, "jsonl") if line.get("event") == "file"]
    assert [(each["bytes"], each["sha256"], each["closed"]) for each in files] == [(4, sha256(b"half"), False)]


async def test_random_access_lists_ranges(gateway: Gateway, tmp_path: Path) -> None:
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        client = await conn.start_sftp_client()
        async with client.open(f"{tmp_path}/holes", "wb") as remote:
            await remote.write(b"tail", 100)
            await remote.write(b"head", 0)
    await gateway.idle()
    (file,) = [line for line in gateway.serving.recorder.lines(1, "jsonl") if line.get("event") == "file"]
    assert "sha256" not in file
    assert (file["bytes"], file["ranges"]) == (8, [[100, 104], [0, 4]])
