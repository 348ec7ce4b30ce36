"""Functions, files and eval in a guarded bash: each command in them is decided before it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import NOT, victims
from tests.integration.ssh.test_nested import begin, enter
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

KNOWN = 'permit(principal, action, resource) unless { context.effects.contains("unknown") };'


@pytest.fixture
async def guarded(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd, KNOWN, NOT, shell="guarded")
    await gate.listen()
    yield gate
    await gate.close()


async def typed(gateway: Gateway, *lines: str) -> list[str]:
    """Type ``lines``, each at a prompt. Returns what was decided, in words."""

    def person(child: pexpect.spawn) -> None:
        begin(child)
        for line in lines:
            enter(child, line)
        child.send("exit\r")

    await at_terminal(gateway.ssh(), person)
    await gateway.idle()
    markers = gateway.serving.recorder.markers(1)
    assert "7701" not in gateway.serving.recorder.text(1)
    return [each.removesuffix(" (rule-1)").removesuffix(" (rule-2)") for each in markers[1:-1]]


async def test_a_function_is_decided_command_by_command(guarded: Gateway, tmp_path: Path) -> None:
    decided = await typed(guarded, "f() { echo a; echo b-$1; }", "f x")
    assert decided[0].startswith("allowed: f() {")
    assert decided[1] == "allowed: f x"
    assert decided[-2:] == ["allowed: echo a", "allowed: echo b-$1"]
    assert "b-x" in guarded.serving.recorder.text(1)


async def test_a_denied_command_ends_its_function(guarded: Gateway, tmp_path: Path) -> None:
    one, two = "f() { echo before; g; echo behind; }", f"g() {{ echo in-g; frobnicate {tmp_path}/victim; }}"
    decided = await typed(guarded, one, two, "f")
    assert decided[-1] == f"denied: frobnicate {tmp_path}/victim"
    assert "allowed: echo in-g" in decided
    assert "allowed: echo behind" not in decided
    assert "before\r\n" in guarded.serving.recorder.text(1)
    assert "behind\r\n" not in guarded.serving.recorder.text(1)


async def test_a_file_is_decided_command_by_command(guarded: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "rc"
    file.write_text("A=1\nif true; then echo one-$A; fi\nnow=$(date)\nfrobnicate\necho two\n")
    decided = await typed(guarded, f". {file}", "echo still")
    assert decided[0] == f"allowed: . {file}"
    assert {"allowed: A=1", "allowed: echo one-$A", "allowed: now=$(date)"} <= set(decided)
    assert decided[-2:] == ["denied: frobnicate", "allowed: echo still"]


async def test_a_file_is_decided_as_a_whole_before(guarded: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "rc"
    file.write_text(f"echo one\nif false; then touch {tmp_path}/victim; fi\n")
    decided = await typed(guarded, f". {file}", f". {tmp_path}/missing", f"cd {tmp_path}", ". rc")
    assert decided == [f"denied: . {file}", f"denied: . {tmp_path}/missing", f"allowed: cd {tmp_path}", "denied: . rc"]


async def test_the_text_of_an_eval(guarded: Gateway, tmp_path: Path) -> None:
    decided = await typed(guarded, "eval 'echo one; echo two'", "eval 'frobnicate; echo three'", f"eval touch {tmp_path}/victim")
    assert decided[0] == "allowed: eval 'echo one; echo two'"
    assert decided[-4:-1] == [
        "allowed: eval 'frobnicate; echo three'",
        "allowed: eval 'frobnicate; echo three'",
        "denied: frobnicate",
    ]
    assert decided[-1] == f"denied: eval touch {tmp_path}/victim"
    assert not victims(tmp_path)


async def test_what_is_too_long_is_not_known(guarded: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "rc"
    file.write_text("echo 'grüße'\n" * 8000)
    profile = sshd.home / ".bash_profile"
    profile.write_text("long() {\n" + "echo 'grüße'\n" * 8000 + "}\n")
    try:
        assert await typed(guarded, f". {file}", "long", "echo x") == [f"denied: . {file}", "denied: long", "allowed: echo x"]
    finally:
        profile.unlink()


@pytest.mark.parametrize(
    "text",
    [
        "f() {{ x=$(frobnicate); }}",
        "f() {{ ( frobnicate ); }}",
        "f() {{ frobnicate & }}",
        "f() {{ {{ frobnicate; }} | cat; }}",
        "f() {{ cat <(frobnicate); }}",
        "f() {{ $1 {f}; }}",
        'f() {{ eval "$1"; }}',
        "f() {{ touch {f}; }}",
        "f() {{ trap 'frobnicate' EXIT; }}",
        "f() {{ ls() {{ frobnicate; }}; }}",
    ],
)
async def test_what_cannot_be_asked_about_is_not_run(guarded: Gateway, tmp_path: Path, text: str) -> None:
    definition = text.format(f=f"{tmp_path}/victim")
    decided = await typed(guarded, definition, f"f touch {tmp_path}/victim")
    assert decided[0].split(": ", 1)[1] == definition
    assert decided[1:] == [f"denied: f touch {tmp_path}/victim"]
    assert not victims(tmp_path)


async def test_a_name_that_means_something_is_not_defined_anew(guarded: Gateway, sshd: Sshd) -> None:
    profile = sshd.home / ".bash_profile"
    profile.write_text(f"mark() {{ :; }}\nPATH=$PATH:{sshd.home}\n")
    program = sshd.home / "promptly"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    lines = ("mark() { frobnicate; }", "promptly() { frobnicate; }", "function mark { frobnicate; }", "_x() { frobnicate; }")
    try:
        decided = await typed(guarded, *lines, "fresh () { frobnicate; }")
    finally:
        profile.unlink()
        program.unlink()
    assert decided == [*(f"denied: {line}" for line in lines), "allowed: fresh () { frobnicate; }"]


async def test_a_function_of_a_programs_name_is_seen(guarded: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    profile = sshd.home / ".bash_profile"
    profile.write_text(f"ls() {{ command ls; frobnicate {tmp_path}/victim; }}\nll() {{ command ls -l; }}\n")
    try:
        decided = await typed(guarded, "ls", "ll")
    finally:
        profile.unlink()
    assert decided[0] == "allowed: ls"
    assert f"denied: frobnicate {tmp_path}/victim" in decided
    assert decided[-1] == "allowed: command ls -l"


async def test_a_loop_has_an_end(guarded: Gateway) -> None:
    decided = await typed(guarded, "f() { while :; do :; done; }", "f")
    assert 900 < sum(each == "allowed: :" for each in decided) <= 1000
    assert decided[-1].startswith("denied: ")


async def test_a_line_without_functions_is_asked_about_once(guarded: Gateway) -> None:
    assert await typed(guarded, "for i in 1 2 3; do echo $i; done", "echo x | cat") == [
        "allowed: for i in 1 2 3; do echo $i; done",
        "allowed: echo x | cat",
    ]
