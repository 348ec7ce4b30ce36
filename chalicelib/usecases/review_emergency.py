"""``POST /requests/{rid}/review``: an emergency went first; somebody else looks at it afterwards."""

from __future__ import annotations

from typing import Final

from chalicelib.contracts.api_requests import RequestStanding, ReviewGiven
from chalicelib.contracts.approval import COMMENT_LIMIT, Review
from chalicelib.contracts.audit_requests import RequestReviewed
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain import approvals
from chalicelib.domain.approvals import Case
from chalicelib.ports import Conflict, Ports
from chalicelib.usecases.approvers import approver, could_answer, human, visible
from chalicelib.usecases.request_approval import standing
from chalicelib.usecases.request_events import about

_TRIES: Final = 20


def review_emergency(ports: Ports, caller: AccessClaims, rid: str, given: ReviewGiven, source_ip: str) -> RequestStanding:
    """Return the request with its review. Only somebody who could have answered it, and never whoever asked.

    Raises Fault: unknown_request, bad_request (no emergency), approval_over (reviewed), own_request, login_stale, denied.
    """
    if len(given.comment) > COMMENT_LIMIT:
        raise Fault("too_large", f"A comment is at most {COMMENT_LIMIT} characters long.")
    for _ in range(_TRIES):
        case = visible(ports, caller, rid, source_ip)
        if not case.request.emergency:
            raise Fault("bad_request", "Only an emergency is reviewed.")
        if case.request.review is not None:
            raise Fault("approval_over", f"{case.request.review.reviewer} has reviewed it.")
        reviewer = approver(ports, caller, case.request, source_ip)
        approvals.check_stranger(case, reviewer.human)
        if not reviewer.groups:
            raise Fault("denied", "Only those who could have answered it can review it.")
        review = Review(reviewer=caller.sub, justified=given.justified, time_ms=ports.clock.now_ms(), comment=given.comment)
        after = case.step(case.request.state, review=review)
        event = about(ports, RequestReviewed, after.request, caller.sub, justified=given.justified, comment=given.comment)
        try:
            ports.store.step_case(after, [event], [])
        except Conflict:
            continue
        return standing(ports, after)
    raise Fault("conflict", "The request changes at this moment.", hint="Try again.")


def may_review(ports: Ports, caller: AccessClaims, case: Case, source_ip: str) -> bool:
    """Tell whether a page should offer the caller to review the emergency."""
    if not case.request.unreviewed or human(ports, caller.sub).is_also(case.asker):
        return False
    return could_answer(ports, caller, case.request, source_ip)
