"""Requests that end without an answer: withdrawn by whoever asked, or by time."""

from __future__ import annotations

import pytest

from chalicelib.contracts.api import SessionClose
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.end_request import expire_requests, withdraw_operation, withdraw_request
from tests.fakes.approvals import DAN, DORA, access, answer, asking_world, inside, kept
from tests.fakes.world import ALICE, MALLORY, AgentKeys
from tests.unit.chalicelib.usecases.expecting import fault


def test_whoever_asked_withdraws_and_the_group_is_told() -> None:
    world = asking_world()
    request = access(world).request
    assert withdraw_request(world.ports, ALICE, request.rid, "").request.state == "withdrawn"
    assert "request.withdrawn" in world.types()
    assert world.notifier.told() == ["asked > dba", "withdrawn > dba"]
    with fault("approval_over"):
        answer(world, DAN, request)
    with fault("approval_over"):
        withdraw_request(world.ports, ALICE, request.rid, "")
    assert list(world.store.open_cases()) == []


def test_nobody_else_withdraws() -> None:
    world = asking_world()
    request = access(world).request
    with fault("denied"):
        withdraw_request(world.ports, DAN, request.rid, "")
    with fault("unknown_request"):
        withdraw_request(world.ports, MALLORY, request.rid, "")
    assert kept(world, request.rid).request == request


def test_the_agent_withdraws_what_waits_in_its_own_session() -> None:
    world = asking_world()
    sid = world.live()
    request = inside(world, sid=sid).request
    stranger = world.enrol("west", AgentKeys())
    with fault("unknown_session"):
        withdraw_operation(world.ports, stranger, sid, request.rid)
    with fault("unknown_request"):
        withdraw_operation(world.ports, world.agent, world.live(), request.rid)
    assert withdraw_operation(world.ports, world.agent, sid, request.rid).request.state == "withdrawn"


def test_a_yes_is_not_withdrawn() -> None:
    world = asking_world()
    request = access(world).request
    answer(world, DAN, request)
    with fault("approval_over"):
        withdraw_request(world.ports, ALICE, request.rid, "")


@pytest.mark.parametrize(("advance", "count"), [(599, 0), (600, 1)])
def test_what_nobody_answers_expires(advance: int, count: int) -> None:
    world = asking_world()
    request = access(world).request
    world.clock.advance(advance)
    assert expire_requests(world.ports) == count
    assert kept(world, request.rid).request.state == ("expired" if count else "pending")
    assert ("expired > alice@example.com" in world.notifier.told()) is bool(count)
    assert expire_requests(world.ports) == 0


def test_what_nobody_used_expires_and_the_agent_is_told() -> None:
    world = asking_world()
    request = inside(world).request
    for who in (DAN, DORA):
        answer(world, who, request)
    world.clock.advance(901)
    assert expire_requests(world.ports) == 1
    assert world.downlink.last("control-1") == {"t": "decided", "rid": request.rid, "state": "expired", "sid": request.sid}
    event = world.store.recorded[-2]
    assert (event.__struct_config__.tag, getattr(event, "was", "")) == ("request.expired", "approved")


@pytest.mark.parametrize("answered", [False, True])
def test_what_waits_in_a_session_that_is_over_is_left_behind(answered: bool) -> None:
    world = asking_world()
    sid = world.live()
    request, twin = inside(world, sid=sid).request, inside(world).request
    for who in (DAN, DORA) if answered else ():
        answer(world, who, request)
    session = world.store.session(sid)
    assert session is not None
    end = SessionClose(state="ended", chunks=0, chain=session.chain, operations=0, denied=0)
    close_session(world.ports, world.agent, sid, end)
    assert expire_requests(world.ports) == 1
    assert kept(world, request.rid).request.state == "expired"
    assert kept(world, twin.rid).request.state == "pending"
    assert expire_requests(world.ports) == 0
