"""A yes to access that may be used right now: the one that was named, or one that was asked for ahead of time."""

from __future__ import annotations

from chalicelib.contracts import ids
from chalicelib.contracts.approval import ASKS_MORE, ApprovalRequest, RequestState, access_digest, meets
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Verdict
from chalicelib.domain import approvals
from chalicelib.domain.approvals import Case
from chalicelib.ports import Ports


def approved_access(ports: Ports, principal: str, target: str, login: str, held: Verdict) -> Case | None:
    """Return a yes that covers this access and meets everything that ``held`` asks for now; None where there is none."""
    digest = access_digest(target, login)
    now_ms = ports.clock.now_ms()
    for listed in ports.store.open_cases():
        if not _covers(listed.request, principal, digest):
            continue
        # The index may be behind the row.
        case = ports.store.case(listed.request.rid)
        if case and _is_good(case.request, now_ms) and meets(case.request.asks, held.approvals):
            return case
    return None


def named_access(ports: Ports, rid: str, principal: str, target: str, login: str, held: Verdict) -> Case:
    """Return the yes ``rid``. Raises Fault: unknown_request, approval_mismatch, or what its state says."""
    case = ports.store.case(rid) if ids.is_id(ids.REQUEST, rid) else None
    if case is None or case.request.principal != principal:
        raise Fault("unknown_request", "There is no request of this name, or it is not yours.")
    if not _covers(case.request, principal, access_digest(target, login)):
        raise Fault("approval_mismatch", "The approval is for another target or login.")
    approvals.used(case, ports.clock.now_ms())  # raises where it cannot be used any more; counting comes with the session
    if not meets(case.request.asks, held.approvals):
        raise Fault("approval_mismatch", ASKS_MORE)
    return case


def _is_good(request: ApprovalRequest, now_ms: int) -> bool:
    return request.state is RequestState.APPROVED and not approvals.overdue(request, now_ms)


def _covers(request: ApprovalRequest, principal: str, digest: str) -> bool:
    return (request.kind, request.principal, request.digest) == ("access", principal, digest)
