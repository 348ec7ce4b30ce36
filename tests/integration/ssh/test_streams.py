"""rsync and git through the gateway: the real clients, decided by what their far ends are asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.plugin_listener import Ran, run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for

pytestmark = pytest.mark.servers


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder of the target with a file that compresses badly."""
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "data").write_bytes(os.urandom(2_000_000))
    (folder / "name with 'quotes'").write_text("x")
    return folder


def inside(folder: Path, *verbs: str) -> str:
    names = ", ".join(f'"{verb}"' for verb in verbs)
    return (
        f'permit(principal, action == Action::"run", resource) when {{ [{names}].containsAny(context.verbs) && '
        f'["{folder}"].containsAll(context.objects) && !context.effects.contains("unknown") }};'
    )


#: Their streams are no texts, which is a class of its own.
BINARY = 'permit(principal, action == Action::"reveal", resource) when { context.data_class == "binary" };'


async def rsync(gateway: Gateway, *arguments: str) -> Ran[bytes]:
    if shutil.which("rsync") is None:
        pytest.fail("rsync is missing: make setup installs it")
    shell = " ".join(gateway.ssh()[:-1])
    return await run(["rsync", "-e", shell, *arguments])


async def git(gateway: Gateway, *arguments: str) -> Ran[bytes]:
    of = {
        "GIT_SSH_COMMAND": " ".join(gateway.ssh()[:-1]),
        "GIT_SSH_VARIANT": "ssh",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": "/nonexistent",
    }
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return await run(["git", *arguments], env=of | who)


def asked(gateway: Gateway) -> list[Any]:
    assert gateway.serving is not None
    return [operation for operation, _ in gateway.serving.denials]


async def test_a_download(gateway: Gateway, sshd: Sshd, there: Path, tmp_path: Path) -> None:
    gateway.serving = serving_for(sshd, BINARY, inside(there, "rsync:download"))
    ran = await rsync(gateway, "-a", f"web@127.0.0.1:{there}/", f"{tmp_path}/here/")
    assert (ran.status, ran.err) == (0, b"")
    assert (tmp_path / "here/data").read_bytes() == (there / "data").read_bytes()
    await gateway.idle()
    recorder = gateway.serving.recorder
    decided, flagged, passed = recorder.markers(1)
    assert flagged == "binary output, shown as it came"
    assert decided.startswith("allowed: rsync --server --sender -")
    assert passed.startswith("sent ")
    received = int(passed.partition("received ")[2].split()[0])
    assert 2_000_000 < received < 2_100_000
    assert recorder.size() < 5_000, "the stream itself is not in the recording"
    assert gateway.serving.operations == 1


async def test_an_upload_and_what_it_deletes(gateway: Gateway, sshd: Sshd, there: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "new").write_text("new")
    upload = inside(there, "rsync:upload")
    deletes = (
        '@message("Nothing is deleted here.") forbid(principal, action == Action::"run", resource) '
        'when { context.flags.contains("deletes") };'
    )
    gateway.serving = serving_for(sshd, BINARY, upload)
    ran = await rsync(gateway, "-a", f"{here}/", f"web@127.0.0.1:{there}/")
    assert (ran.status, ran.err) == (0, b"")
    assert (there / "new").read_text() == "new"
    gateway.serving = serving_for(sshd, BINARY, upload, deletes)
    ran = await rsync(gateway, "-a", "--delete", f"{here}/", f"web@127.0.0.1:{there}/")
    assert ran.status != 0
    assert b"Nothing is deleted here. (denied, " in ran.err
    assert (there / "data").exists()


@pytest.mark.parametrize(
    "options", [[], ["-z"], ["--delete"], ["-avz", "--partial", "--bwlimit=100"], ["--inplace", "-H", "--numeric-ids"]]
)
async def test_a_denied_path_is_refused_before_it_runs(
    gateway: Gateway, sshd: Sshd, there: Path, tmp_path: Path, options: list[str]
) -> None:
    gateway.serving = serving_for(sshd, BINARY, inside(there, "rsync:upload", "rsync:download"))
    for road in ([f"web@127.0.0.1:{tmp_path}/other/", f"{tmp_path}/here/"], [f"{there}/", f"web@127.0.0.1:{tmp_path}/other/"]):
        ran = await rsync(gateway, "-a", *options, *road)
        assert ran.status != 0
        assert b"(denied, " in ran.err
    assert not (tmp_path / "other").exists()
    assert all(
        str(tmp_path / "other") in operation.objects and "unknown" not in operation.effects for operation in asked(gateway)
    )


@pytest.mark.parametrize(
    "options",
    [
        ["-s"],
        ["--rsync-path=rsync --log-file=/tmp/x"],
        ["-M--log-file=/tmp/x"],
        ["-M--config=/tmp/x"],
    ],
)
async def test_what_hides_where_it_goes_is_unknown(
    gateway: Gateway, sshd: Sshd, there: Path, tmp_path: Path, options: list[str]
) -> None:
    gateway.serving = serving_for(sshd, BINARY, inside(there, "rsync:download"))
    ran = await rsync(gateway, "-a", *options, f"web@127.0.0.1:{there}/", f"{tmp_path}/here/")
    assert ran.status != 0
    assert not (tmp_path / "here").exists()
    (operation,) = asked(gateway)
    assert "unknown" in operation.effects


async def test_a_clone_and_a_push(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    there, work = tmp_path / "app.git", tmp_path / "work"
    await run(["git", "init", "-q", "--bare", "-b", "main", str(there)])
    gateway.serving = serving_for(sshd, BINARY, inside(there, "git:upload-pack", "git:receive-pack"))
    ran = await git(gateway, "clone", "-q", f"ssh://web@127.0.0.1{there}", str(work))
    assert ran.status == 0, ran
    (work / "file").write_bytes(os.urandom(500_000))
    for step in (["add", "file"], ["commit", "-q", "-m", "one"], ["push", "-q", "origin", "HEAD:main"]):
        ran = await git(gateway, "-C", str(work), *step)
        assert ran.status == 0, ran
    assert (await run(["git", "-C", str(there), "log", "--format=%s", "main"])).out == b"one\n"
    await gateway.idle()
    assert gateway.serving.recorder.written[1, "cast"].count(b'"m","sent ') == 2


async def test_a_push_where_only_reading_is_permitted(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    there, work = tmp_path / "app.git", tmp_path / "work"
    await run(["git", "init", "-q", "--bare", str(there)])
    await run(["git", "clone", "-q", str(there), str(work)])
    gateway.serving = serving_for(
        sshd, BINARY, 'permit(principal, action == Action::"run", resource) when { context.effects == ["read"] };'
    )
    await git(gateway, "-C", str(work), "commit", "-q", "--allow-empty", "-m", "one")
    url = f"ssh://web@127.0.0.1{there}"
    ran = await git(gateway, "-C", str(work), "push", "-q", url, "HEAD:main")
    assert ran.status != 0
    assert b"(denied, " in ran.err
    assert (await git(gateway, "ls-remote", url)).status == 0
    (operation,) = asked(gateway)
    assert (operation.effects, operation.objects) == (frozenset({"write"}), frozenset({str(there)}))


async def test_the_old_scp_protocol_is_refused_with_advice(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ran = await run(gateway.batch("scp", "-O", str(tmp_path / "file"), f"web@127.0.0.1:{tmp_path}/copy"))
    assert ran.status != 0
    assert b"Run scp without -O. (not_supported, " in ran.err
    ran = await run(gateway.batch("scp", str(tmp_path / "file"), f"web@127.0.0.1:{tmp_path}/copy"))
    assert ran.status == 0
    assert (tmp_path / "copy").read_text() == "x"


async def test_only_the_locale_is_passed_on(gateway: Gateway) -> None:
    ran = await run(
        gateway.ssh("printenv", options=["-o", "SendEnv=LC_TIME", "-o", "SendEnv=SECRET", "-o", "SetEnv=LANG=C.UTF-8"]),
        env={"LC_TIME": "C.UTF-8", "SECRET": "1"},
    )
    seen = ran.out.split()
    assert b"LANG=C.UTF-8" in seen
    assert not any(each.startswith((b"SECRET=", b"GIT_PROTOCOL")) for each in seen)
