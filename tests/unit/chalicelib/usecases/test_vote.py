"""Answering: by policy, by groups as they are now, by humans and not by accounts, and only to what was shown."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts import capability
from chalicelib.contracts.api import ConfigFiles
from chalicelib.contracts.api_requests import Ballot
from chalicelib.contracts.capability import APPROVAL_TYP, ApprovalClaims
from chalicelib.usecases.apply_config import apply_config
from chalicelib.usecases.end_request import of_session
from chalicelib.usecases.request_approval import standing
from chalicelib.usecases.vote import vote
from tests.fakes.approvals import (
    ALICE_ADMIN,
    ASK_FIRST,
    BOTH,
    DAN,
    DORA,
    LEA,
    access,
    answer,
    asking_world,
    drop,
    inside,
    kept,
)
from tests.fakes.world import ADMIN, ALICE, FILES, MALLORY, person
from tests.unit.chalicelib.usecases.expecting import fault


def test_two_dbas_say_yes_and_the_agent_hears_of_it_with_a_capability() -> None:
    world = asking_world()
    sid = world.live()
    request = inside(world, sid=sid).request
    assert answer(world, DAN, request, comment="Fine.").state == "pending"
    assert world.downlink.sent["control-1"] == [] or world.downlink.last("control-1")["t"] != "decided"
    after = answer(world, DORA, request)
    assert (after.state, [each.voter for each in after.votes]) == ("approved", ["dan@example.com", "dora@example.com"])
    told = world.downlink.last("control-1")
    assert {name: told[name] for name in ("t", "rid", "state", "sid")} == {
        "t": "decided",
        "rid": request.rid,
        "state": "approved",
        "sid": sid,
    }
    claims = msgspec.convert(world.signer.verify_token(APPROVAL_TYP, told["approval"]), ApprovalClaims)
    assert (claims.digest, claims.sub, claims.target, claims.uses) == (drop().digest(), ALICE.sub, "web-1", 1)
    assert (claims.aud, claims.exp) == (world.agent.agent_id, after.until_ms // 1000)
    assert claims.approvers == ["dan@example.com", "dora@example.com"]
    for typ in (capability.TICKET_TYP, capability.ACCESS_TYP):
        with pytest.raises(ValueError):
            world.signer.verify_token(typ, told["approval"])
    assert world.notifier.told()[-1] == "approved > alice@example.com"


def test_every_vote_is_an_event() -> None:
    world = asking_world()
    request = inside(world).request
    answer(world, DAN, request, comment="Fine.")
    answer(world, DORA, request, approve=False, comment="No: <b>not</b> today.")
    votes = [msgspec.to_builtins(event) for event in world.store.recorded if event.__struct_config__.tag == "request.voted"]
    assert [(each["actor"], each["approve"], each["state"]) for each in votes] == [
        ("dan@example.com", True, "pending"),
        ("dora@example.com", False, "denied"),
    ]
    assert {each["digest"] for each in votes} == {request.digest}
    assert kept(world, request.rid).request.answer == "No: <b>not</b> today."


def test_an_agent_that_was_away_finds_the_yes_when_it_is_back() -> None:
    world = asking_world()
    sid = world.live()
    request = inside(world, sid=sid).request
    world.downlink.gone.add("control-1")
    for who in (DAN, DORA):
        answer(world, who, request)
    assert world.agent.connection == ""
    world.connect_agent("control-2")
    found = standing(world.ports, of_session(world.ports, world.agent, sid, request.rid), world.agent)
    assert (found.request.state, bool(found.approval), found.missing) == ("approved", True, [])
    # To anybody else the same request carries no capability.
    assert standing(world.ports, kept(world, request.rid)).approval == ""


def test_a_waiting_command_line_is_told() -> None:
    world = asking_world()
    request = access(world).request
    from chalicelib.ports import Connection

    for name in ("here", "gone"):
        world.store.connection_opened(Connection(connection=name, side="waiting", owner=request.rid, since_ms=world.clock.now))
    world.downlink.gone.add("gone")
    answer(world, DAN, request)
    assert world.downlink.last("here") == {"t": "decided", "rid": request.rid, "state": "approved"}
    assert world.store.waiting(request.rid) == ["here"]


@pytest.mark.parametrize("approve", [True, False])
def test_nobody_answers_their_own_request(approve: bool) -> None:
    world = asking_world()
    request = access(world).request
    with fault("own_request"):
        answer(world, ALICE_ADMIN, request, approve)
    # Not as an administrator, and not as a member of the group that is asked.
    for groups in (("platform",), ("dba",), ("dba", "platform", "sre")):
        alice = msgspec.structs.replace(person(ALICE.sub, *groups), email="alice@example.com")
        world.login(alice)
        with fault("denied" if groups == ("platform",) else "own_request"):
            answer(world, alice, request, approve)
    assert kept(world, request.rid).request == request


def test_an_administrator_is_no_approver() -> None:
    world = asking_world()
    world.login(ADMIN)
    with fault("denied"):
        answer(world, ADMIN, access(world).request)


def test_whoever_may_not_approve_does_not_learn_that_it_exists() -> None:
    world = asking_world()
    world.login(MALLORY)
    with fault("unknown_request"):
        answer(world, MALLORY, access(world).request)


def test_the_policy_alone_is_not_enough_and_the_group_alone_is_not_either() -> None:
    world = asking_world()
    request = access(world).request
    with fault("denied", "dba"):
        answer(world, LEA, request)
    files = FILES | {"ask.cedar": ASK_FIRST.replace('principal in Group::"dba" || ', "")}
    apply_config(world.ports, ADMIN, ConfigFiles(files=files))
    with fault("unknown_request"):
        answer(world, DAN, request)


def test_a_group_that_is_gone_by_the_newest_login_does_not_count() -> None:
    world = asking_world()
    request = access(world).request
    world.login(person(DAN.sub, "sre"))
    # The old token still says dba.
    with fault("denied"):
        answer(world, DAN, request)
    # A group that only the newest login has needs a token that has it, too.
    world.login(person("newcomer@example.com", "dba"))
    with fault("unknown_request"):
        answer(world, person("newcomer@example.com", "sre"), request)


def test_an_old_login_does_not_answer() -> None:
    world = asking_world()
    request = access(world, for_s=600).request
    world.clock.advance(3_590)
    assert world.ports.settings.vote_login_s == 3_600
    world.clock.advance(11)
    with fault("login_stale", "sallyport login"):
        answer(world, DAN, request)
    again = msgspec.structs.replace(DAN, iat=world.clock.now // 1000, exp=world.clock.now // 1000 + 60)
    assert answer(world, again, request).state == "approved"


def test_somebody_whose_login_was_never_seen_does_not_answer() -> None:
    world = asking_world()
    with fault("login_stale"):
        answer(world, person("ghost@example.com", "dba"), access(world).request)


def test_one_vote_per_human() -> None:
    world = asking_world()
    request = inside(world).request
    answer(world, DAN, request)
    twin = msgspec.structs.replace(person("dan-2", "dba"), email="dan@example.com")
    world.login(twin)
    for who in (DAN, twin):
        for approve in (True, False):
            with fault("voted_already"):
                answer(world, who, request, approve)
    assert len(kept(world, request.rid).request.votes) == 1


def test_a_dba_who_is_a_lead_is_one_of_two_people() -> None:
    world = asking_world()
    request = inside(world, drop("TRUNCATE t", "TRUNCATE")).request
    assert answer(world, BOTH, request).state == "pending"
    assert answer(world, LEA, request).state == "approved"


def test_an_answer_is_to_what_was_shown() -> None:
    world = asking_world()
    request = access(world).request
    for digest in ("", "0" * 64, access(world, reason="another").request.digest[:-1] + "x"):
        with fault("approval_mismatch"):
            vote(world.ports, DAN, request.rid, Ballot(approve=True, digest=digest), "")


@pytest.mark.parametrize("rid", ["", "req_x", "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR", "req_01JD8QZ6T3N0V9C4K2M7X5B1HR", "x" * 5000])
def test_a_name_that_is_none_is_unknown(rid: str) -> None:
    with fault("unknown_request"):
        vote(asking_world().ports, DAN, rid, Ballot(approve=True, digest=""), "")


def test_after_the_deadline_nobody_answers_even_before_the_reaper_came() -> None:
    world = asking_world()
    request = access(world).request
    world.clock.advance(600)
    with fault("approval_expired"):
        answer(world, DAN, request)


def test_a_long_comment_is_refused() -> None:
    world = asking_world()
    with fault("too_large"):
        answer(world, DAN, access(world).request, comment="x" * 2001)
