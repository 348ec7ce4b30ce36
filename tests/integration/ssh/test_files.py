"""File transfer through the plug-in, with real sftp and scp and the target's own file server."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.integration.ssh.conftest import Gateway, run, serving_for

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
