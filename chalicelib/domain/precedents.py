"""Has this person done this before? What is remembered of approvals that were used, so that approvers hear of a first time.

A fact and no rule: the gateway only knows what it was asked for, and remembers it for ninety days after the last time. What ran
without an approval leaves no precedent, and the words say so.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from chalicelib.contracts.approval import ApprovalRequest, Precedent
from chalicelib.contracts.operation import Operation

DAYS: Final = 90
WINDOW_MS: Final = DAYS * 24 * 3600 * 1000
_NAMED: Final = 80


def shape(principal: str, target: str, login: str, operation: Operation | None) -> str:
    """Return the hex SHA-256 of what counts as the same: the same verbs by the same person, on the same target and login."""
    kind = ["access"] if operation is None else [operation.action, operation.kind, *sorted(operation.verbs)]
    return hashlib.sha256(msgspec.json.encode(["sallyport-precedent-v1", principal, target, login, kind])).hexdigest()


def shape_of(request: ApprovalRequest) -> str:
    """Return the shape of a request."""
    return shape(request.principal, request.target, request.login, request.operation)


def remembered(found: Precedent | None, now_ms: int) -> Precedent | None:
    """Return a precedent that still counts. The store forgets old ones in its own time."""
    return found if found and now_ms - found.last_ms < WINDOW_MS else None


def first_time(operation: Operation | None) -> str:
    """Return the fact that there is no precedent, as a sentence for approvers."""
    what = "access" if operation is None else ", ".join(sorted(operation.verbs)) or operation.kind
    return f"First time here: within {DAYS} days, this person has used no approval for {what[:_NAMED]}."
