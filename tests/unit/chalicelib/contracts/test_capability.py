from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts import capability
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Approval

NOW_S = 1_795_212_303
NOW_MS = NOW_S * 1000
ACCESS = capability.AccessClaims(iss="https://g", sub="alice", jti="j", iat=NOW_S, exp=NOW_S + 10, groups=["sre"])
TICKET = capability.TicketClaims(
    iss="https://g",
    aud="agt_a",
    sid="ses_x",
    sub="alice",
    target="t",
    login="d",
    policy_version=1,
    recording="r",
    iat=NOW_S,
    exp=NOW_S + 60,
    deadline_ms=NOW_MS + 100_000,
)
PROOF = capability.ProofClaims(sub="agt_a", aud=capability.CONTROL_AUDIENCE, iat=NOW_S, jti="j", htm="POST", htp="/x", bsh="00")
REQUEST = {"agent_id": "agt_a", "method": "POST", "path": "/x", "body_sha256": "00", "now_ms": NOW_MS}


def code_of(call: object) -> str:
    with pytest.raises(Fault) as caught:
        call()  # type: ignore[operator]
    return caught.value.code


def test_good_ones_pass() -> None:
    capability.check_access(ACCESS, "https://g", NOW_MS)
    capability.check_ticket(TICKET, "agt_a", NOW_MS)
    capability.check_proof(PROOF, **REQUEST)  # type: ignore[arg-type]


def test_an_access_token_of_another_gateway() -> None:
    assert code_of(lambda: capability.check_access(ACCESS, "https://other", NOW_MS)) == "token_invalid"


def test_times() -> None:
    assert code_of(lambda: capability.check_access(ACCESS, "https://g", NOW_MS + 10_000)) == "token_expired"
    assert code_of(lambda: capability.check_access(ACCESS, "https://g", NOW_MS - 31_000)) == "token_invalid"
    capability.check_access(ACCESS, "https://g", NOW_MS - 29_000)


def test_tickets() -> None:
    assert code_of(lambda: capability.check_ticket(TICKET, "agt_b", NOW_MS)) == "ticket_mismatch"
    assert code_of(lambda: capability.check_ticket(TICKET, "agt_a", NOW_MS + 60_000)) == "ticket_expired"
    over = msgspec.structs.replace(TICKET, deadline_ms=NOW_MS)
    assert code_of(lambda: capability.check_ticket(over, "agt_a", NOW_MS)) == "session_ended"


@pytest.mark.parametrize(
    "change", [{"agent_id": "agt_b"}, {"method": "GET"}, {"path": "/y"}, {"body_sha256": "01"}, {"now_ms": NOW_MS + 61_000}]
)
def test_a_proof_is_for_one_request(change: dict[str, object]) -> None:
    request = REQUEST | change
    assert code_of(lambda: capability.check_proof(PROOF, **request)) == "agent_proof_invalid"  # type: ignore[arg-type]


APPROVAL = capability.ApprovalClaims(
    iss="https://g",
    aud="agt_a",
    rid="req_x",
    sid="ses_x",
    sub="alice",
    target="t",
    login="d",
    digest="ab" * 32,
    asks=[Approval("dba")],
    uses=1,
    policy_version=1,
    iat=NOW_S,
    exp=NOW_S + 60,
)


def test_a_good_approval_passes() -> None:
    capability.check_approval(APPROVAL, agent_id="agt_a", ticket=TICKET, digest="ab" * 32, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"iss": "https://other"}, "approval_mismatch"),
        ({"aud": "agt_b"}, "approval_mismatch"),
        ({"sid": "ses_y"}, "approval_mismatch"),
        ({"sub": "mallory"}, "approval_mismatch"),
        ({"target": "u"}, "approval_mismatch"),
        ({"login": "root"}, "approval_mismatch"),
        ({"digest": "ac" * 32}, "approval_mismatch"),
        ({"iat": NOW_S + 31}, "approval_mismatch"),
        ({"exp": NOW_S}, "approval_expired"),
    ],
)
def test_an_approval_of_anything_else_is_refused(changed: dict[str, object], code: str) -> None:
    claims = msgspec.structs.replace(APPROVAL, **changed)
    check = lambda: capability.check_approval(claims, agent_id="agt_a", ticket=TICKET, digest="ab" * 32, now_ms=NOW_MS)  # noqa: E731
    assert code_of(check) == code


WATCH = capability.WatchClaims(
    iss="https://g", aud="agt_a", wid="wat_x", sid="ses_x", sub="bob", iat=NOW_S, exp=NOW_S + 60, deadline_ms=NOW_MS + 100_000
)


def test_a_watch_begins_within_a_minute_and_goes_on_to_its_end() -> None:
    capability.check_watch(WATCH, "agt_a", NOW_MS)
    assert code_of(lambda: capability.check_watch(WATCH, "agt_a", NOW_MS + 60_000)) == "ticket_expired"
    assert code_of(lambda: capability.check_watch(WATCH, "agt_a", NOW_MS - 31_000)) == "ticket_invalid"
    capability.check_watch(WATCH, "agt_a", NOW_MS + 60_000, begun=True)
    assert code_of(lambda: capability.check_watch(WATCH, "agt_a", NOW_MS + 100_000, begun=True)) == "session_ended"
    assert code_of(lambda: capability.check_watch(WATCH, "agt_b", NOW_MS)) == "ticket_mismatch"
