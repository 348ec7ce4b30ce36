"""What people see: an inbox of what their own answer would bring further, their own, and a history of what they may see."""

from __future__ import annotations

import pytest

from chalicelib.usecases.list_requests import RequestListing, list_requests, view_request
from chalicelib.usecases.listing import asked_day
from tests.fakes.approvals import ALICE_ADMIN, BOTH, DAN, DORA, LEA, access, answer, asking_world, drop, inside
from tests.fakes.world import ADMIN, ALICE, CAROL, MALLORY, World
from tests.unit.chalicelib.usecases.expecting import fault


def listed(world: World, who, view: str = "inbox", **more: object) -> list[str]:  # type: ignore[no-untyped-def]
    asked = RequestListing(view=view, **more)  # type: ignore[arg-type]
    return [each.rid for each in list_requests(world.ports, who, asked, "").requests]


def test_an_inbox_holds_what_ones_own_answer_would_bring_further() -> None:
    world = asking_world()
    request = inside(world, drop("TRUNCATE t", "TRUNCATE")).request
    for who in (DAN, DORA, LEA, BOTH):
        assert listed(world, who) == [request.rid]
    for who in (ALICE, ALICE_ADMIN, MALLORY, CAROL, ADMIN):
        assert listed(world, who) == []
    answer(world, DAN, request)
    # The place of the DBAs is taken; only a lead is missing, and nobody is asked twice.
    assert (listed(world, DAN), listed(world, DORA), listed(world, LEA), listed(world, BOTH)) == (
        [],
        [],
        [request.rid],
        [request.rid],
    )
    answer(world, LEA, request)
    assert listed(world, BOTH) == []


def test_an_inbox_forgets_what_is_too_late() -> None:
    world = asking_world()
    access(world)
    world.clock.advance(600)
    assert listed(world, DAN) == []


def test_ones_own_are_listed_newest_first_while_they_are_open() -> None:
    world = asking_world()
    made = [access(world, reason=f"{n}").request for n in range(3) if not world.clock.advance(1)]
    answer(world, DAN, made[0], approve=False)
    assert listed(world, ALICE, "mine") == [made[2].rid, made[1].rid]
    assert listed(world, ALICE, "mine", limit=1) == [made[2].rid]
    assert listed(world, DAN, "mine") == []


def test_what_is_over_by_time_alone_is_said_to_be_before_a_row_says_so() -> None:
    world = asking_world()
    request, day = access(world).request, asked_day(world.clock, "")
    assert listed(world, ALICE, "history", state="pending") == [request.rid]
    answer(world, DAN, request)
    assert listed(world, ALICE, "history", state="approved") == [request.rid]
    for later in (False, True):
        if later:
            world.clock.advance(90_000)
        state = "expired" if later else "approved"
        asked = RequestListing(view="history", day=day)
        (seen,) = list_requests(world.ports, ALICE, asked, "").requests
        assert seen.state == state
        assert view_request(world.ports, ALICE, request.rid, "").request.state == state
        for each in ("approved", "expired"):
            found = listed(world, ALICE, "history", day=day, state=each)
            assert found == ([request.rid] if each == state else [])
        assert listed(world, ALICE, "mine") == ([] if later else [request.rid])


def test_history_is_everything_of_a_day_that_one_may_see() -> None:
    world = asking_world()
    request = access(world).request
    answer(world, DAN, request, approve=False)
    for who in (ALICE, DAN, DORA, ADMIN):
        assert listed(world, who, "history") == [request.rid]
        assert listed(world, who, "history", state="denied", target="db-1") == [request.rid]
        assert listed(world, who, "history", state="approved") == []
        assert listed(world, who, "history", day="2026-09-20") == []
    for who in (MALLORY, CAROL):
        assert listed(world, who, "history") == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"day": "yesterday"}, "bad_request"),
        ({"day": "2026-9-1"}, "bad_request"),
        ({"cursor": "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"}, "bad_request"),
        ({"target": "x" * 300}, "too_large"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str], code: str) -> None:
    with fault(code):
        listed(asking_world(), ALICE, "history", **query)


def test_looking_is_an_event_once_and_only_for_others() -> None:
    world = asking_world()
    rid = access(world).request.rid
    view_request(world.ports, ALICE, rid, "")
    assert "request.seen" not in world.types()
    for who in (DAN, DAN, DORA):
        assert view_request(world.ports, who, rid, "").missing == ["dba"]
    assert world.types().count("request.seen") == 2
    with fault("unknown_request"):
        view_request(world.ports, MALLORY, rid, "")
    assert world.types().count("request.seen") == 2
