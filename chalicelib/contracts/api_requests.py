"""The HTTP API of approval requests: request and reply bodies, like ``api.py``, and under the same rules."""

from __future__ import annotations

import msgspec

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.operation import Operation

RISKS_LIMIT = 16
RISK_LENGTH = 200
KEY_LENGTH = 64


class AccessAsk(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /requests``: ask for access to a target, now or for a time."""

    target: str
    login: str = ""
    reason: str = ""
    for_s: int = 0
    """Length of a time-boxed grant, in seconds; 0 asks for ``uses`` sessions, to be opened while the yes is fresh."""
    uses: int = 1
    emergency: bool = False
    """Go first, be reviewed afterwards: where policy permits ``emergency``, and with a reason."""
    key: str = ""
    """The caller's own name for this ask, or nothing. The same key with the same body again, because an answer was lost, gets the
    same request as it is by then, for a day; with another body it is refused (``key_reused``)."""


class OperationAsk(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/sessions/{sid}/requests``: policy holds an operation inside a session."""

    operation: Operation
    reason: str = ""
    risks: list[str] = []
    """Facts for the approver that the agent found out: rows estimated, a missing WHERE."""
    uses: int = 1
    emergency: bool = False
    key: str = ""
    """As in ``AccessAsk``: the agent's own name for this ask, within the session."""


class RequestStanding(msgspec.Struct, kw_only=True, frozen=True):
    """A request as it is now, for whoever waits for it or is asked about it."""

    request: ApprovalRequest
    link: str
    """Where people read and answer it. The link alone decides nothing."""
    missing: list[str] = []
    """Groups of which somebody still has to say yes; empty once it is decided."""
    approval: str = ""
    """For the agent only, once approved: the signed capability."""


class RequestPage(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """``GET /requests?view=&day=&principal=&target=&state=&limit=&cursor=``: newest first."""

    requests: list[ApprovalRequest]
    cursor: str = ""
    """Pass it back for the next page; empty on the last one."""


class Ballot(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /requests/{rid}/votes``: one person's answer to what was shown."""

    approve: bool
    digest: str
    """The request's digest, as the voter was shown it. Another one is another thing."""
    comment: str = ""


class RequestEnd(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /requests/{rid}/withdraw`` and ``/revoke``: it is not wanted any more, or not granted any more."""

    comment: str = ""


class ReviewGiven(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /requests/{rid}/review``: what somebody else says of an emergency afterwards."""

    justified: bool
    comment: str = ""


class ApprovalUse(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/sessions/{sid}/requests/{rid}/use``: count a use, before the operation runs."""

    digest: str
    """Hex SHA-256 of the canonical operation that is about to run."""
    key: str
    """The agent's own name for this use. The same key again counts nothing: an answer may have been lost."""


class ApprovalUsed(msgspec.Struct, kw_only=True, frozen=True):
    """The use was counted; the operation may run now, once."""

    used: int
    uses: int
    """0 means any number until the end."""


class DeadLetter(msgspec.Struct, kw_only=True, frozen=True):
    """A notification that no attempt could deliver."""

    nid: str
    rid: str
    about: str
    channels: list[str]
    """Those that did not take it."""
    attempts: int
    time_ms: int
    error: str


class DeadLetters(msgspec.Struct, kw_only=True, frozen=True):
    """``GET /notifications/dead``: what was given up, oldest first."""

    letters: list[DeadLetter]
