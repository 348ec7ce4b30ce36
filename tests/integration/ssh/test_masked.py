"""Masked output with real ssh, sshd and bash: a secret is in neither what the client gets nor what is recorded."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import subprocess
import tarfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pexpect
import pytest

from agent.core.masking.checks import Span
from agent.core.masking.detectors import Detectors
from agent.core.masking.screen import NOWHERE, Screen
from tests.fakes.agent_runtime import make_policy
from tests.integration.plugin_listener import run
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_shell import at_terminal
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

RUN = 'permit(principal, action == Action::"run", resource);'
EMAIL = 'permit(principal, action == Action::"reveal", resource) when { context.data_class == "email" };'
NO_TEXT = 'permit(principal, action == Action::"reveal", resource) when { context.data_class == "binary" };'
SECRET = b"AKIAIOSFODNN7EXAMPLE"
CARD = b"4111 1111 1111 1111"

Make = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def masked(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a gateway that reveals nothing but what ``rules`` say."""
    made: list[Gateway] = []

    async def make(*rules: str, shell: str = "recorded") -> Gateway:
        gate = Gateway(identity, tmp_path)
        gate.serving = serving_for(sshd, RUN, *rules, shell=shell)
        await gate.listen()
        made.append(gate)
        return gate

    yield make
    for gate in made:
        await gate.close()


def files(folder: Path) -> Path:
    (folder / "people.txt").write_bytes(b"ann ann@example.com " + CARD + b"\nkey=" + SECRET + b"\n")
    return folder / "people.txt"


async def stored(gate: Gateway) -> bytes:
    await gate.idle()
    return b"".join(gate.serving.recorder.written.values())


async def test_both_streams_of_a_command_are_masked(masked: Make, tmp_path: Path) -> None:
    gate = await masked()
    path = files(tmp_path)
    ran = await run(gate.ssh(f"cat {path}; cat {path} >&2; exit 3"))
    want = b"ann a***@***.com **** **** **** 1111\nkey=[masked secret]\n"
    assert (ran.status, ran.out, ran.err) == (3, want, want)
    kept = await stored(gate)
    assert SECRET not in kept
    assert CARD not in kept
    assert gate.serving.recorder.markers(1)[-1] == "masked: 2 card, 2 email, 2 secret"


async def test_a_secret_in_two_writes_is_one(masked: Make) -> None:
    gate = await masked()
    ran = await run(gate.ssh("printf 'x AKIAIOSF'; printf 'ODNN7EXAMPLE y'"))
    assert ran.out == b"x [masked secret] y"
    await gate.idle()
    assert gate.serving.recorder.text(1) == "x [masked secret] y"


async def test_a_command_is_recorded_without_the_secrets_in_it(masked: Make) -> None:
    gate = await masked()
    ran = await run(gate.ssh(f"echo {SECRET.decode()} | wc -c"))
    assert ran.out == b"21\n"
    assert SECRET not in await stored(gate)
    assert gate.serving.recorder.markers(1) == ["allowed: echo [masked secret] | wc -c (rule-1)"]


async def test_what_policy_reveals_is_shown(masked: Make, tmp_path: Path) -> None:
    gate = await masked(EMAIL)
    ran = await run(gate.ssh(f"cat {files(tmp_path)}"))
    assert ran.out == b"ann ann@example.com **** **** **** 1111\nkey=[masked secret]\n"


async def test_text_comes_at_once_although_it_may_go_on(masked: Make) -> None:
    gate = await masked()
    process = await asyncio.create_subprocess_exec(*gate.ssh("printf 'no line end'; read x"), stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    async with asyncio.timeout(HANG_S):
        assert await process.stdout.readexactly(11) == b"no line end"
        process.stdin.close()
        await process.wait()


def archive(folder: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("ann@example.com", "b"):
            entry = tarfile.TarInfo(name)
            entry.size = 20
            tar.addfile(entry, io.BytesIO(SECRET))
    (folder / "a.tar").write_bytes(made.getvalue())
    return made.getvalue()


async def test_what_is_no_text_is_not_shown_unless_it_is_revealed(masked: Make, tmp_path: Path) -> None:
    data = archive(tmp_path)
    ran = await run((await masked()).ssh(f"cat {tmp_path}/a.tar"))
    assert (ran.status, ran.out) == (255, b"")
    assert b"(target_unmaskable," in ran.err
    assert b'data_class == "binary"' in ran.err
    gate = await masked(NO_TEXT)
    ran = await run(gate.ssh(f"cat {tmp_path}/a.tar; echo {SECRET.decode()} >&2"))
    assert (ran.status, ran.out, ran.err) == (0, data, b"[masked secret]\n")
    await gate.idle()
    assert "binary output, shown as it came" in gate.serving.recorder.markers(1)


async def test_a_command_that_ended_because_it_said_no_text_is_on_record(masked: Make, tmp_path: Path) -> None:
    archive(tmp_path)
    gate = await masked()
    ran = await run(gate.ssh(f"cat {tmp_path}/a.tar; echo {SECRET.decode()}"))
    assert b"(target_unmaskable," in ran.err
    await gate.idle()
    (line,) = [line for line in gate.serving.recorder.lines(1, "jsonl") if line.get("event") == "command"]
    assert line["text"] == f"cat {tmp_path}/a.tar; echo [masked secret]"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
async def test_git_clones_and_pushes_byte_for_byte(masked: Make, tmp_path: Path) -> None:
    gate = await masked(NO_TEXT)
    origin = tmp_path / "origin.git"
    who = ["-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main"]
    environment = os.environ | {
        "GIT_SSH_COMMAND": " ".join(gate.ssh()[:-1]),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
    }

    def git(*words: str, cwd: Path = tmp_path) -> None:
        subprocess.run(["git", *who, *words], cwd=cwd, env=environment, check=True, capture_output=True, timeout=HANG_S)

    def work() -> None:
        git("init", "--bare", str(origin))
        for name in ("one", "two"):
            git("clone", f"web@127.0.0.1:{origin}", name)
            (tmp_path / name / f"{name}@example.com").write_bytes(SECRET * 100 + os.urandom(5_000))
            git("checkout", "-B", "ann@example.com", cwd=tmp_path / name)
            git("add", ".", cwd=tmp_path / name)
            git("commit", "-m", f"by ann@example.com {name}", cwd=tmp_path / name)
            git("push", "--force", "origin", "HEAD:refs/heads/ann@example.com", cwd=tmp_path / name)
        git("fetch", "origin", cwd=tmp_path / "one")
        git("fsck", "--full", cwd=origin)
        git("rev-parse", "--verify", "refs/remotes/origin/ann@example.com", cwd=tmp_path / "one")

    await asyncio.to_thread(work)


async def test_a_recorded_shell_is_masked_and_its_columns_stay(masked: Make, tmp_path: Path) -> None:
    gate = await masked()
    path = files(tmp_path)

    def person(child: pexpect.spawn) -> None:
        child.sendline("PS1='ready''> '; stty -echo; set +o history")
        child.expect("ready> ")
        child.sendline(f"cat {path}")
        child.expect_exact("ann a***@******.com **** **** **** 1111\r\nkey=[masked secret]*****\r\n")
        child.sendline(f"cut -d= -f2 -s {path} | sed 's/.\\{{8\\}}/&\\x1b[31m/'; printf '\\033[m'")
        child.expect_exact("[masked \x1b[31msecret]*****\r\n")
        child.sendline("exit 4")

    assert await at_terminal(gate.ssh(), person) == 4
    kept = await stored(gate)
    assert SECRET not in kept
    assert CARD not in kept
    assert b"ann ann@" not in kept


async def test_a_guarded_shell_is_masked_and_each_line_has_its_part(masked: Make, tmp_path: Path) -> None:
    gate = await masked(shell="guarded")
    path = files(tmp_path)

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("every line is decided before it runs")
        child.sendline("PS1='ready''> '")
        child.expect(r"ready> (\x1b\[[?0-9]*[a-zA-Z])*$")
        child.sendline(f"head -1 {path}; printf 'no end of line'")
        child.expect_exact("ann a***@******.com **** **** **** 1111\r\nno end of line")
        child.expect("ready> ")
        child.sendline(f"tail -1 {path}")
        child.expect_exact("key=[masked secret]*****")
        child.expect("ready> ")
        child.sendline("exit 4")

    assert await at_terminal(gate.ssh(), person) == 4
    kept = await stored(gate)
    assert SECRET not in kept
    assert CARD not in kept
    recorder = gate.serving.recorder
    commands = [entry for entry in recorder.lines(1, "jsonl") if entry.get("event") == "command"]
    first, second = commands[1:3]
    assert first["masked"] == {"card": 1, "email": 1}
    assert second["masked"] == {"secret": 1}
    cast = recorder.written[1, "cast"]
    assert b"no end of line" in cast[slice(*first["cast"])]
    assert b"[masked secret]" not in cast[slice(*first["cast"])]
    assert b"[masked secret]" in cast[slice(*second["cast"])]


async def test_an_echo_in_a_guarded_shell_is_in_order_with_our_words(masked: Make) -> None:
    gate = await masked(
        '@message("Not that.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("touch") };',
        shell="guarded",
    )

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("every line is decided before it runs")
        child.sendline("PS1='ready''> '")
        child.expect(r"ready> (\x1b\[[?0-9]*[a-zA-Z])*$")
        child.sendline("touch /nowhere/x")
        child.expect_exact("touch /nowhere/x")
        child.expect_exact("sallyport: Not that.")
        child.expect("ready> ")
        child.sendline("exit")

    await at_terminal(gate.ssh(), person)
    await gate.idle()
    text = gate.serving.recorder.text(1)
    assert re.search(r"ready> .*touch /nowhere/x.*\n.*sallyport: Not that\..*\n.*ready> ", text, re.DOTALL)


async def test_a_policy_that_changes_counts_in_a_session_that_lives(masked: Make, tmp_path: Path) -> None:
    gate = await masked()
    path = files(tmp_path)

    def person(child: pexpect.spawn) -> None:
        child.sendline("PS1='ready''> '; stty -echo; set +o history")
        child.expect("ready> ")
        child.sendline(f"head -1 {path}")
        child.expect_exact("ann a***@******.com")
        gate.serving.in_force = make_policy(RUN, EMAIL, target=gate.serving.target, version=2)
        child.sendline(f"head -1 {path}")
        child.expect_exact("ann ann@example.com **** **** **** 1111")
        child.sendline("exit 0")

    assert await at_terminal(gate.ssh(), person) == 0


class Failing(Detectors):
    def spans(self, data: bytes, at: int = 0) -> list[Span]:
        raise MemoryError


async def test_a_detector_that_fails_ends_the_program_and_shows_nothing(
    masked: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row ``detector-fails`` of docs/reference/when-parts-fail.md."""
    monkeypatch.setattr("agent.protocols.ssh.masked.read_detectors", lambda *_: Failing())
    gate = await masked()
    ran = await run(gate.ssh(f"cat {files(tmp_path)}; sleep 20"))
    assert (ran.status, ran.out) == (255, b"")
    assert b"nothing more of it is shown. (masking_failed," in ran.err
    assert SECRET not in await stored(gate)
    assert ["x", "255"] in [line[1:] for line in gate.serving.recorder.lines(1, "cast")[1:]]


@pytest.mark.skipif(shutil.which("vim") is None, reason="vim is not installed")
async def test_vim_draws_a_masked_file_without_a_cell_out_of_place(masked: Make, tmp_path: Path) -> None:
    gate = await masked()
    path = files(tmp_path)
    screen = Screen(100, 30, lambda row: None)

    def person(child: pexpect.spawn) -> None:
        child.sendline("PS1='ready''> '; stty -echo; set +o history")
        child.expect("ready> ")
        child.sendline(f"vim -u NONE -n {path}")
        child.expect("people.txt")
        child.send("jA.\x1b")  # draws the end of a masked line again
        child.send(":set number\r")
        child.send(":echo 'that is all'\r")
        child.expect("that is all")
        screen.write(child.before + child.after, NOWHERE)
        child.send(":q!\r")
        child.expect("ready> ")
        child.sendline("exit 4")

    assert await at_terminal(gate.ssh(), person) == 4
    lines = ["".join(row.text).rstrip() for row in screen.rows]
    assert "      1 ann a***@******.com **** **** **** 1111" in lines
    assert "      2 key=[masked secret]*****." in lines
    kept = await stored(gate)
    assert SECRET not in kept
    assert CARD not in kept


async def test_what_a_line_editor_writes_again_is_covered(masked: Make, tmp_path: Path) -> None:
    gate = await masked()

    def person(child: pexpect.spawn) -> None:
        child.sendline("bind 'set enable-bracketed-paste off'; PS1='ready''> '; printf '\\e[2J'")
        child.expect("ready> ")
        child.send(f": export K={SECRET.decode()} ; : end")
        child.expect("end")
        for _ in range(14):
            child.send("\x1b[D")
        child.send("xy")  # readline draws the rest of the line again, and again
        child.send("\x01:\x05 # done")
        child.expect("done")
        child.send("\r")
        child.expect("ready> ")
        child.sendline("exit 4")

    assert await at_terminal(gate.ssh(), person) == 4
    kept = await stored(gate)
    assert SECRET not in kept
    assert SECRET[8:] not in kept


async def test_a_locked_shell_is_masked(masked: Make, tmp_path: Path) -> None:
    gate = await masked(shell="locked")
    path = files(tmp_path)

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("locked shell")
        child.send(f"cat {path}\r")
        child.expect_exact("ann a***@******.com **** **** **** 1111")
        child.expect_exact("key=[masked secret]*****")
        child.send("exit 4\r")

    assert await at_terminal(gate.ssh(), person) == 4
    kept = await stored(gate)
    assert SECRET not in kept
    assert CARD not in kept


@pytest.mark.parametrize("begun", [b"\x1b[", b"\x1b]0;title", b"\xe2\x82"])
async def test_what_has_only_begun_where_the_output_ends_is_shown_and_recorded(masked: Make, begun: bytes) -> None:
    gate = await masked()
    octal = "".join(f"\\{byte:03o}" for byte in begun)
    ran = await run(gate.ssh("-tt", f"printf 'last {octal}'"))
    assert ran.out == b"last " + begun
    await gate.idle()
    assert ("last " + begun.decode(errors="replace")) in gate.serving.recorder.text(1)


@pytest.mark.parametrize("shell", ["guarded", "recorded"])
async def test_so_it_is_where_a_shell_ends(masked: Make, shell: str) -> None:
    gate = await masked(shell=shell)
    said: list[bytes] = []

    def person(child: pexpect.spawn) -> None:
        if shell == "guarded":
            child.expect_exact("decided before it runs")
        child.sendline("exec printf 'la''st\\033['")
        child.expect(pexpect.EOF)
        said.append(child.before)

    assert await at_terminal(gate.ssh(), person) == 0
    assert said[0].endswith(b"last\x1b[")
    await gate.idle()
    assert "last\x1b[" in gate.serving.recorder.text(1)
