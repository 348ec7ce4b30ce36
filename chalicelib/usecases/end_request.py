"""A request that is not wanted any more, a yes that is taken back, and both when their time is over."""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from chalicelib.contracts import ids, relay
from chalicelib.contracts.api_requests import RequestEnd, RequestStanding
from chalicelib.contracts.approval import COMMENT_LIMIT, OVER, ApprovalRequest, RequestState
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.audit_requests import RequestExpired, RequestRevoked, RequestWithdrawn
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.session import State
from chalicelib.domain import approvals
from chalicelib.domain.approvals import Case
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases.announce_outcome import announce_outcome
from chalicelib.usecases.approvers import approver, could_answer, visible
from chalicelib.usecases.deliver_notices import deliver
from chalicelib.usecases.endings import ended
from chalicelib.usecases.entrusted import entrusted
from chalicelib.usecases.request_approval import standing
from chalicelib.usecases.request_events import about, notices

_TRIES: Final = 20
TAKEN_BACK: Final = "The approval behind this session was taken back."


def withdraw_request(ports: Ports, caller: AccessClaims, rid: str, source_ip: str) -> RequestStanding:
    """End one's own request that waits. Raises Fault: unknown_request, denied (somebody else's), approval_over."""
    for _ in range(_TRIES):
        case = visible(ports, caller, rid, source_ip)
        if case.request.principal != caller.sub:
            raise Fault("denied", "Only whoever asked can withdraw a request.")
        if after := _withdraw(ports, case):
            return standing(ports, after)
    raise _busy()


def withdraw_operation(ports: Ports, agent: Agent, sid: str, rid: str) -> RequestStanding:
    """End a request that waits inside an agent's session: its owner gave up. Raises Fault like :func:`withdraw_request`."""
    for _ in range(_TRIES):
        if after := _withdraw(ports, of_session(ports, agent, sid, rid)):
            return standing(ports, after)
    raise _busy()


def revoke_request(ports: Ports, caller: AccessClaims, rid: str, asked: RequestEnd, source_ip: str) -> RequestStanding:
    """Take a yes back and end every session under it: by its owner, an administrator, or whoever could have answered it."""
    if len(asked.comment) > COMMENT_LIMIT:
        raise Fault("too_large", f"A comment is at most {COMMENT_LIMIT} characters long.")
    for _ in range(_TRIES):
        case = visible(ports, caller, rid, source_ip)
        _check_may_revoke(ports, caller, case.request, source_ip)
        if case.request.state is RequestState.PENDING:
            raise Fault(
                "approval_pending", "Nobody has said yes to it.", hint="Whoever asked can withdraw it; others can deny it."
            )
        if case.request.state is not RequestState.APPROVED:
            raise approvals.over(case.request)
        after = case.step(RequestState.REVOKED, answer=asked.comment)
        event = about(
            ports,
            RequestRevoked,
            after.request,
            caller.sub,
            comment=asked.comment,
            used=after.request.used,
            sessions=after.request.sessions,
        )
        if _step(ports, after, event, "revoked"):
            end_sessions(ports, after.request)
            return standing(ports, after)
    raise _busy()


def may_revoke(ports: Ports, caller: AccessClaims, request: ApprovalRequest, source_ip: str) -> bool:
    """Tell whether a page should offer the caller to take the yes back."""
    if request.state is not RequestState.APPROVED or approvals.overdue(request, ports.clock.now_ms()):
        return False
    if request.principal == caller.sub or ports.settings.admin_group in caller.groups:
        return True
    return could_answer(ports, caller, request, source_ip)


def expire_requests(ports: Ports) -> int:
    """Step every request whose time or session is over; return how many there were."""
    count = 0
    for case in ports.store.open_cases():
        if not (approvals.overdue(case.request, ports.clock.now_ms()) or _is_left_behind(ports, case.request)):
            continue
        after = case.step(RequestState.EXPIRED)
        event = about(ports, RequestExpired, after.request, "system", was=str(case.request.state), used=case.request.used)
        # The index may be behind the row; the step requires the version that was seen.
        count += _step(ports, after, event, "expired")
    return count


def end_sessions(ports: Ports, request: ApprovalRequest) -> None:
    """End every session that was opened under ``request``: offers at once, live ones by their agent."""
    for sid in request.sessions:
        found = ports.store.entrusted(sid)
        if found is None:
            continue
        session, custody = found
        if session.state is State.OFFERED:
            over = msgspec.structs.replace(session, state=State.KILLED, ended_ms=ports.clock.now_ms(), message=TAKEN_BACK)
            with contextlib.suppress(Conflict):  # it was claimed at this moment: the agent is told below
                ports.store.step_session(over, frozenset({State.OFFERED}), ended(ports.clock, over, actor="system"))
        agent = ports.store.agent(custody.agent_id)
        if agent and agent.connection and session.state in (State.OFFERED, State.LIVE):
            ports.downlink.post(agent.connection, relay.encode(relay.Kill(sid, "session_killed", TAKEN_BACK)))


def of_session(ports: Ports, agent: Agent, sid: str, rid: str) -> Case:
    """Return a request that was made inside an agent's own session. Raises Fault: unknown_session, unknown_request."""
    entrusted(ports, agent, sid)
    case = ports.store.case(rid) if ids.is_id(ids.REQUEST, rid) else None
    # A request about a session's originals names the session too, and is no business of its agent.
    if case is None or case.request.sid != sid or case.request.kind != "operation":
        raise Fault("unknown_request", "There is no request of this name in this session.")
    return case


def _is_left_behind(ports: Ports, request: ApprovalRequest) -> bool:
    """True for an operation whose session is over: nobody waits for it, so nobody should be asked about it any more."""
    if request.kind != "operation" or request.state in OVER:
        return False
    session = ports.store.session(request.sid)
    return session is None or session.state is not State.LIVE


def _check_may_revoke(ports: Ports, caller: AccessClaims, request: ApprovalRequest, source_ip: str) -> None:
    if request.principal == caller.sub or ports.settings.admin_group in caller.groups:
        return
    if not approver(ports, caller, request, source_ip).groups:
        raise Fault("denied", "Only those who could have answered it can take it back.")


def _withdraw(ports: Ports, case: Case) -> Case | None:
    if case.request.state is not RequestState.PENDING:
        raise approvals.over(case.request)
    after = case.step(RequestState.WITHDRAWN, decided_ms=ports.clock.now_ms())
    event = about(ports, RequestWithdrawn, after.request, after.request.principal)
    return after if _step(ports, after, event, "withdrawn") else None


def _step(ports: Ports, after: Case, event: AnyEvent, what: str) -> bool:
    told = notices(ports, after.request, what)
    try:
        ports.store.step_case(after, [event], told)
    except Conflict:
        return False
    announce_outcome(ports, after.request)
    deliver(ports, told)
    return True


def _busy() -> Fault:
    return Fault("conflict", "The request changes at this moment.", hint="Try again.")
