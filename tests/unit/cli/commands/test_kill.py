"""``kill``: whose sessions, what came of it, and the exit status."""

from __future__ import annotations

import json

import msgspec
import pytest

from chalicelib.contracts.api_live import SessionKill, SessionKilled
from chalicelib.contracts.session import State
from cli.commands import kill as command
from tests.fakes.http_control_plane import FakeControlPlane, Reply, Request, failure
from tests.unit.cli.conftest import Run, session


class Gateway:
    """Sessions that end after they were asked about ``slow`` times."""

    def __init__(self, plane: FakeControlPlane) -> None:
        self.slow, self.reached, self.refused = 1, True, ""
        self.asked: list[str] = []
        self.reasons: set[str] = set()
        self._before = plane._private_route
        plane._private_route = self.answer  # type: ignore[method-assign]

    def answer(self, asked: Request, path: str, query: dict[str, str]) -> Reply:
        if not path.endswith("/kill"):
            return self._before(asked, path, query)
        sid = path.split("/")[2]
        self.asked.append(sid)
        self.reasons.add(msgspec.json.decode(asked.body, type=SessionKill).reason)
        if sid == self.refused:
            return failure("denied", "Let it run.")
        state = State.KILLED if self.asked.count(sid) > self.slow and self.reached else State.LIVE
        found = SessionKilled(sid=sid, state=state, reached=self.reached, agent="edge-1", message="alice ended it: x\x1b[2J")
        return Reply(200, msgspec.json.encode(found))


@pytest.fixture
def gateway(logged_in: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr(command, "PAUSE_S", 0.0)
    logged_in.sessions = [
        session(1, state=State.LIVE),
        session(2, state=State.LIVE, target="prod-db"),
        session(3, state=State.OFFERED),
        session(4),
    ]
    return Gateway(logged_in)


def test_it_waits_until_the_agent_has_said_that_the_session_is_over(run: Run, gateway: Gateway) -> None:
    gateway.slow = 3
    sid = session(1).sid
    ran = run("kill", sid, "--reason", "laptop stolen")
    assert ran.status == 0, ran.err
    assert ran.out.startswith(f"{sid} is over: alice ended it: x")
    assert "\x1b" not in ran.out
    assert gateway.asked == [sid] * 4
    assert gateway.reasons == {"laptop stolen"}


def test_an_agent_that_is_away_is_told_truthfully(run: Run, gateway: Gateway) -> None:
    gateway.reached = False
    ran = run("kill", session(1).sid, "--reason", "x")
    assert ran.status == 5
    assert "is not connected" in ran.err
    assert "may go on" in ran.err
    assert len(gateway.asked) == 1


def test_an_agent_that_takes_its_time_is_no_failure(run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PATIENCE_S", 0.0)
    ran = run("kill", session(1).sid, "--reason", "x")
    assert (ran.status, "now; it has yet to deliver" in ran.out) == (0, True)


def test_all_means_every_open_session_that_matches(run: Run, gateway: Gateway) -> None:
    ran = run("kill", "--all", "--target", "prod-web", "--reason", "x", "--json")
    assert ran.status == 0, ran.err
    assert {each["sid"] for each in json.loads(ran.out)["sessions"]} == {session(1).sid, session(3).sid}


def test_one_refusal_saves_none_of_the_others(run: Run, gateway: Gateway) -> None:
    gateway.refused = session(1).sid
    ran = run("kill", session(1).sid, session(2).sid, "--reason", "x")
    assert ran.status == 126
    assert f"{session(1).sid}: Let it run." in ran.err
    assert f"{session(2).sid} is over" in ran.out


def test_everything_of_everybody_is_never_meant(run: Run, gateway: Gateway) -> None:
    for words in ([], ["--all"], ["--all", "7X5B1HR", "--user", "a"], ["7X5B1HR", "--user", "a"]):
        assert run("kill", *words, "--reason", "x").status == 2
    assert run("kill", session(1).sid).status == 2
    assert gateway.asked == []
