"""Which kind of shell an account gets, and what it is told where it gets none: real ssh and sshd before dash and bash."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pexpect
import pytest

from agent.protocols.ssh.shells import HOW
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.locked import commands, servers
from tests.integration.ssh.test_guarded import PERMIT
from tests.integration.ssh.test_shell import ANY_PROMPT, at_terminal

pytestmark = pytest.mark.servers

__all__ = ["servers"]

UNGUARDED = 'forbid(principal, action, resource) when { context.flags.contains("guarded") };'


async def test_a_shell_without_a_runner_is_ended(
    identity: FakeIdentity, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("none")
    (folder / "sh").write_text("#!/bin/bash\nexec sleep 20\n")
    (folder / "sh").chmod(0o755)
    sshd = Sshd(folder, path=f"{folder}:/usr/bin:/bin")
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd, PERMIT, shell="locked", shell_start_s=3)
    await gate.listen()

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("sallyport: The shell did not start its guard within 3 s, so it was ended. (shell_unguarded")

    try:
        assert await at_terminal(gate.ssh(), person) == 126
    finally:
        await gate.close()
        sshd.stop()


@pytest.mark.parametrize(
    ("shell", "modes", "rules", "says"),
    [
        ("dash", ["guarded", "locked"], [PERMIT], "'dash' cannot be guarded, so this is a locked shell"),
        ("bash", ["guarded", "locked"], [PERMIT], "every line is decided before it runs, and recorded"),
        ("bash", ["guarded", "locked"], [PERMIT, UNGUARDED], "locked shell: every line is edited here"),
        ("bash", ["locked", "guarded"], [PERMIT], "locked shell: every line is edited here"),
    ],
)  # fmt: skip
async def test_the_first_mode_that_policy_permits_and_the_shell_has(
    servers: dict[str, Sshd], identity: FakeIdentity, tmp_path: Path, shell: str, modes: list[str], rules: list[str], says: str
) -> None:
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(servers[shell], *rules, shell=modes)
    await gate.listen()

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        # One line, and the first one, says which it is.
        child.expect(r"\A(sallyport: [^\r\n]*\r\n)")
        assert says in child.match[1].decode()
        assert f"({gate.serving.claims.sid})" in child.match[1].decode()
        child.expect(ANY_PROMPT)
        assert b"sallyport:" not in child.before
        child.send("echo $((6*7))\r")
        child.expect("42\r\n")
        child.send("exit\r")

    try:
        assert await at_terminal(gate.ssh(), person) == 0
        await gate.idle()
        assert next(each["text"] for each in commands(gate.serving)) == "echo $((6*7))"
    finally:
        await gate.close()


async def test_a_shell_that_only_the_guard_is_permitted_for_is_refused_where_there_is_none(
    servers: dict[str, Sshd], identity: FakeIdentity, tmp_path: Path
) -> None:
    gate = Gateway(identity, tmp_path)
    forbid = 'forbid(principal, action, resource) when { context.flags.contains("locked") };'
    gate.serving = serving_for(servers["dash"], PERMIT, forbid, shell=["guarded", "locked"])
    await gate.listen()

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("This account's shell cannot be guarded ('dash'); only bash, fish, zsh can.")

    try:
        assert await at_terminal(gate.ssh(), person) == 126
    finally:
        await gate.close()


@pytest.mark.parametrize("mode", ["guarded", "locked", "recorded"])
async def test_what_a_shell_is_stands_in_its_own_output(
    servers: dict[str, Sshd], identity: FakeIdentity, tmp_path: Path, mode: str
) -> None:
    # ssh shows standard error behind what has come of standard output meanwhile: behind the first prompt, of a fast shell.
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(servers["bash"], PERMIT, shell=mode)
    await gate.listen()
    pipe = asyncio.subprocess.PIPE
    try:
        ssh = await asyncio.create_subprocess_exec(*gate.ssh(options=["-tt"]), stdin=pipe, stdout=pipe, stderr=pipe)
        out, _ = await ssh.communicate(b"exit 0\r")
    finally:
        await gate.close()
    assert HOW[mode].encode() in out.splitlines()[0]
