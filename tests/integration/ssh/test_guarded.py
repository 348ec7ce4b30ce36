"""Guarded shells: real ssh, sshd and bash; every line is decided before it runs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

PERMIT = 'permit(principal, action, resource);'
NOT = '@message("Not that.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("touch") };'


@pytest.fixture
async def guarded(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose shells are guarded; ``touch`` is forbidden."""
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd, PERMIT, NOT, shell="guarded")
    await gate.listen()
    yield gate
    await gate.close()


def prompt(child: pexpect.spawn) -> None:
    child.expect_exact("every line is decided before it runs")
    child.sendline("PS1='ready''> '")
    child.expect(r"ready> (\x1b\[\?2004h)?$")


async def test_lines_run_or_do_not(guarded: Gateway, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline("echo $((6*7))-is-it")
        child.expect("42-is-it")
        child.expect_exact("ready> ")
        child.sendline(f"echo a; touch {victim}; echo b")
        child.expect_exact("sallyport: Not that.")
        child.expect_exact("ready> ")
        child.sendline("echo status $?")
        child.expect("status 130")
        child.sendline("exit 5")

    assert await at_terminal(guarded.ssh(), person) == 5
    await guarded.idle()
    assert not victim.exists()
    recorder = guarded.serving.recorder
    print(recorder.markers(1))
    print(recorder.text(1))
    print(recorder.lines(1, "jsonl"))
    assert not re.search("7701|__sp_", recorder.text(1))
    assert 0
