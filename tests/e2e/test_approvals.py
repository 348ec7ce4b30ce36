"""Waiting in place: stock ssh through the whole gateway, answered in a terminal, with everything that can come between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.demo.stack import Person
from tests.e2e.conftest import World
from tests.e2e.seen import history, inbox
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers


#: Commands that policy lets somebody wait for, and for how many seconds. On a machine on which the first wait is over before
#: anybody can answer, the second is not.
HURRIES = (("mknod {} p", 6), ("mknod {} p # in no hurry", 60))


class Asked:
    """A command of alice's that waits."""

    def __init__(self, world: World, carol: Person, words: list[str], **more: str) -> None:
        self.carol = carol
        # A test before this one may have torn the agent's socket, and what it asked for came by another way.
        until(world.agent_listens, "the agent is there")
        before = {each["rid"] for each in [*inbox(carol), *history(carol)]}

        def asked() -> dict[str, Any] | None:
            over = self.process.poll() is not None
            # What waits for a moment only may be over before anybody on this machine has looked.
            found = next((each for look in (inbox, history) for each in look(carol) if each["rid"] not in before), None)
            assert found or not over, f"it ended without asking: {self.process.communicate()}"
            return found

        self.process = subprocess.Popen(
            world.alice.command(words),
            env=world.alice.environment | {"SALLYPORT_WAY": "relay"} | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.request: dict[str, Any] = until(asked, "it is asked") or {}
        self.rid = self.request["rid"]

    def answer(self, *words: str) -> None:
        done = self.carol.run(["sallyport", words[0], self.rid, *words[1:]])
        assert done.returncode == 0, done.stderr

    def answered(self, *words: str) -> bool:
        """Answer; tell whether that was in time."""
        done = self.carol.run(["sallyport", words[0], self.rid, *words[1:]])
        assert done.returncode == 0 or "approval_over" in done.stderr or "approval_expired" in done.stderr, done.stderr
        return done.returncode == 0

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=HANG_S)
        return self.process.returncode, out, err

    def state(self) -> str:
        found = json.loads(self.carol.run(["sallyport", "requests", "--history", "--json"]).stdout)["requests"]
        return str(next(each["state"] for each in found if each["rid"] == self.rid))


@pytest.fixture(scope="module")
def carol(world: World) -> Person:
    carol = world.stack.person("carol")
    assert carol.login(world.stack.url).returncode == 0
    return carol


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    return tmp_path / "pipe"


def test_a_command_runs_by_itself_after_the_yes(world: World, carol: Person, pipe: Path) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", f"mkfifo {pipe}; echo made"])
    assert asked.request["operation"]["text"] == f"mkfifo {pipe}; echo made"
    assert not pipe.exists()
    asked.answer("approve", "--yes")
    status, out, err = asked.ended()
    assert (status, out) == (0, "made\n"), err
    assert "sallyport: Pipes need a second pair of eyes. Waiting until" in err
    assert " UTC for auditors to agree: " in err
    assert f"/approvals/{asked.rid} - Ctrl-C withdraws." in err
    assert pipe.is_fifo()
    assert asked.state() == "used"


def test_a_no_is_said_in_the_words_of_whoever_said_it(world: World, carol: Person, pipe: Path) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", f"mkfifo {pipe}"])
    asked.answer("deny", "--reason", "not \x1b[31mtoday\u202e")
    status, _, err = asked.ended()
    assert status == 126
    assert "carol@example.com said no: not " in err
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert not pipe.exists()


def test_nobody_answers(world: World, carol: Person, pipe: Path) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", f"mknod {pipe} p"])
    status, _, err = asked.ended()
    assert (status, "Nobody answered in time. (approval_expired, " in err) == (126, True), err
    assert not pipe.exists()


def test_ctrl_c_withdraws(world: World, carol: Person, pipe: Path) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", f"mkfifo {pipe}"])
    os.killpg(asked.process.pid, signal.SIGINT)
    asked.ended()
    until(lambda: asked.state() == "withdrawn", "it is withdrawn")
    assert carol.run(["sallyport", "approve", asked.rid, "--yes"]).returncode == 6
    assert not pipe.exists()


def test_a_session_opens_by_itself_after_the_yes(world: World, carol: Person) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", "echo in"], SALLYPORT_REASON="please let me in")
    assert (asked.request["kind"], asked.request["reason"]) == ("access", "please let me in")
    asked.answer("approve", "--yes")
    status, out, err = asked.ended()
    assert (status, out) == (0, "in\n"), err
    assert "Somebody has to let you in." in err
    assert "auditors" in err
    assert f"/approvals/{asked.rid}" in err
    assert asked.state() == "used"


def test_a_session_that_is_refused_does_not_open(world: World, carol: Person) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", "echo in"], SALLYPORT_REASON="let me in again")
    asked.answer("deny", "--reason", "no")
    status, out, err = asked.ended()
    assert (status, out) == (255, "")
    assert "carol@example.com said no: no [approval_denied]" in err


def test_ctrl_c_before_the_session_withdraws(world: World, carol: Person) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", "echo in"], SALLYPORT_REASON="let me in, or not")
    os.killpg(asked.process.pid, signal.SIGINT)
    asked.ended()
    until(lambda: asked.state() == "withdrawn", "it is withdrawn")


def test_approve_shows_and_asks_and_needs_somebody_to_ask(world: World, carol: Person, pipe: Path) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", f"mkfifo {pipe}"])
    unasked = carol.run(["sallyport", "approve", asked.rid])
    assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    withdrawn = world.alice.run(["sallyport", "withdraw", asked.rid])
    assert withdrawn.stdout == f"{asked.rid} is withdrawn\n"
    status, _, err = asked.ended()
    assert (status, "approval_withdrawn" in err) == (126, True)


def test_her_own_request_is_not_hers_to_answer(world: World, carol: Person, pipe: Path) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", f"mkfifo {pipe}"])
    refused = world.alice.run(["sallyport", "approve", asked.rid, "--yes"])
    assert refused.returncode == 126, refused.stderr
    asked.answer("deny", "--reason", "enough")
    asked.ended()


def test_in_an_emergency_she_goes_first_and_somebody_else_reviews_it(world: World, carol: Person) -> None:
    reason = "let me in, the shop is down"
    words = ["sallyport", "request", "prod-web", "--for", "10m", "--reason", reason, "--emergency", "--json"]
    went = world.alice.run(words)
    assert went.returncode == 0, went.stderr
    request = json.loads(went.stdout)["request"]
    assert (request["state"], request["emergency"], request["votes"]) == ("approved", True, [])
    run = subprocess.run(
        world.alice.command(["ssh", "prod-web", "echo in"]),
        env=world.alice.environment | {"SALLYPORT_REASON": reason},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert (run.returncode, run.stdout) == (0, "in\n"), run.stderr

    def unreviewed(person: Person) -> list[str]:
        listed = person.run(["sallyport", "requests", "--unreviewed", "--json"])
        return [each["rid"] for each in json.loads(listed.stdout)["requests"]]

    assert request["rid"] in unreviewed(carol)
    assert "shop is down" in carol.run(["sallyport", "requests", "--unreviewed"]).stdout
    verdict = ["sallyport", "review", request["rid"], "--justified", "--reason", "It was down."]
    assert "[denied]" in world.alice.run(verdict).stderr
    assert request["rid"] in unreviewed(carol)
    assert carol.run(verdict).stdout == f"{request['rid']} is reviewed: justified\n"
    assert request["rid"] not in unreviewed(carol)
    # Given back, or other tests would find a way in without asking.
    back = world.alice.run(["sallyport", "revoke", request["rid"], "--reason", "it is up again"])
    assert back.stdout == f"{request['rid']} is revoked\n", back.stderr
    again = world.alice.run(["sallyport", "revoke", request["rid"]])
    assert (again.returncode, "[approval_over]" in again.stderr) == (6, True), again.stderr
    # Where policy lets nobody go first, nobody does.
    elsewhere = world.alice.run([*words[:2], "prod-db", *words[3:]])
    assert (elsewhere.returncode, "No policy lets you go first" in elsewhere.stderr) == (126, True), elsewhere.stderr


def granted(world: World, carol: Person, target: str, length: str) -> None:
    """Have carol grant alice that long on ``target``."""
    words = ["sallyport", "request", target, "--for", length, "--reason", "let me in for a moment", "--no-wait", "--json"]
    asked = json.loads(world.alice.run(words).stdout)["request"]["rid"]
    assert carol.run(["sallyport", "approve", asked, "--yes"]).returncode == 0


def within_grant(world: World, carol: Person, words: list[str]) -> tuple[int, str, str]:
    """Run ``words`` until they end; or until they ask for time anew, because what was granted is over before they began."""
    before = {each["rid"] for each in inbox(carol)}
    process = subprocess.Popen(
        world.alice.command(words),
        env=world.alice.environment | {"SALLYPORT_REASON": "let me in for a moment"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    again = lambda: any(each["rid"] not in before for each in inbox(carol))  # noqa: E731
    until(lambda: process.poll() is not None or again(), "its time is over")
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=HANG_S)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("target", "words", "ended"),
    [
        ("prod-web", ["ssh", "prod-web", "echo in; sleep 300"], "(session_ended, "),
        (
            "prod-db",
            ["sallyport", "connect", "prod-db", "--", "psql", "-XAt", "-c", "select 'in'", "-c", "select pg_sleep(300)"],
            "FATAL",
        ),
    ],
)
def test_a_grant_that_ends_warns_and_then_ends_its_session(
    world: World, carol: Person, target: str, words: list[str], ended: str
) -> None:
    for length in ("12s", "70s"):
        granted(world, carol, target, length)
        status, out, err = within_grant(world, carol, words)
        if out:
            break  # otherwise this machine is too slow for such a short grant
    assert out.strip() == "in", err
    assert status != 0
    warned, over = (err.index("This session ends at "), err.index("The time that was granted for this session is over."))
    assert warned < over
    assert ended in err[over - 60 :]


REMARK = "comment on table customers is 'seen'"


def psql(*words: str) -> list[str]:
    return ["sallyport", "connect", "prod-db", "--", "psql", "-XAt", *words]


def remark(world: World) -> str:
    return world.stack.database.ask("select coalesce(obj_description('customers'::regclass), '')")


def test_a_statement_runs_by_itself_after_the_yes(world: World, carol: Person) -> None:
    asked = Asked(world, carol, psql("-c", "select 1", "-c", REMARK, "-c", "select 2"))
    assert asked.request["operation"]["text"] == REMARK
    assert remark(world) == ""
    asked.answer("approve", "--yes")
    status, out, err = asked.ended()
    assert (status, out) == (0, "1\nCOMMENT\n2\n"), err
    assert "NOTICE:  sallyport: Remarks need a second pair of eyes. Waiting until" in err
    assert " UTC for auditors to agree: " in err
    assert asked.rid in err
    assert remark(world) == "seen"
    assert asked.state() == "used"
    world.stack.database.ask("comment on table customers is null")


def test_a_statement_that_is_refused_leaves_the_session(world: World, carol: Person) -> None:
    asked = Asked(world, carol, psql("-c", REMARK, "-c", "select 2"))
    asked.answer("deny", "--reason", "no remarks")
    status, out, err = asked.ended()
    assert (status, out) == (0, "2\n"), err
    assert "ERROR:  sallyport: carol@example.com said no: no remarks" in err
    assert remark(world) == ""


def test_ctrl_c_in_psql_withdraws_and_leaves_the_session(world: World, carol: Person) -> None:
    asked = Asked(world, carol, psql("-v", "VERBOSITY=verbose", "-c", REMARK, "-c", "select 2"))
    os.killpg(asked.process.pid, signal.SIGINT)
    status, _, err = asked.ended()
    assert status != 0 or "57014" in err, err
    assert "57014" in err
    until(lambda: asked.state() == "withdrawn", "it is withdrawn")
    assert remark(world) == ""
