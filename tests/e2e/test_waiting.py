"""Waiting outlives what can go wrong beside it: lost answers, cut sockets, an agent that is away. And what a yes is worth."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.runtime import identity
from agent.runtime.approvals import POLL_S
from agent.runtime.clock import ServerClock
from agent.runtime.control_client import ControlClient
from chalicelib.contracts.api_requests import ApprovalUse
from chalicelib.contracts.faults import Fault
from infra.demo.stack import Person
from infra.local.chaos import CALM, Chaos
from tests.e2e import seen
from tests.e2e.conftest import World, socket_kind
from tests.e2e.test_approvals import HURRIES, Asked, carol, inbox, pipe, psql
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers
__all__ = ["carol", "pipe"]

DIRECT = {"SALLYPORT_WAY": "direct"}
WAITING_ROOM = "please let me in, I can wait"


def cut(world: World, kind: str) -> int:
    """Tear the WebSockets of one kind, as a lost network does."""
    return world.cloud.gateway.kill(lambda socket: socket_kind(socket) == kind)


@contextmanager
def away(world: World) -> Iterator[None]:
    """The agent's process stands still and its control socket is gone."""
    pid = world.stack.pid("agent")
    os.kill(pid, signal.SIGSTOP)
    try:
        cut(world, "control")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_push_that_is_lost_with_its_socket_is_made_up_for(world: World, carol: Person, pipe: Path) -> None:
    began = time.monotonic()
    asked = Asked(world, carol, ["ssh", "prod-web", f"mkfifo {pipe}; echo made"], **DIRECT)
    world.cloud.gateway.chaos = Chaos(drop=1.0)
    try:
        asked.answer("approve", "--yes")
    finally:
        world.cloud.gateway.chaos = CALM
    # An agent that is not told looks by itself, but not so soon.
    assert asked.process.poll() is None or time.monotonic() - began > POLL_S / 2
    until(lambda: cut(world, "control"), "its socket is torn")
    status, out, err = asked.ended()
    assert (status, out) == (0, "made\n"), err
    assert asked.state() == "used"


def test_a_yes_that_came_while_the_agent_was_away_is_used_when_it_is_back(world: World, carol: Person, pipe: Path) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", f"mkfifo {pipe}; echo made"], **DIRECT)
    with away(world):
        asked.answer("approve", "--yes")
        assert not pipe.exists()
    status, out, err = asked.ended()
    assert (status, out) == (0, "made\n"), err
    assert asked.state() == "used"


def test_a_yes_whose_time_was_over_when_the_agent_came_back_runs_nothing(world: World, carol: Person, pipe: Path) -> None:
    for command, lasts_s in HURRIES:
        asked = Asked(world, carol, ["ssh", "prod-web", command.format(pipe)], **DIRECT)
        with away(world):
            if not asked.answered("approve", "--yes"):
                continue  # this machine is too slow for such a hurry
            # The yes is as short as the question was.
            until(lambda: time.time() * 1000 > asked.request["deadline_ms"] + lasts_s * 1000 + 500, "it is over")  # noqa: B023
        break
    status, _, err = asked.ended()
    assert (status, "approval_expired" in err) == (126, True), err
    world.cloud.pump.fire("reap")  # it comes by itself each minute
    assert asked.state() == "expired"
    assert not pipe.exists()


def test_a_question_whose_answer_was_lost_calls_people_once(world: World, carol: Person) -> None:
    before = {each["rid"] for each in inbox(carol)}
    delayed = world.log().count("approval.ask_delayed")
    process = subprocess.Popen(
        world.alice.command(psql()),
        env=world.alice.environment | DIRECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("select 'in';\n")
    process.stdin.flush()
    assert process.stdout.readline() == "in\n"
    with world.cloud.outage("api", mute=True):
        process.stdin.write("comment on table customers is 'lost and found';\n")
        process.stdin.flush()
        until(lambda: world.log().count("approval.ask_delayed") > delayed, "an answer is lost")
    (request,) = until(lambda: [each for each in inbox(carol) if each["rid"] not in before], "it is asked")
    assert carol.run(["sallyport", "approve", request["rid"], "--yes"]).returncode == 0
    assert process.stdout.readline() == "COMMENT\n"
    assert not [each for each in inbox(carol) if each["rid"] not in before]
    process.stdin.close()
    assert "it is tried again" in process.stderr.read()  # type: ignore[union-attr]
    process.wait(timeout=HANG_S)
    world.stack.database.ask("comment on table customers is null")


def test_a_command_line_that_waits_to_come_in_replaces_its_socket(world: World, carol: Person) -> None:
    asked = Asked(world, carol, ["ssh", "prod-web", "echo in"], SALLYPORT_REASON=WAITING_ROOM)
    until(lambda: cut(world, "request"), "it listens")
    asked.answer("approve", "--yes")
    status, out, err = asked.ended()
    assert (status, out) == (0, "in\n"), err


@pytest.mark.parametrize(
    "words", [psql("-c", "select 1"), ["sallyport", "connect", "prod-web", "--", "echo", "in"], ["sftp", "prod-web"]]
)
def test_ctrl_c_before_the_session_withdraws_whatever_the_client(world: World, carol: Person, words: list[str]) -> None:
    asked = Asked(world, carol, words, SALLYPORT_REASON="let me in, or not")
    os.killpg(asked.process.pid, signal.SIGINT)
    asked.ended()
    until(lambda: asked.state() == "withdrawn", "it is withdrawn")
    assert time.time() * 1000 < asked.request["deadline_ms"], "by Ctrl-C, and not because its time was over"


def test_a_session_of_psql_opens_by_itself_after_the_yes(world: World, carol: Person) -> None:
    asked = Asked(world, carol, psql("-c", "select 'in'"), SALLYPORT_REASON=WAITING_ROOM)
    asked.answer("approve", "--yes")
    status, out, err = asked.ended()
    assert (status, out) == (0, "in\n"), err


# -- what a yes is worth, asked by somebody who holds the agent's own key --------------------------------------------------------


def as_agent(world: World, asking: Callable[[ControlClient], Awaitable[Any]]) -> str:
    """Call the control plane with the agent's key. Returns the code of its refusal, or nothing."""
    enrolled, keys = identity.load(world.stack.folder / "agent" / "state")
    clock = ServerClock()
    proof = identity.Identity(enrolled, keys, clock.now_ms).proof

    async def call() -> str:
        async with ControlClient(world.stack.url, clock, proof) as client:
            try:
                await asking(client)
            except Fault as fault:
                return fault.code
            return ""

    return asyncio.run(call())


def use(world: World, sid: str, rid: str, digest: str, key: str = "another use") -> str:
    return as_agent(world, lambda client: client.use(sid, rid, ApprovalUse(digest=digest, key=key)))


def live(world: World, carol: Person, target: str) -> str:
    return str(seen.sessions(carol, target=target, state="live")[0]["sid"])


def test_a_yes_is_good_for_one_use_of_one_thing_in_one_session(world: World, carol: Person, pipe: Path) -> None:
    other = subprocess.Popen(
        world.alice.command(psql()),
        env=world.alice.environment | DIRECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write("select 'in';\n")
    other.stdin.flush()
    assert other.stdout.readline() == "in\n"
    elsewhere = live(world, carol, "prod-db")

    asked = Asked(world, carol, ["ssh", "prod-web", f"mkfifo {pipe}; echo made; read line < {pipe}"], **DIRECT)
    sid, digest = asked.request["sid"], asked.request["digest"]
    assert use(world, sid, asked.rid, digest) == "approval_pending"
    asked.answer("approve", "--yes")
    assert asked.process.stdout is not None
    assert asked.process.stdout.readline() == "made\n"

    assert use(world, sid, asked.rid, digest) == "approval_used"
    assert use(world, sid, asked.rid, "0" * 64) == "approval_mismatch"
    assert use(world, elsewhere, asked.rid, digest) == "unknown_request"
    assert use(world, sid, "req_01JD8QZ6T3N0V9C4K2M7X5B1HR", digest) == "unknown_request"
    assert as_agent(world, lambda client: client.withdraw(sid, asked.rid)) == "approval_over"

    # What looks the same and is not: another byte, another path.
    for command in (f"mkfifo {pipe}; echo made; read line < {pipe} ", f"mkfifo {pipe}2; echo made; read line < {pipe}"):
        again = Asked(world, carol, ["ssh", "prod-web", command], **DIRECT)
        assert (again.rid != asked.rid, again.request["digest"] != digest) == (True, True)
        os.killpg(again.process.pid, signal.SIGINT)
        again.ended()
    pipe.write_text("go\n")
    assert asked.ended()[0] == 0
    other.stdin.close()
    other.wait(timeout=HANG_S)


def test_the_same_command_once_more_is_another_question(world: World, carol: Person, pipe: Path) -> None:
    command = f"mkfifo {pipe}; echo made"
    first = Asked(world, carol, ["ssh", "prod-web", command], **DIRECT)
    first.answer("approve", "--yes")
    assert first.ended()[0] == 0
    pipe.unlink()
    second = Asked(world, carol, ["ssh", "prod-web", command], **DIRECT)
    assert second.request["digest"] == first.request["digest"]
    assert not pipe.exists()
    second.answer("deny", "--reason", "once was enough")
    assert second.ended()[0] == 126
    assert not pipe.exists()


def test_a_yes_does_not_outlive_the_session_that_asked(world: World, carol: Person, pipe: Path) -> None:
    command = ["ssh", "prod-web", f"mkfifo {pipe}; echo made"]
    asked = Asked(world, carol, command, **DIRECT)
    world.stack.kill_agent()
    assert asked.ended()[0] == 255
    world.stack.restart_agent()
    ended = lambda: asked.request["sid"] in states(carol, "ended")  # noqa: E731
    until(ended, "the returning agent closes what it was recording")
    world.stack.until_online(world.stack.person("pat"))
    world.cloud.pump.fire("reap")
    assert asked.state() == "expired"
    assert carol.run(["sallyport", "approve", asked.rid, "--yes"]).returncode == 126
    again = Asked(world, carol, command, **DIRECT)
    assert again.rid != asked.rid
    again.answer("approve", "--yes")
    assert again.ended()[0] == 0


def states(person: Person, state: str) -> set[str]:
    return {each["sid"] for each in seen.sessions(person, state=state)}
