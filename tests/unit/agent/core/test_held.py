"""What is said while an operation waits: to approvers, what makes it dangerous; to its owner, who is asked."""

from __future__ import annotations

import msgspec
import pytest

from agent.core import held
from chalicelib.contracts.api_requests import RISK_LENGTH, RISKS_LIMIT, RequestStanding
from chalicelib.contracts.operation import ADMIN, EXECUTE, READ, UNKNOWN, WRITE, Operation
from chalicelib.contracts.policy import Approval
from tests.fakes.agent_runtime import make_request

PLAIN = Operation(kind="query", text="SELECT 1", effects=frozenset({READ}))


def standing(*asks: Approval, message: str = "Ask the DBAs.") -> RequestStanding:
    request = make_request(PLAIN, asks=list(asks), message=message, deadline_ms=1_700_000_096_000)
    return RequestStanding(request=request, link="https://gw.example/approvals/req_1")


@pytest.mark.parametrize("effects", [{READ}, {WRITE}, {EXECUTE}, {READ, WRITE}])
def test_what_is_ordinary_is_no_risk(effects: set[str]) -> None:
    assert held.risks(msgspec.structs.replace(PLAIN, effects=frozenset(effects))) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"flags": frozenset({"no_where"})}, "There is no WHERE clause: every row is concerned."),
        ({"flags": frozenset({"recursive_delete"})}, "It deletes a whole directory tree, or may."),
        ({"flags": frozenset({"dynamic"})}, "What it does depends on values that are known only when it runs."),
        ({"flags": frozenset({"opaque"})}, "It runs something that cannot be read in advance."),
        ({"effects": frozenset({UNKNOWN})}, "Its effect could not be told."),
        ({"effects": frozenset({ADMIN})}, "It administers the target."),
    ],
)
def test_each_risk_is_a_sentence(changed: dict[str, frozenset[str]], said: str) -> None:
    assert held.risks(msgspec.structs.replace(PLAIN, **changed)) == [said]


def test_all_risks_together_are_said_and_fit_into_a_request() -> None:
    flags = frozenset({"no_where", "recursive_delete", "dynamic", "opaque", "another"})
    found = held.risks(msgspec.structs.replace(PLAIN, flags=flags, effects=frozenset({UNKNOWN, ADMIN})))
    assert len(found) == len(set(found)) == 6 <= RISKS_LIMIT
    assert all(len(each) <= RISK_LENGTH for each in found)


@pytest.mark.parametrize(
    ("asks", "people"),
    [
        ([Approval("dba")], "dba"),
        ([Approval("dba", quorum=2)], "2 of dba"),
        ([Approval("dba", quorum=2), Approval("leads")], "2 of dba and leads"),
        ([], "others"),
    ],
)
def test_who_waits_is_told_who_is_asked_where_and_until_when(asks: list[Approval], people: str) -> None:
    assert held.waiting(standing(*asks)) == (
        f"Ask the DBAs. Waiting until 22:14:56 UTC for {people} to agree: https://gw.example/approvals/req_1 - Ctrl-C withdraws."
    )


def test_a_rule_without_words_needs_none() -> None:
    assert held.waiting(standing(Approval("dba"), message="")).startswith("Waiting until ")


def test_who_waits_is_told_that_nobody_could_be_asked_yet() -> None:
    assert held.waiting(None) == "The gateway cannot be asked at this moment; it is tried again. Ctrl-C ends that."


def test_the_key_that_withdraws_is_the_one_that_works() -> None:
    assert held.waiting(standing(Approval("dba")), "Ctrl-Q").endswith(" - Ctrl-Q withdraws.")
    assert held.waiting(None, "Ctrl-Q").endswith(" Ctrl-Q ends that.")
