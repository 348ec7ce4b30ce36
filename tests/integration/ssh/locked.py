"""Locked shells for tests: servers whose accounts have dash, bash or busybox, gateways before them, what people see there."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.fakes.agent_runtime import FakeServing
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import NOT, PERMIT

GREETING = "locked shell: every line is edited here"
#: The gateway's prompt, when a line may be typed. One as wide as the terminal is followed by what makes it wrap.
READY = r"@web:[^$]*\$ ( \r)?\Z"
SHELLS = ["dash", "bash", "busybox"]


def account(folder: Path, shell: str) -> Sshd:
    """A server whose accounts have ``shell`` for their shell, and for ``sh``."""
    path = shutil.which(shell)
    if path is None:
        pytest.fail(f"missing: apt-get install {shell} (make setup does)")
    programs = folder / "programs"
    programs.mkdir()
    if shell != "bash":
        (programs / "sh").symlink_to(path)
    if shell == "busybox":
        path = str(programs / "sh")
    return Sshd(folder, shell=path, path=f"{programs}:/usr/bin:/bin")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sshd]]:
    """A server for each shell."""
    running = {shell: account(tmp_path_factory.mktemp(shell), shell) for shell in SHELLS}
    yield running
    for each in running.values():
        each.stop()


@pytest.fixture(params=SHELLS)
def server(servers: dict[str, Sshd], request: pytest.FixtureRequest) -> Sshd:
    return servers[request.param]


@pytest.fixture
async def locked(server: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose shells are locked; ``touch`` is forbidden."""
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(server, PERMIT, NOT, shell="locked")
    await gate.listen()
    yield gate
    await gate.close()


def prompt(child: pexpect.spawn) -> None:
    """Wait for the first prompt."""
    child.delaybeforesend = None
    child.expect_exact(GREETING)
    child.expect(READY)


def commands(serving: FakeServing) -> list[dict[str, object]]:
    """Lines that ran, as the transcript tells them."""
    return [entry for entry in serving.recorder.lines(1, "jsonl") if entry.get("event") == "command"]
