"""Who counts, when it is enough, and what a yes is good for."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.approval import ApprovalRequest, RequestState, Vote, access_digest
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Approval
from chalicelib.domain import approvals
from chalicelib.domain.approvals import Case, Human

NOW = 1_790_000_000_000
ALICE = Human(principal="alice", email="alice@example.com")
BOB = Human(principal="bob", email="bob@example.com")
CAROL = Human(principal="carol")
DBA = Approval("dba", 1, 600)


def case(*asks: Approval, **changed: object) -> Case:
    fields: dict[str, object] = {
        "rid": "req_x",
        "kind": "access",
        "state": RequestState.PENDING,
        "principal": "alice",
        "target": "db",
        "protocol": "ssh",
        "agent": "edge",
        "digest": access_digest("db", ""),
        "rules": ["ask"],
        "asks": list(asks) or [DBA],
        "policy_version": 1,
        "asked_ms": NOW,
        "deadline_ms": NOW + 600_000,
    }
    return Case(request=ApprovalRequest(**(fields | changed)), asker=ALICE)  # type: ignore[arg-type]


def vote(voter: Human, *groups: str, approve: bool = True, at: int = NOW + 1) -> Vote:
    return Vote(voter=voter.principal, approve=approve, groups=list(groups), time_ms=at, comment="because")


def code(call: Callable[[], object]) -> str:
    with pytest.raises(Fault) as caught:
        call()
    return caught.value.code


def test_one_yes_grants_it_until_an_absolute_end() -> None:
    after = approvals.voted(case(), BOB, vote(BOB, "dba")).request
    assert (after.state, after.version, after.decided_ms, after.until_ms) == ("approved", 2, NOW + 1, NOW + 600_001)
    assert [each.voter for each in after.votes] == ["bob"]


def test_a_time_boxed_grant_lasts_from_the_yes() -> None:
    after = approvals.voted(case(for_s=3600, uses=0), BOB, vote(BOB, "dba")).request
    assert after.until_ms == NOW + 1 + 3_600_000


def test_the_first_no_ends_it() -> None:
    two = case(Approval("dba", 2))
    half = approvals.voted(two, BOB, vote(BOB, "dba"))
    assert half.request.state is RequestState.PENDING
    after = approvals.voted(half, CAROL, vote(CAROL, "dba", approve=False))
    assert (after.request.state, after.request.answer) == ("denied", "because")
    assert code(lambda: approvals.voted(after, Human(principal="dan"), vote(BOB, "dba"))) == "approval_over"


@pytest.mark.parametrize(
    "who",
    [
        ALICE,
        Human(principal="Alice"),
        Human(principal="alice-admin", email="alice@example.com"),
        Human(principal="alice@example.com"),
        Human(principal="ALICE@example.com"),
    ],
)
def test_nobody_answers_their_own_request_with_any_account(who: Human) -> None:
    assert code(lambda: approvals.voted(case(), who, vote(who, "dba"))) == "own_request"


def test_the_twin_somebody_with_a_similar_name_may() -> None:
    for who in (Human(principal="alice2", email="alice2@example.com"), Human(principal="alic"), Human(principal="x", email="")):
        assert approvals.voted(case(), who, vote(who, "dba")).request.state is RequestState.APPROVED


def test_one_person_votes_once_whatever_the_account_or_the_group() -> None:
    half = approvals.voted(case(Approval("dba", 2)), BOB, vote(BOB, "dba"))
    for who in (BOB, Human(principal="bob-2", email="bob@example.com"), Human(principal="bob@example.com")):
        for answer in (True, False):
            assert code(lambda who=who, answer=answer: approvals.voted(half, who, vote(who, "dba", approve=answer))) == (  # type: ignore[misc]
                "voted_already"
            )


def test_a_stranger_to_the_groups_does_not_count_for_either_answer() -> None:
    for answer in (True, False):
        assert code(lambda answer=answer: approvals.voted(case(), BOB, vote(BOB, approve=answer))) == "denied"  # type: ignore[misc]


def test_a_late_answer_is_none() -> None:
    assert code(lambda: approvals.voted(case(), BOB, vote(BOB, "dba", at=NOW + 600_000))) == "approval_expired"
    assert approvals.voted(case(), BOB, vote(BOB, "dba", at=NOW + 599_999)).request.state is RequestState.APPROVED


@pytest.mark.parametrize("state", [each for each in RequestState if each is not RequestState.PENDING])
def test_what_is_decided_takes_no_vote(state: RequestState) -> None:
    assert code(lambda: approvals.voted(case(state=state), BOB, vote(BOB, "dba"))).startswith("approval_")


def test_a_dba_and_a_lead_are_two_people() -> None:
    both = case(DBA, Approval("leads", 1, 60))
    half = approvals.voted(both, BOB, vote(BOB, "dba", "leads"))
    assert half.request.state is RequestState.PENDING
    assert approvals.missing(half.request.asks, half.request.votes) == ["dba", "leads"]
    # Bob's vote moves to the other place, if that is the one which carol cannot fill.
    for group in ("dba", "leads"):
        after = approvals.voted(half, CAROL, vote(CAROL, group)).request
        assert (after.state, after.until_ms) == ("approved", NOW + 60_001)


def brute_force(asks: list[Approval], votes: list[Vote]) -> bool:
    wanted = approvals.places(asks)
    yes = [each for each in votes if each.approve]
    return any(
        all(group in each.groups for group, each in zip(wanted, chosen, strict=True))
        for chosen in itertools.permutations(yes, len(wanted))
    )


GROUPS = st.sampled_from(["a", "b", "c"])
ASKS = st.lists(st.builds(Approval, GROUPS, st.integers(1, 3)), min_size=1, max_size=2)
VOTES = st.lists(
    st.builds(
        lambda groups, approve: Vote(voter="v", approve=approve, groups=sorted(groups), time_ms=1),
        st.sets(GROUPS, max_size=3),
        st.booleans(),
    ),
    max_size=5,
)


@given(ASKS, VOTES)
def test_enough_is_what_trying_every_seating_says(asks: list[Approval], votes: list[Vote]) -> None:
    assert approvals.met(asks, votes) is brute_force(asks, votes)


@given(ASKS, VOTES)
def test_something_is_missing_until_it_is_enough(asks: list[Approval], votes: list[Vote]) -> None:
    assert bool(approvals.missing(asks, votes)) is not approvals.met(asks, votes)


@given(ASKS, VOTES)
def test_fewer_people_than_asked_are_never_enough(asks: list[Approval], votes: list[Vote]) -> None:
    if sum(each.approve for each in votes) < max(ask.quorum for ask in asks):
        assert not approvals.met(asks, votes)


def approved(**changed: object) -> Case:
    return approvals.voted(case(**changed), BOB, vote(BOB, "dba"))  # type: ignore[arg-type]


def test_uses_are_counted_and_one_too_many_is_refused() -> None:
    first = approvals.used(approved(uses=2), NOW + 2, key="k1")
    assert (first.request.state, first.request.used, first.keys) == ("approved", 1, ["k1"])
    second = approvals.used(first, NOW + 3, key="k2")
    assert (second.request.state, second.request.used, second.request.version) == ("used", 2, 4)
    assert code(lambda: approvals.used(second, NOW + 4, key="k3")) == "approval_used"


def test_a_grant_is_used_any_number_of_times_until_it_ends() -> None:
    grant = approved(for_s=60, uses=0)
    for n in range(5):
        grant = approvals.used(grant, NOW + 2 + n, sid=f"ses_{n}")
    assert (grant.request.state, grant.request.sessions) == ("approved", [f"ses_{n}" for n in range(5)])
    assert code(lambda: approvals.used(grant, NOW + 1 + 60_000, sid="late")) == "approval_expired"


@pytest.mark.parametrize("state", [each for each in RequestState if each is not RequestState.APPROVED])
def test_only_a_yes_can_be_used(state: RequestState) -> None:
    assert code(lambda: approvals.used(case(state=state, until_ms=NOW + 99), NOW)).startswith("approval_")


def test_time_ends_what_waits_and_what_was_granted() -> None:
    pending, grant = case().request, approved().request
    assert [approvals.overdue(pending, NOW + at) for at in (599_999, 600_000)] == [False, True]
    assert [approvals.overdue(grant, NOW + at) for at in (600_000, 600_001)] == [False, True]
    assert not approvals.overdue(msgspec.structs.replace(grant, state=RequestState.USED), NOW * 2)


def test_a_request_waits_as_long_as_its_most_impatient_rule_and_a_day_ahead_of_time() -> None:
    asks = [Approval("a", 1, 900), Approval("b", 1, 60)]
    assert approvals.answer_until_ms(asks, 0, NOW) == NOW + 60_000
    assert approvals.answer_until_ms(asks, 3600, NOW) == NOW + 24 * 3_600_000


def test_no_step_leaves_the_table() -> None:
    assert code(lambda: case(state=RequestState.DENIED).step(RequestState.APPROVED)) == "approval_over"
