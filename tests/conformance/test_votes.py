"""Fifty people at once, one outcome: the whole use case on the fake store and on DynamoDB."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from chalicelib.contracts.api import SessionOpen
from chalicelib.contracts.api_requests import ApprovalUse
from chalicelib.contracts.audit_requests import RequestVoted
from chalicelib.contracts.faults import Fault
from chalicelib.ports import Store
from chalicelib.usecases.end_request import withdraw_operation
from chalicelib.usecases.open_session import open_session
from chalicelib.usecases.use_approval import use_approval
from tests.conformance.rows import DAY
from tests.fakes.approvals import ASK_FIRST, BOTH, DAN, DORA, access, answer, asking_world, drop, inside, kept
from tests.fakes.dynamodb import FakeStore
from tests.fakes.world import ALICE, FILES, World, person
from tests.patience import HANG_S

VOTERS = 50


@pytest.fixture
def world(store: Store) -> World:
    return asking_world(store=cast(FakeStore, store))


def at_once(count: int, attempt: Callable[[int], object]) -> Counter[str]:
    """Let everybody go at the same moment; count what each got: ``done``, or the code of a fault."""
    start = threading.Barrier(count)

    def run(n: int) -> str:
        start.wait(HANG_S)
        try:
            attempt(n)
        except Fault as fault:
            return fault.code
        return "done"

    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(run, range(count)))


def types(world: World) -> Counter[str]:
    return Counter(str(event.__struct_config__.tag) for event in world.store.events(DAY))


@pytest.mark.parametrize("yes_of", [1, 2, VOTERS + 1])
def test_exactly_one_outcome_under_fifty_votes(world: World, yes_of: int) -> None:
    people = [person(f"voter-{n}@example.com", "dba") for n in range(VOTERS)]
    for who in people:
        world.login(who)
    request = inside(world).request
    world.downlink.sent.clear()
    got = at_once(VOTERS, lambda n: answer(world, people[n], request, approve=n % yes_of == 0))
    after = kept(world, request.rid).request
    yes = sum(vote.approve for vote in after.votes)
    # Whoever was counted is in the row and in the audit events; everybody else was told that it is over.
    assert got["done"] == len(after.votes) == types(world)["request.voted"]
    assert set(got) <= {"done", "approval_over"}
    assert sum(got.values()) == VOTERS
    if after.state == "approved":
        assert (yes, len(after.votes)) == (2, 2)
    else:
        assert (str(after.state), len(after.votes) - yes) == ("denied", 1)
    decided = [each for each in world.downlink.sent["control-1"] if each["t"] == "decided"]
    assert [each["state"] for each in decided] == [str(after.state)]
    told = [notice for notice in world.notifier.told() if not notice.startswith("asked")]
    assert told == [f"{after.state} > alice@example.com"]


THREE = FILES | {"ask.cedar": ASK_FIRST.replace("quorum:2", "quorum:3")}
ROUNDS = 6


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_three_yes_of_five_race_one_no(store: Store, turn: int) -> None:
    world = asking_world(THREE, cast(FakeStore, store))
    people = [person(f"voter-{n}@example.com", "dba") for n in range(6)]
    for who in people:
        world.login(who)
    request = inside(world).request
    # Wherever the no starts, it is one of six that begin at the same moment.
    got = at_once(6, lambda n: answer(world, people[n], request, approve=n != turn, comment="no" if n == turn else ""))
    after = kept(world, request.rid).request
    yes = sum(vote.approve for vote in after.votes)
    no = len(after.votes) - yes
    assert (str(after.state), yes, no) in {("approved", 3, 0), ("denied", 0, 1), ("denied", 1, 1), ("denied", 2, 1)}
    assert got == Counter({"done": len(after.votes), "approval_over": 6 - len(after.votes)})
    assert types(world)["request.voted"] == len(after.votes)
    said = [event.state for event in store.events(DAY) if isinstance(event, RequestVoted) and event.state != "pending"]
    told = [notice for notice in world.notifier.told() if not notice.startswith("asked")]
    assert (said, told) == ([str(after.state)], [f"{after.state} > alice@example.com"])


@pytest.mark.parametrize("last", range(2))
def test_withdrawing_races_the_deciding_vote(world: World, last: int) -> None:
    request = inside(world).request
    answer(world, DAN, request)
    world.downlink.sent.clear()
    deeds = [
        lambda: answer(world, DORA, request),
        lambda: withdraw_operation(world.ports, world.agent, request.sid, request.rid),
    ]
    got = at_once(8, lambda n: deeds[(n + last) % 2]() if n < 2 else answer(world, BOTH, request))
    after = kept(world, request.rid).request
    events = types(world)
    ends = [event.state for event in world.store.events(DAY) if isinstance(event, RequestVoted) and event.state != "pending"]
    if after.state == "withdrawn":
        # Nobody's yes was counted together with it, and whoever came later was told that it is over.
        assert (ends, events["request.withdrawn"], len(after.votes)) == ([], 1, 1)
        assert got == {"done": 1, "approval_over": 7}
    else:
        assert (str(after.state), ends, events["request.withdrawn"], len(after.votes)) == ("approved", ["approved"], 0, 2)
        # One person who answers on many machines is told that they have, if it was they who decided.
        assert got["done"] == 1
        assert set(got) <= {"done", "approval_over", "voted_already"}
    assert [each["state"] for each in world.downlink.sent["control-1"] if each["t"] == "decided"] == [str(after.state)]


def test_one_person_on_many_machines_votes_once(world: World) -> None:
    request = inside(world).request
    got = at_once(20, lambda n: answer(world, DAN, request))
    assert got == {"done": 1, "voted_already": 19}
    assert len(kept(world, request.rid).request.votes) == 1


def test_no_use_too_many_under_twenty_at_once(world: World) -> None:
    sid = world.live()
    request = inside(world, sid=sid, uses=3).request
    for who in (DAN, DORA):
        answer(world, who, request)

    def use(n: int) -> None:
        use_approval(world.ports, world.agent, sid, request.rid, ApprovalUse(digest=drop().digest(), key=f"k{n}"))

    assert at_once(20, use) == {"done": 3, "approval_used": 17}
    assert (kept(world, request.rid).request.used, types(world)["request.used"]) == (3, 3)


def test_one_session_for_one_yes(world: World) -> None:
    request = access(world).request
    answer(world, DAN, request)
    asked = SessionOpen(target="db-1", approval=request.rid)
    got = at_once(8, lambda n: open_session(world.ports, ALICE, asked, ""))
    assert got == {"done": 1, "approval_used": 7}
    assert len(kept(world, request.rid).request.sessions) == types(world)["session.opened"] == 1
