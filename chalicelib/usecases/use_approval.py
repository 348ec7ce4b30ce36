"""A yes is used: counted once and for all before the operation runs, and only for the very thing that was approved."""

from __future__ import annotations

from typing import Final

from chalicelib.contracts.api_requests import KEY_LENGTH, ApprovalUse, ApprovalUsed
from chalicelib.contracts.approval import ApprovalRequest, decide_approved
from chalicelib.contracts.audit_requests import RequestUsed
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Principal
from chalicelib.contracts.session import Session, State
from chalicelib.domain import approvals
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases.end_request import of_session
from chalicelib.usecases.entrusted import entrusted, refuse_over
from chalicelib.usecases.request_approval import session_moment
from chalicelib.usecases.request_events import about

_TRIES: Final = 20


def use_approval(ports: Ports, agent: Agent, sid: str, rid: str, asked: ApprovalUse) -> ApprovalUsed:
    """Count one use. The same key again does nothing.

    Raises Fault: unknown_session, unknown_request, session_ended, approval_mismatch, a code for every state in which there is
    nothing to use (``domain.approvals.used``), denied (policy does not permit it by now, with or without the yes).
    """
    if not 0 < len(asked.key) <= KEY_LENGTH:
        raise Fault("bad_request", f"key is 1 to {KEY_LENGTH} characters long.")
    session, _ = entrusted(ports, agent, sid)
    if session.state is not State.LIVE:
        raise refuse_over(session)
    for _ in range(_TRIES):
        case = of_session(ports, agent, sid, rid)
        request = case.request
        if asked.digest != request.digest:
            raise Fault("approval_mismatch", "The approval is for another operation: something in it has changed.")
        if asked.key in case.keys:
            return ApprovalUsed(used=request.used, uses=request.uses)
        after = approvals.used(case, ports.clock.now_ms(), key=asked.key)
        _check_policy(ports, session, request)
        event = about(
            ports,
            RequestUsed,
            request,
            request.principal,
            sid=sid,
            digest=request.digest,
            used=after.request.used,
            uses=request.uses,
        )
        try:
            ports.store.step_case(after, [event], [], done_ms=event.time_ms)
        except Conflict:
            continue
        return ApprovalUsed(used=after.request.used, uses=request.uses)
    raise Fault("conflict", "The request changes at this moment.", hint="Try again.")


def _check_policy(ports: Ports, session: Session, request: ApprovalRequest) -> None:
    """The policy that is in force now may ask for more than the one that was when somebody said yes."""
    policy = ports.policies.current()
    target = policy.document.target(session.target)
    if target is None or request.operation is None:
        raise Fault("denied", "The target is no longer part of the gateway's configuration.")
    who = Principal(name=session.principal, groups=session.groups, mfa=session.mfa)
    verdict = decide_approved(policy, who, target, request.operation, session_moment(ports, session), request.asks)
    if not verdict.allowed:
        raise Fault("denied", verdict.message, detail="; ".join(verdict.errors))
