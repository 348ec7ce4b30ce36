"""Break-glass: where policy lets somebody go first, with a reason, told at once, and reviewed by somebody else."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.api import SessionOpen
from chalicelib.contracts.api_requests import ReviewGiven
from chalicelib.usecases.end_request import expire_requests
from chalicelib.usecases.list_requests import RequestListing, list_requests
from chalicelib.usecases.open_session import open_session
from chalicelib.usecases.review_emergency import review_emergency
from tests.fakes.approvals import ALICE_ADMIN, DAN, LEA, ONCALL, access, asking_world, inside, kept
from tests.fakes.world import ADMIN, ALICE, World, person
from tests.unit.chalicelib.usecases.expecting import fault

GIVEN = ReviewGiven(justified=True, comment="It was down.")


def emergency(world: World) -> str:
    return access(world, ONCALL, emergency=True).request.rid


def unreviewed(world: World, who=DAN) -> list[str]:  # type: ignore[no-untyped-def]
    return [each.rid for each in list_requests(world.ports, who, RequestListing(view="unreviewed"), "").requests]


def test_whom_policy_lets_go_first_has_a_yes_at_once_and_others_are_told() -> None:
    world = asking_world()
    request = access(world, ONCALL, emergency=True).request
    assert (request.state, request.emergency, request.votes) == ("approved", True, [])
    assert request.until_ms == world.clock.now + 600_000
    assert world.notifier.told() == ["emergency > dba"]
    asked = next(event for event in world.store.recorded if event.__struct_config__.tag == "request.asked")
    assert msgspec.to_builtins(asked)["emergency"] is True
    assert open_session(world.ports, ONCALL, SessionOpen(target="db-1", reason="down"), "").sid


def test_policy_must_allow_it() -> None:
    world = asking_world()
    with fault("denied", "go first"):
        access(world, ALICE, emergency=True)
    assert (world.store.kept_cases, world.notifier.sent) == ({}, [])


@pytest.mark.parametrize("reason", ["", "   ", "\n\t"])
def test_it_needs_a_reason(reason: str) -> None:
    with fault("reason_required"):
        access(asking_world(), ONCALL, emergency=True, reason=reason)


def test_it_lifts_an_approval_and_not_a_plain_no() -> None:
    world = asking_world()
    with fault("denied"):
        access(world, ONCALL, emergency=True, target="web-1", login="root")


def test_an_operation_inside_a_session_may_be_one_too() -> None:
    world = asking_world()
    sid = world.live(ONCALL)
    found = inside(world, sid=sid, emergency=True)
    assert (found.request.state, bool(found.approval)) == ("approved", True)
    with fault("denied"):
        inside(world, sid=world.live(ALICE), emergency=True)


def test_it_is_a_report_until_somebody_else_has_looked() -> None:
    world = asking_world()
    rid = emergency(world)
    world.clock.advance(601)
    assert expire_requests(world.ports) == 1
    assert unreviewed(world) == unreviewed(world, ADMIN) == [rid]
    assert expire_requests(world.ports) == 0
    again = msgspec.structs.replace(DAN, iat=world.clock.now // 1000)
    review = review_emergency(world.ports, again, rid, GIVEN, "").request.review
    assert review is not None
    assert (review.reviewer, review.justified, review.comment) == ("dan@example.com", True, "It was down.")
    assert unreviewed(world) == []
    assert world.types()[-1] == "request.reviewed"
    with fault("approval_over", "dan@example.com"):
        review_emergency(world.ports, again, rid, GIVEN, "")


def test_whoever_went_first_does_not_review_it_with_any_account() -> None:
    world = asking_world()
    rid = emergency(world)
    dba_too = msgspec.structs.replace(person(ONCALL.sub, "sre", "on-call", "dba"), email="alice@example.com")
    world.login(dba_too)
    for who in (ALICE_ADMIN, dba_too):
        with fault("own_request"):
            review_emergency(world.ports, who, rid, GIVEN, "")
    with fault("denied"):
        review_emergency(world.ports, LEA, rid, GIVEN, "")
    assert kept(world, rid).request.review is None


def test_only_an_emergency_is_reviewed() -> None:
    world = asking_world()
    with fault("bad_request"):
        review_emergency(world.ports, DAN, access(world).request.rid, GIVEN, "")
    with fault("too_large"):
        review_emergency(world.ports, DAN, emergency(world), ReviewGiven(justified=True, comment="x" * 2001), "")
