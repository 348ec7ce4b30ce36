"""The requests of a control plane, small enough to read: one that waits, and what becomes of it."""

from __future__ import annotations

import msgspec

from chalicelib.contracts.api_requests import AccessAsk, Ballot, RequestEnd, RequestPage, RequestStanding, ReviewGiven
from chalicelib.contracts.approval import ApprovalRequest, RequestState, Review, Vote
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import WRITE, Operation
from chalicelib.contracts.policy import Approval
from tests.fakes.http_control_plane import PRINCIPAL, FakeControlPlane, Reply, Request, failure
from tests.unit.cli.conftest import NOW_MS

RID = "req_01JD8QZ6T3N0V9C4K2M7X5B1HR"
AWAY = Reply(503, b"")
DELETE = Operation(
    kind="query",
    text="DELETE FROM orders\nWHERE id = $1 -- \x1b[2J\u202e",
    effects=frozenset({WRITE}),
    arguments=("4711", "\x07bell"),
    environment=(("PGOPTIONS", "-c x=\x1by"),),
)


def request(**changed: object) -> ApprovalRequest:
    """Return a request of somebody else's that waits."""
    facts: dict[str, object] = {
        "rid": RID,
        "kind": "access",
        "state": RequestState.PENDING,
        "principal": PRINCIPAL,
        "groups": ["sre"],
        "target": "prod-db",
        "protocol": "postgres",
        "agent": "edge-1",
        "login": "app",
        "digest": "ab" * 32,
        "reason": "INC-4711",
        "rules": ["ask-a-dba"],
        "asks": [Approval("dba")],
        "message": "A DBA has to agree.",
        "policy_version": 1,
        "asked_ms": NOW_MS,
        "deadline_ms": NOW_MS + 900_000,
    }
    return ApprovalRequest(**(facts | changed))  # type: ignore[arg-type]


class Asking:
    """Answers about one request on ``plane``, in front of everything else that it answers."""

    def __init__(self, plane: FakeControlPlane) -> None:
        self.request = request()
        self.missing: list[str] = []
        self.asked: list[AccessAsk] = []
        self.ballots: list[Ballot] = []
        self.away = 0
        """Answers that are lost from now on."""
        self.comes: list[ApprovalRequest] = []
        """What it is at each further look."""
        self.withdrawn = 0
        self.revoked: list[str] = []
        self._plane, self._rest = plane, plane.answer
        plane.answer = self._answer  # type: ignore[method-assign]

    def _answer(self, asked: Request) -> Reply:
        path = asked.path.split("?")[0]
        if not path.startswith("/requests"):
            return self._rest(asked)
        if (asked.method, path) == ("POST", "/requests"):
            self.asked.append(msgspec.json.decode(asked.body, type=AccessAsk))
        if self.away:
            self.away -= 1
            return AWAY
        try:
            return self._of(asked, path)
        except Fault as fault:
            return failure(fault.code, fault.message, fault.hint)

    def _of(self, asked: Request, path: str) -> Reply:
        match asked.method, path.removeprefix("/requests").removeprefix(f"/{RID}"):
            case "GET", "" if path == "/requests":
                return Reply(200, msgspec.json.encode(RequestPage(requests=[self.request])))
            case "GET", "":
                if self.comes:
                    self.request = self.comes.pop(0)
            case "POST", "/votes":
                self._vote(msgspec.json.decode(asked.body, type=Ballot))
            case "POST", "/withdraw":
                self.withdrawn += 1
                self.becomes(RequestState.WITHDRAWN)
            case "POST", "/revoke":
                self.revoked.append(msgspec.json.decode(asked.body, type=RequestEnd).comment)
                self.becomes(RequestState.REVOKED)
            case "POST", "/review":
                self._review(msgspec.json.decode(asked.body, type=ReviewGiven))
            case "POST", "":
                pass
            case _:
                raise Fault("unknown_request", "There is no such request.")
        standing = RequestStanding(request=self.request, link=f"https://gw.example/approvals/{RID}", missing=self.missing)
        return Reply(200, msgspec.json.encode(standing))

    def _vote(self, ballot: Ballot) -> None:
        self.ballots.append(ballot)
        if ballot.digest != self.request.digest:
            raise Fault("approval_mismatch", "The answer is to something else.")
        vote = Vote(voter="bob@example.com", approve=ballot.approve, groups=["dba"], time_ms=NOW_MS, comment=ballot.comment)
        state = RequestState.APPROVED if ballot.approve else RequestState.DENIED
        self.becomes(RequestState.PENDING if self.missing else state, votes=[vote], answer=ballot.comment)

    def _review(self, given: ReviewGiven) -> None:
        if not self.request.emergency:
            raise Fault("bad_request", "Only an emergency is reviewed.")
        review = Review(reviewer="bob@example.com", justified=given.justified, time_ms=NOW_MS, comment=given.comment)
        self.becomes(self.request.state, review=review)

    def becomes(self, state: RequestState, **changed: object) -> None:
        """Step the request."""
        self.request = msgspec.structs.replace(self.request, state=state, **changed)
