"""Everything that happens to a request is an audit event: each life, from the question to its end, event by event."""

from __future__ import annotations

import typing

from chalicelib.contracts import audit, audit_requests
from chalicelib.contracts.api import SessionOpen
from chalicelib.contracts.api_requests import ApprovalUse, RequestEnd, ReviewGiven
from chalicelib.usecases.end_request import expire_requests, revoke_request, withdraw_request
from chalicelib.usecases.list_requests import view_request
from chalicelib.usecases.open_session import open_session
from chalicelib.usecases.request_events import TEXT_LIMIT
from chalicelib.usecases.review_emergency import review_emergency
from chalicelib.usecases.use_approval import use_approval
from tests.fakes.approvals import DAN, DORA, ONCALL, access, answer, asking_world, drop, inside
from tests.fakes.world import ALICE, World

ASKER = ALICE.sub


def life(world: World, rid: str) -> list[tuple[str, str]]:
    """Return type and actor of every event about the request, in the order in which they were stored."""
    return [
        (str(event.__struct_config__.tag).removeprefix("request."), event.actor)
        for event in world.store.recorded
        if isinstance(event, audit_requests.RequestEvent) and event.rid == rid
    ]


def test_asked_notified_seen_voted_notified_used() -> None:
    world = asking_world()
    sid = world.live()
    request = inside(world, sid=sid).request
    view_request(world.ports, ALICE, request.rid, "")  # its owner looks at it: nothing to tell
    for who in (DAN, DORA, DAN):
        view_request(world.ports, who, request.rid, "")
    for who in (DAN, DORA):
        answer(world, who, request)
    use_approval(world.ports, world.agent, sid, request.rid, ApprovalUse(digest=drop().digest(), key="k"))
    assert life(world, request.rid) == [
        ("asked", ASKER),
        ("notified", "system"),
        ("seen", DAN.sub),
        ("seen", DORA.sub),
        ("voted", DAN.sub),
        ("voted", DORA.sub),
        ("notified", "system"),
        ("used", ASKER),
    ]


def test_asked_notified_voted_no_notified() -> None:
    world = asking_world()
    request = inside(world).request
    answer(world, DAN, request, False, "not during the release")
    assert life(world, request.rid) == [("asked", ASKER), ("notified", "system"), ("voted", DAN.sub), ("notified", "system")]
    voted = next(each for each in world.store.recorded if isinstance(each, audit_requests.RequestVoted))
    assert (voted.approve, voted.comment, voted.state, voted.digest) == (
        False,
        "not during the release",
        "denied",
        request.digest,
    )


def test_asked_notified_withdrawn_notified() -> None:
    world = asking_world()
    request = access(world).request
    withdraw_request(world.ports, ALICE, request.rid, "")
    assert life(world, request.rid) == [("asked", ASKER), ("notified", "system"), ("withdrawn", ASKER), ("notified", "system")]


def test_asked_notified_expired_notified() -> None:
    world = asking_world()
    request = access(world).request
    world.clock.advance(600)
    assert expire_requests(world.ports) == 1
    assert life(world, request.rid) == [("asked", ASKER), ("notified", "system"), ("expired", "system"), ("notified", "system")]
    assert [each.was for each in world.store.recorded if isinstance(each, audit_requests.RequestExpired)] == ["pending"]


def test_a_grant_that_was_used_and_taken_back() -> None:
    world = asking_world()
    request = access(world, for_s=3600).request
    answer(world, DAN, request)
    for _ in range(2):
        open_session(world.ports, ALICE, SessionOpen(target="db-1", approval=request.rid), "")
    revoke_request(world.ports, DAN, request.rid, RequestEnd(comment="enough"), "")
    said = [("asked", ASKER), ("notified", "system"), ("voted", DAN.sub), ("notified", "system")]
    assert life(world, request.rid) == [*said, ("used", ASKER), ("used", ASKER), ("revoked", DAN.sub), ("notified", "system")]
    revoked = next(each for each in world.store.recorded if isinstance(each, audit_requests.RequestRevoked))
    assert (revoked.comment, revoked.used, len(revoked.sessions)) == ("enough", 2, 2)


def test_a_yes_that_nobody_used_in_time() -> None:
    world = asking_world()
    request = access(world).request
    answer(world, DAN, request)
    world.clock.advance(600)
    expire_requests(world.ports)
    assert life(world, request.rid)[-2:] == [("expired", "system"), ("notified", "system")]
    assert [each.was for each in world.store.recorded if isinstance(each, audit_requests.RequestExpired)] == ["approved"]


def test_an_emergency_and_its_review() -> None:
    world = asking_world()
    request = access(world, ONCALL, emergency=True).request
    review_emergency(world.ports, DAN, request.rid, ReviewGiven(justified=False, comment="call first"), "")
    assert life(world, request.rid) == [("asked", ASKER), ("notified", "system"), ("reviewed", DAN.sub)]
    asked = next(each for each in world.store.recorded if isinstance(each, audit_requests.RequestAsked))
    reviewed = next(each for each in world.store.recorded if isinstance(each, audit_requests.RequestReviewed))
    assert (asked.emergency, reviewed.justified, reviewed.comment) == (True, False, "call first")


def test_what_was_asked_is_in_its_event_under_the_digest_of_all_of_it() -> None:
    world = asking_world()
    operation = drop("DROP TABLE " + "x" * 9_000)
    request = inside(world, operation, reason="ticket 7").request
    asked = next(each for each in world.store.recorded if isinstance(each, audit_requests.RequestAsked))
    assert (asked.text, asked.digest, asked.reason) == (operation.text[:TEXT_LIMIT], operation.digest(), "ticket 7")
    assert (asked.groups, asked.rules, asked.rid) == (["dba", "dba"], ["drop-needs-two"], request.rid)


def test_no_kind_of_event_about_requests_is_left_out_above() -> None:
    kinds = {
        str(each.__struct_config__.tag)
        for each in typing.get_args(audit.AnyEvent)
        if issubclass(each, audit_requests.RequestEvent)
    }
    # What follows from a yes about originals: test_originals.py.
    kinds -= {"originals.unmasked", "originals.released", "originals.refused", "originals.erased"}
    told = {"asked", "notified", "seen", "voted", "withdrawn", "expired", "revoked", "used", "reviewed"}
    assert kinds == {f"request.{each}" for each in told}
