"""The second table of docs/reference/when-parts-fail.md: what becomes of sessions and evidence when an agent's surroundings fail.

A disk here is a real one: a small tmpfs that only the agent sees, with ballast that takes its room away. Mounting takes root.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import bootstrap
from chalicelib.contracts.manifest import names
from infra.demo.database import binary
from infra.demo.stack import ROOT, must
from tests.crash import recordings, test_crashes
from tests.crash.conftest import Ward, given_up, stand_up
from tests.patience import HANG_S

pytestmark = [pytest.mark.servers, pytest.mark.crash]

MB = 1_000_000
DISK = 24 * MB
FLOOR_MB = 8

MATRIX = (
    (ROOT / "docs/reference/when-parts-fail.md").read_text().partition("\n## The agent's surroundings")[2].partition("\n## ")[0]
)
ROWS = re.findall(r"^\| `([a-z0-9-]+)`: ", MATRIX, re.MULTILINE)

CAN_MOUNT = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
can_mount = pytest.mark.skipif(not CAN_MOUNT, reason="mounting a small disk takes root")


class Standing:
    """A client that stays: what is typed goes in line by line, what comes back is read line by line."""

    def __init__(self, words: list[str], environment: dict[str, str], errors: Path) -> None:
        self._errors = errors
        self._process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors.open("wb"), text=True
        )

    def says(self, line: str) -> str:
        """Type ``line`` and return the line that comes back; empty at the end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self._process.stdout.readline().rstrip("\n")

    def ended(self) -> str:
        """Return what it said on standard error, once it has ended by itself."""
        self._process.wait(timeout=HANG_S)
        return self._errors.read_text()

    def close(self) -> None:
        """End it as a person would."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=HANG_S)


class Desk:
    """Alice, with an ssh and a psql."""

    def __init__(self, ward: Ward) -> None:
        self.ward = ward
        self.alice = ward.alice
        self.door = ward.door()
        self._opened = 0
        self._earlier: set[str] = set()
        self._earlier = set(self.sessions())
        self._number = max(ward.ran(), default=0)

    def insert(self, psql: Standing, more: str = "") -> int:
        """Have a row inserted; return its number, or 0 where the answer did not come."""
        number = self._number + 1
        said = psql.says(f"INSERT INTO ledger VALUES ({number}, 'mark-{number}- {more}') RETURNING 'out-{number}-';")
        if said != f"out-{number}-":
            return 0
        self._number = number
        return number

    def ssh(self) -> Standing:
        """A program on prod-web that says back what it is told."""
        client = self._stand(self.alice.command(["ssh", "prod-web", "cat"]))
        assert client.says("hello") == "hello"
        return client

    def psql(self) -> Standing:
        """A session on prod-db."""
        client = self._stand([str(binary("psql")), "-XqAt", "-v", "ON_ERROR_STOP=1", self.door.dsn])
        assert client.says("SELECT 'hello';") == "hello"
        return client

    def refused(self) -> tuple[str, str]:
        """Try both, and return what each says."""
        words = [str(binary("psql")), "-XqAt", "-c", "SELECT 1", self.door.dsn]
        ssh, psql = self.alice.run(["ssh", "prod-web", "true"]), self.alice.run(words)
        assert ssh.returncode != 0
        assert psql.returncode != 0
        return ssh.stderr, psql.stderr

    def agents(self) -> Any:
        """The agent as administrators see it."""
        said = must(self.ward.stack.person("pat").run(["sallyport", "agents", "--json"])).stdout
        return json.loads(said)["agents"][0]

    def sessions(self) -> dict[str, str]:
        """Session and state of everything that alice opened at this desk."""
        said = must(self.alice.run(["sallyport", "sessions", "--json"])).stdout
        return {each["sid"]: each["state"] for each in json.loads(said)["sessions"] if each["sid"] not in self._earlier}

    def _stand(self, words: list[str]) -> Standing:
        self._opened += 1
        return Standing(words, self.alice.environment, self.ward.errors / f"standing-{Path(words[0]).name}-{self._opened}.err")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with stand_up(tmp_path_factory.mktemp("surroundings"), DISK if CAN_MOUNT else 0, min_free_mb=0) as found:
        yield found


@pytest.fixture
def desk(ward: Ward) -> Iterator[Desk]:
    with at_desk(ward, floor_mb=0) as found:
        yield found


@pytest.fixture
def minding(ward: Ward) -> Iterator[Desk]:
    """A desk whose agent wants room."""
    with at_desk(ward, floor_mb=FLOOR_MB) as found:
        yield found


@contextlib.contextmanager
def at_desk(ward: Ward, floor_mb: int) -> Iterator[Desk]:
    if ward.stack.life:
        ward.stack.end_agent(signal.SIGTERM)
    ward.stack.configure(min_free_mb=floor_mb)
    ward.stack.restart_agent()
    ward.stack.until_online(ward.stack.person("pat"))
    desk = Desk(ward)
    yield desk
    desk.door.close()
    if ward.stack.life:
        ward.stack.end_agent(signal.SIGTERM)


def leave(ward: Ward, room: int) -> None:
    """Have the agent's disk have ``room`` bytes left."""
    spool = ward.stack.nursery.inside(ward.stack.state / "spool")
    ballast = spool / "ballast"
    ballast.unlink(missing_ok=True)
    about = os.statvfs(spool)
    size = about.f_bavail * about.f_frsize - room
    if size > 0:
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def until(condition: Callable[[], bool], ward: Ward, what: str) -> None:
    test_crashes.until(condition, lambda: what, ward)


def status_of(ward: Ward, sid: str) -> dict[str, str]:
    """Return the status that each manifest of a session says of itself, by its file's name."""
    prefix = bootstrap.ports().store.session(sid).recording  # type: ignore[union-attr]
    found = {}
    for status in ("truncated", "recovered"):
        name = names(status)[0]
        raw = bootstrap.ports().archive.read(f"{prefix}/{name}")
        if raw is not None:
            found[name] = json.loads(raw.body)["status"]
    return found


def finish(ward: Ward, folder: Path) -> None:
    """Have everything delivered, and prove it."""
    test_crashes.settle(ward)
    test_crashes.check_evidence(ward, folder)


def test_every_row_has_its_test() -> None:
    here = set(dir(sys.modules[__name__]))
    assert ROWS
    assert [row for row in ROWS if f"test_{row.replace('-', '_')}" not in here] == []


def test_agent_killed(desk: Desk, tmp_path: Path) -> None:
    ward = desk.ward
    ssh, psql = desk.ssh(), desk.psql()
    number = desk.insert(psql)
    ward.stack.end_agent(signal.SIGKILL)
    ssh.ended()
    assert not desk.insert(psql)
    assert "server closed the connection" in psql.ended()
    until(lambda: not desk.agents()["online"], ward, "the agent is seen to be gone")
    assert all("not connected" in said for said in desk.refused())
    ward.stack.restart_agent()
    finish(ward, tmp_path)
    assert set(desk.sessions().values()) == {"ended"}
    assert recordings.read(ward.cloud).decided[number] == 1


def test_agent_gone(desk: Desk, tmp_path: Path) -> None:
    ward = desk.ward
    psql = desk.psql()
    number = desk.insert(psql)
    (sid,) = desk.sessions()
    ward.stack.end_agent(signal.SIGKILL)
    assert not desk.insert(psql)
    with given_up(ward):
        until(lambda: ward.cloud.pump.fire("reap") is None and desk.sessions()[sid] == "interrupted", ward, "the reaper sees it")
    until(lambda: not ward.cloud.pump.behind(), ward, "the end is sealed")
    assert status_of(ward, sid) == {"manifest.json": "truncated"}
    ward.stack.restart_agent()
    until(lambda: "manifest.recovered.json" in status_of(ward, sid), ward, "the agent that came back amends it")
    finish(ward, tmp_path)
    assert status_of(ward, sid) == {"manifest.json": "truncated", "manifest.recovered.json": "recovered"}
    assert desk.sessions() == {sid: "ended"}
    assert recordings.read(ward.cloud).decided[number] == 1


@can_mount
def test_disk_low(minding: Desk, tmp_path: Path) -> None:
    ward = minding.ward
    ssh, psql = minding.ssh(), minding.psql()
    leave(ward, FLOOR_MB * MB * 3 // 4)
    until(lambda: minding.agents()["refuses"] == "spool_full", ward, "the control plane is told")
    assert all("no room left to record" in said for said in minding.refused())
    assert ssh.says("still here") == "still here"
    assert minding.insert(psql)
    leave(ward, DISK)
    until(lambda: minding.agents()["refuses"] == "", ward, "the control plane is told again")
    for client in (minding.ssh(), minding.psql(), ssh, psql):
        client.close()
    finish(ward, tmp_path)


@can_mount
def test_disk_very_low(minding: Desk, tmp_path: Path) -> None:
    ward = minding.ward
    ssh, psql = minding.ssh(), minding.psql()
    number = minding.insert(psql)
    leave(ward, FLOOR_MB * MB // 4)
    assert "no room left to record" in ssh.ended()
    assert not minding.insert(psql)
    assert "no room left to record" in psql.ended()
    assert all("no room left to record" in said for said in minding.refused())
    until(lambda: set(minding.sessions().values()) == {"ended"}, ward, "both are over")
    leave(ward, DISK)
    until(lambda: minding.agents()["refuses"] == "", ward, "the control plane is told")
    minding.ssh().close()
    finish(ward, tmp_path)
    assert recordings.read(ward.cloud).decided[number] == 1


@can_mount
def test_disk_full(desk: Desk, tmp_path: Path) -> None:
    ward = desk.ward
    ssh, psql = desk.ssh(), desk.psql()
    before = ward.ran()
    leave(ward, MB // 2)
    seen = list(iter(lambda: desk.insert(psql, "x" * 50_000), 0))
    assert len(seen) < 100, "the disk was never full"
    assert "disk is full" in psql.ended()
    assert ward.ran() - before == set(seen), "what could not be recorded did not run"
    ssh.ended()
    assert ward.stack.ended_agent() == 5
    assert "agent.giving_up" in ward.stack.log.read_text()
    leave(ward, DISK)
    ward.stack.restart_agent()
    finish(ward, tmp_path)
    assert set(seen) <= set(recordings.read(ward.cloud).decided)


def test_control_plane_away(desk: Desk, tmp_path: Path) -> None:
    ward = desk.ward
    ssh, psql = desk.ssh(), desk.psql()
    sids = desk.sessions()
    seen = []
    with ward.cloud.outage("api", "s3"):
        for line in range(40):
            seen.append(desk.insert(psql))
            assert ssh.says(f"line {line}") == f"line {line}"
        assert all("Cannot reach" in said for said in desk.refused())
    assert ssh.says("after") == "after"
    seen.append(desk.insert(psql))
    for client in (ssh, psql):
        client.close()
    finish(ward, tmp_path)
    assert {desk.sessions()[sid] for sid in sids} == {"ended"}
    assert set(seen) <= set(recordings.read(ward.cloud).decided)


def test_bucket_away(desk: Desk, tmp_path: Path) -> None:
    ward = desk.ward
    with ward.cloud.outage("s3"):
        psql = desk.psql()
        number = desk.insert(psql)
        psql.close()
    finish(ward, tmp_path)
    assert recordings.read(ward.cloud).decided[number] == 1
