"""An approval request: one thing that policy holds, who was asked about it, and what became of it.

    pending ──► approved ──► used         every use that was granted has been made
        │           ├──────► expired      nobody used the rest in time
        │           └──────► revoked      taken back by an approver or by its owner; sessions under it end
        ├─────► denied                    the first no ends it
        ├─────► withdrawn                 whoever asked does not want it any more
        └─────► expired                   nobody answered in time

The table below is the only place that says which step may follow which. A yes covers one thing: the principal, the target, the
SHA-256 of the exact canonical operation (or of the access), an absolute end and a number of uses. What a policy rule asks for
comes from the control plane's own evaluation and never from whoever asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, Literal

import msgspec

from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import DENY, HOLD, Approval, Moment, Policy, Principal, Verdict

#: An operation whose canonical form is longer cannot wait for an approval: nobody could read what they approve.
OPERATION_LIMIT: Final = 64 * 1024
#: The longest time-boxed grant, in seconds, and the most uses that one yes may have.
GRANT_LIMIT_S: Final = 24 * 3600
USES_LIMIT: Final = 100
COMMENT_LIMIT: Final = 2_000
ASKS_MORE: Final = "Policy asks for more by now than what was approved."


class RequestState(StrEnum):
    """Where a request is in its life."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    REVOKED = "revoked"
    USED = "used"


NEXT: Final[dict[RequestState, frozenset[RequestState]]] = {
    RequestState.PENDING: frozenset(
        {RequestState.APPROVED, RequestState.DENIED, RequestState.WITHDRAWN, RequestState.EXPIRED},
    ),
    RequestState.APPROVED: frozenset({RequestState.USED, RequestState.EXPIRED, RequestState.REVOKED}),
    RequestState.DENIED: frozenset(),
    RequestState.WITHDRAWN: frozenset(),
    RequestState.EXPIRED: frozenset(),
    RequestState.REVOKED: frozenset(),
    RequestState.USED: frozenset(),
}

OVER: Final = frozenset(state for state, then in NEXT.items() if not then)


def may_follow(now: RequestState, then: RequestState) -> bool:
    """Tell whether a request in ``now`` may step to ``then``."""
    return then in NEXT[now]


class Vote(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One person's answer. It counts for every asked group that the person was a member of when voting."""

    voter: str
    approve: bool
    groups: list[str]
    time_ms: int
    comment: str = ""


class Review(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What somebody else said of an emergency afterwards."""

    reviewer: str
    justified: bool
    time_ms: int
    comment: str = ""


class Precedent(msgspec.Struct, kw_only=True, frozen=True):
    """That somebody has used approvals of the same shape before: the same verbs, on the same target and login."""

    times: int
    first_ms: int
    """Since when ``times`` is counted."""
    last_ms: int


class ApprovalRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A request as it is stored and listed. Times are Unix milliseconds; 0 means "not yet"."""

    rid: str
    kind: Literal["operation", "access", "unmask", "erase"]
    """An operation inside a session; access to a target: one session, or any number within a time-boxed grant; a look at a
    session's sealed originals; or the end of a target's originals of one month."""
    state: RequestState
    version: int = 1
    """Grows with every change of the row."""
    principal: str
    groups: list[str] = []
    target: str
    protocol: str
    agent: str
    """Name of the agent that serves the target."""
    login: str = ""
    sid: str = ""
    """The session that an operation waits in, or whose originals are to be opened; empty otherwise."""
    month: str = ""
    """The month whose originals are to be erased; empty otherwise."""
    operation: Operation | None = None
    """Exactly what would run, with bound values and environment."""
    digest: str
    """Hex SHA-256 of the canonical operation, or of the access. This is what the yes is bound to."""
    reason: str = ""
    source_ip: str = ""
    risks: list[str] = []
    """Facts for the approver, each a short sentence."""
    before: Precedent | None = None
    """What was done of the kind before it was asked; where nothing is known, ``risks`` says so."""
    rules: list[str]
    """The rules that asked."""
    asks: list[Approval]
    """What those rules ask for; all of it must be met."""
    message: str = ""
    """The rule's words for the person who waits."""
    policy_version: int
    asked_ms: int
    deadline_ms: int
    """Until when it may be answered."""
    for_s: int = 0
    """Length of a time-boxed grant in seconds, counted from the yes; 0 for a single opening or operation."""
    uses: int = 1
    """How often the yes may be used; 0 for any number of times until it ends."""
    used: int = 0
    decided_ms: int = 0
    until_ms: int = 0
    """Absolute end of the yes."""
    votes: list[Vote] = []
    emergency: bool = False
    """Break-glass: granted by policy at once, and to be reviewed by somebody else."""
    review: Review | None = None
    sessions: list[str] = []
    """Sessions that were opened under it."""
    answer: str = ""
    """Why it was denied or taken back, in the words of whoever did."""

    @property
    def lifts(self) -> frozenset[str]:
        """What a granted request puts into ``context.approvals``."""
        return frozenset(ask.group for ask in self.asks)

    @property
    def matter(self) -> str:
        """What it is about, in words, where that is neither an operation nor access; empty otherwise."""
        match self.kind:
            case "unmask":
                return f"Show what masking took out of session {self.sid}"
            case "erase":
                return f"Erase for good what masking took out of the sessions on {self.target} in {self.month}"
            case _:
                return ""

    @property
    def unreviewed(self) -> bool:
        """True for an emergency that nobody has looked at yet."""
        return self.emergency and self.review is None

    @property
    def open(self) -> bool:
        """True while somebody still has to do something about it, or may use it."""
        return self.state not in OVER or self.unreviewed


def access_digest(target: str, login: str) -> str:
    """Return the hex SHA-256 that a yes to ``login`` on ``target`` is bound to."""
    return hashlib.sha256(msgspec.json.encode(["sallyport-access-v1", target, login])).hexdigest()


def unmask_digest(sid: str) -> str:
    """Return the hex SHA-256 that a yes to opening the originals of session ``sid`` is bound to."""
    return hashlib.sha256(msgspec.json.encode(["sallyport-unmask-v1", sid])).hexdigest()


def erase_digest(target: str, month: str, key: str) -> str:
    """Return the hex SHA-256 that a yes to erasing ``key``, of ``target`` and ``month``, is bound to."""
    return hashlib.sha256(msgspec.json.encode(["sallyport-erase-v1", target, month, key])).hexdigest()


def decide_approved(
    policy: Policy, who: Principal, target: Target, operation: Operation, moment: Moment, granted: Sequence[Approval]
) -> Verdict:
    """Decide an operation that has a yes, under the policy that is in force now: in the control plane and again in the agent.

    The yes lifts what it was asked for and nothing else. Where policy asks for more by now, or asks nobody and says no, it is no.
    """
    plain = policy.operate(who, target, operation, moment)
    if plain.decision != HOLD:
        return plain
    if not meets(granted, plain.approvals):
        return Verdict(DENY, plain.rules, ASKS_MORE)
    return policy.operate(who, target, operation, moment, frozenset(ask.group for ask in granted))


def meets(granted: Iterable[Approval], asked: Iterable[Approval]) -> bool:
    """Tell whether what was granted is at least what is asked: the same groups, each with as many people or more.

    Asked again before every use, because a newer policy may ask for more than the one that was in force at the yes.
    """
    have: dict[str, int] = {}
    for each in granted:
        have[each.group] = max(have.get(each.group, 0), each.quorum)
    return all(have.get(each.group, 0) >= each.quorum for each in asked)


def refusal(request: ApprovalRequest) -> Fault:
    """Return why there is no yes to use, in words for whoever waited for one or tries to use it. Each state has its own code."""
    who = next((vote.voter for vote in request.votes if not vote.approve), "Somebody who was asked")
    words = f": {request.answer}" if request.answer else "."
    match request.state:
        case RequestState.PENDING:
            return Fault("approval_pending", "Nobody has answered this request yet.")
        case RequestState.DENIED:
            return Fault("approval_denied", f"{who} said no{words}")
        case RequestState.EXPIRED if request.decided_ms:
            return Fault("approval_expired", "The approval's time is over.", hint="Ask again.")
        case RequestState.EXPIRED:
            return Fault("approval_expired", "Nobody answered in time.", hint="Ask again, or ask them yourself.")
        case RequestState.WITHDRAWN:
            return Fault("approval_withdrawn", "The request was withdrawn.")
        case RequestState.REVOKED:
            return Fault("approval_revoked", f"The approval was taken back{words}")
        case _:
            return Fault("approval_used", "The approval was used as often as it was granted.")
