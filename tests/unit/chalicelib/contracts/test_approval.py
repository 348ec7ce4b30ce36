"""Requests: which step may follow which, and what a yes is bound to."""

from __future__ import annotations

import pytest

from chalicelib.contracts.approval import (
    NEXT,
    OVER,
    ApprovalRequest,
    RequestState,
    Review,
    access_digest,
    decide_approved,
    may_follow,
    meets,
)
from chalicelib.contracts.gateway import Login, Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Approval, Document, Moment, Policy, Principal, Rule

PENDING = RequestState.PENDING
APPROVED = RequestState.APPROVED


def request(state: RequestState, **changed: object) -> ApprovalRequest:
    fields: dict[str, object] = {
        "rid": "req_x",
        "kind": "access",
        "state": state,
        "principal": "alice",
        "target": "db",
        "protocol": "ssh",
        "agent": "edge",
        "digest": access_digest("db", ""),
        "rules": ["ask"],
        "asks": [Approval("dba"), Approval("leads", 2)],
        "policy_version": 1,
        "asked_ms": 1,
        "deadline_ms": 2,
    }
    return ApprovalRequest(**(fields | changed))  # type: ignore[arg-type]


def test_the_table_speaks_of_every_state() -> None:
    assert set(NEXT) == set(RequestState)
    assert {state for state in RequestState if state not in OVER} == {PENDING, APPROVED}


def test_only_what_waits_is_approved_and_nothing_that_is_over_changes() -> None:
    assert [state for state in RequestState if may_follow(state, APPROVED)] == [PENDING]
    for state in OVER:
        assert not any(may_follow(state, then) for then in RequestState)


def test_only_a_yes_can_be_used_or_taken_back() -> None:
    for then in (RequestState.USED, RequestState.REVOKED):
        assert [state for state in RequestState if may_follow(state, then)] == [APPROVED]


def test_an_emergency_stays_open_until_somebody_reviewed_it() -> None:
    assert request(PENDING).open
    assert request(APPROVED).open
    assert not request(RequestState.USED).open
    emergency = request(RequestState.USED, emergency=True)
    assert emergency.open
    assert emergency.unreviewed
    reviewed = request(RequestState.USED, emergency=True, review=Review(reviewer="bob", justified=True, time_ms=3))
    assert not reviewed.open


def test_a_yes_lifts_the_groups_that_were_asked() -> None:
    assert request(APPROVED).lifts == {"dba", "leads"}


def test_access_to_one_thing_is_not_access_to_another() -> None:
    digests = {access_digest(target, login) for target in ("db", "db-2", "") for login in ("", "root", "db")}
    assert len(digests) == 9
    assert access_digest("a", "bc") != access_digest("ab", "c")


@pytest.mark.parametrize(
    ("granted", "asked", "met"),
    [
        ([Approval("dba", 2)], [Approval("dba", 2)], True),
        ([Approval("dba", 2)], [Approval("dba", 1), Approval("dba", 2)], True),
        ([Approval("dba", 1), Approval("dba", 3)], [Approval("dba", 2)], True),
        ([Approval("dba", 1)], [Approval("dba", 2)], False),
        ([Approval("dba", 9)], [Approval("leads", 1)], False),
        ([], [Approval("dba", 1)], False),
        ([], [], True),
    ],
)
def test_a_yes_meets_what_is_asked_now_or_it_does_not(granted: list[Approval], asked: list[Approval], met: bool) -> None:
    assert meets(granted, asked) is met


WEB = Target(name="web", protocol="ssh", agent="e", address="h:1", logins={"d": Login(credential="c")}, default_login="d")
ALLOW_ALL = 'permit(principal, action == Action::"run", resource);'
ASK = (
    '@approval("group:{group}{quorum}") forbid(principal, action == Action::"run", resource) '
    'unless {{ context.approvals.contains("{lifted}") }};'
)


@pytest.mark.parametrize(
    ("rules", "granted", "decision"),
    [
        ([ALLOW_ALL, ASK.format(group="dba", quorum="", lifted="dba")], [Approval("dba")], "allow"),
        ([ALLOW_ALL, ASK.format(group="dba", quorum=" quorum:2", lifted="dba")], [Approval("dba")], "deny"),
        ([ALLOW_ALL, ASK.format(group="dba", quorum=" quorum:2", lifted="dba")], [Approval("dba", 3)], "allow"),
        # A rule that names one group and is lifted by another cannot be lifted at all.
        ([ALLOW_ALL, ASK.format(group="leads", quorum="", lifted="dba")], [Approval("dba")], "deny"),
        ([ALLOW_ALL, ASK.format(group="leads", quorum="", lifted="dba")], [Approval("dba"), Approval("leads")], "deny"),
        ([ALLOW_ALL], [Approval("dba")], "allow"),
        ([], [Approval("dba")], "deny"),
        ([ALLOW_ALL, ASK.format(group="dba", quorum="", lifted="dba")], [], "deny"),
    ],
)
def test_a_yes_lifts_what_it_was_asked_for_and_nothing_else(rules: list[str], granted: list[Approval], decision: str) -> None:
    listed = [Rule(f"r{n}", "p.cedar", n, text) for n, text in enumerate(rules)]
    policy = Policy(Document(version=1, rules=listed, targets=[WEB]))
    operation = Operation(kind="exec", text="ls", effects=frozenset({"read"}))
    verdict = decide_approved(policy, Principal(name="alice"), WEB, operation, Moment(now_ms=1), granted)
    assert verdict.decision == decision
