"""The gateway around an agent that is going to be killed: the embedded cloud in this process, the rest as real programs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.demo.database import LOGIN
from infra.demo.stack import ROOT, Person, Stack
from infra.local.__main__ import load_app
from infra.local.cloud import EmbeddedCloud
from tests.crash import power
from tests.crash.people import Door
from tests.patience import HANG_S

#: Seconds after which a dead agent is taken for gone. No living one is: on a machine where others work too, beats come late.
STALE_S = 1

#: Characters of what each process said that are shown where a test fails.
KEPT = 6000

RULES = """
@id("anything-goes") permit (principal in Group::"sre", action == Action::"run", resource);
"""


class Nursery:
    """Where agents come from (nursery.py), and how they go."""

    def __init__(self, folder: Path, small_disk: tuple[Path, int] | None = None) -> None:
        """``small_disk`` is a folder that is a disk of so many bytes for agents, and for nobody else."""
        words = [sys.executable, "-m", "tests.crash.nursery"]
        if small_disk is not None:
            mount = f"mount -t tmpfs -o size={small_disk[1]},mode=700 tmpfs '{small_disk[0]}' && exec \"$@\""
            words = ["unshare", "--mount", "--", "sh", "-c", mount, "sh", *words]
        self._process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "nursery.log").open("wb"),
            text=True,
            start_new_session=True,
        )

    def inside(self, path: Path) -> Path:
        """Return how a file of the agents' own disk is reached from here."""
        return Path(f"/proc/{self._process.pid}/root") / path.relative_to("/")

    def ask(self, **asked: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=HANG_S)


class MortalStack(Stack):
    """A stack whose agent lives and dies as the test wants."""

    def __init__(self, folder: Path, nursery: Nursery) -> None:
        super().__init__(folder, direct=True)
        self.nursery = nursery
        self.life = 0
        self.settings: dict[str, int] = {}
        """What the agent's configuration says besides."""

    @property
    def state(self) -> Path:
        return self.folder / "agent" / "state"

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    @property
    def notes(self) -> Path:
        return self.folder / "synced"

    def start_agent(self, token: str) -> None:
        super().start_agent(token)
        self.end_agent(signal.SIGTERM)
        self.configure(**self.settings)
        self.restart_agent()

    def configure(self, **settings: int) -> None:
        """Have the next lives run with these settings."""
        config = self.folder / "agent" / "agent.toml"
        kept = [line for line in config.read_text().splitlines() if line.split(" = ")[0] not in settings]
        config.write_text("\n".join([*kept, *(f"{name} = {value}" for name, value in settings.items())]) + "\n")

    def restart_agent(self) -> None:
        assert not self.life, "another agent runs"
        config = self.folder / "agent" / "agent.toml"
        self.life = self.nursery.ask(do="start", config=str(config), log=str(self.log), synced=str(self.notes))["pid"]

    def end_agent(self, how: signal.Signals) -> int:
        """End the agent and return its exit status; negative, the signal."""
        os.kill(self.life, how)
        pid, self.life = self.life, 0
        status: int = self.nursery.ask(do="wait", pid=pid)["status"]
        return status

    def ended_agent(self) -> int:
        """Return the exit status of an agent that ends by itself."""
        pid, self.life = self.life, 0
        status: int = self.nursery.ask(do="wait", pid=pid)["status"]
        return status

    def cut_power(self, chance: random.Random) -> list[str]:
        """Have the dead agent's disk forget what it may."""
        return power.cut(self.state, self.notes, chance)

    def listener(self) -> tuple[str, int]:
        """Where the agent listens, in every life."""
        line = next(line for line in (self.folder / "agent" / "agent.toml").read_text().splitlines() if line.startswith("listen"))
        host, _, port = line.split('"')[1].rpartition(":")
        return host, int(port)


class Ward:
    """Everything that a test of dying needs."""

    def __init__(self, cloud: EmbeddedCloud, stack: MortalStack, alice: Person) -> None:
        self.cloud = cloud
        self.stack = stack
        self.alice = alice
        self.ledger = stack.folder / "ledger"
        self.errors = stack.folder / "errors"
        """What people's clients say on standard error, a file each."""
        self.errors.mkdir()
        self._doors: list[Door] = []

    def door(self) -> Door:
        """Have alice open a door to the database, which is closed with everything else at the latest."""
        self._doors.append(Door(self.alice, self.errors))
        return self._doors[-1]

    def close(self) -> None:
        """Close every door."""
        for door in self._doors:
            door.close()

    def said(self) -> list[tuple[str, str]]:
        """Return what every process said last: its name, and the end of its words."""
        found = sorted([*self.errors.iterdir(), *self.stack.folder.glob("*.log")])
        return [(path.name, path.read_text(errors="replace")[-KEPT:]) for path in found if path.stat().st_size]

    def ran(self) -> set[int]:
        """Numbers that the targets wrote down themselves."""
        marks = self.ledger.read_text().split() if self.ledger.exists() else []
        rows = self.stack.database.ask("SELECT n FROM ledger").split()
        return {int(mark.split("-")[1]) for mark in marks} | {int(row) for row in rows}


@contextlib.contextmanager
def stand_up(folder: Path, small_disk: int = 0, **settings: int) -> Iterator[Ward]:
    """Have everything run. ``small_disk`` is the size of the spool's own disk, in bytes; 0 for none."""
    spool = folder / "agent" / "state" / "spool"
    spool.mkdir(mode=0o700, parents=True)
    spool.parent.chmod(0o700)
    nursery = Nursery(folder, (spool, small_disk) if small_disk else None)
    with EmbeddedCloud(load_app) as cloud, MortalStack(folder, nursery) as stack:
        stack.settings = settings
        stack.database.prepare()
        stack.target.start()
        stack.attach(cloud.http_url, cloud.environment)
        (folder / "gateway").mkdir()
        (folder / "gateway" / "more.cedar").write_text(RULES)
        stack.database.wait()
        stack.database.ask(f"CREATE TABLE ledger (n int PRIMARY KEY, mark text); ALTER TABLE ledger OWNER TO {LOGIN}")
        with contextlib.ExitStack() as ends:
            ends.callback(nursery.close)
            ends.callback(end_of_life, stack)
            yield ends.enter_context(contextlib.closing(Ward(cloud, stack, stack.furnish())))


@contextlib.contextmanager
def given_up(ward: Ward) -> Iterator[None]:
    """While no agent lives: have the control plane, which is in this process, take it for gone after ``STALE_S``."""
    assert not ward.stack.life, "somebody who lives would be taken for gone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SALLYPORT_STALE_S", str(STALE_S))
        yield


def end_of_life(stack: MortalStack) -> None:
    """End the agent if there is one."""
    if stack.life:
        stack.end_agent(signal.SIGKILL)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with stand_up(tmp_path) as found:
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what every process said where a test fails: the client that got no answer may know why."""
    report = yield
    ward = getattr(item, "funcargs", {}).get("ward")
    if report.failed and isinstance(ward, Ward):
        report.sections += [(f"{name} ends in", words) for name, words in ward.said()]
    return report
