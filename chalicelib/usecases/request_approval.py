"""Ask for an approval: of access to a target, or of one operation that waits inside a session.

Who is asked comes from the control plane's own evaluation of its own policy. Whoever asks says what they want and why, no more.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.api_requests import RISK_LENGTH, RISKS_LIMIT, AccessAsk, OperationAsk, RequestStanding
from chalicelib.contracts.approval import (
    GRANT_LIMIT_S,
    OPERATION_LIMIT,
    USES_LIMIT,
    ApprovalRequest,
    Precedent,
    RequestState,
    access_digest,
)
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import ALLOW, HOLD, Moment, Principal, Verdict
from chalicelib.contracts.session import Session, State
from chalicelib.domain import approvals
from chalicelib.domain.approvals import Case
from chalicelib.domain.precedents import first_time, remembered, shape
from chalicelib.ports import Agent, AskName, Conflict, Ports
from chalicelib.usecases.announce_outcome import capability
from chalicelib.usecases.approvers import human
from chalicelib.usecases.ask_once import ask_name, asked_before, for_request, remember
from chalicelib.usecases.circumstances import check_sizes, moment
from chalicelib.usecases.deliver_notices import deliver
from chalicelib.usecases.entrusted import entrusted, refuse_over
from chalicelib.usecases.minting import mint
from chalicelib.usecases.request_events import asked as asked_event
from chalicelib.usecases.request_events import notices

#: How many requests one person may have waiting: every one of them calls other people.
PENDING_LIMIT: Final = 20


class Asker(msgspec.Struct, kw_only=True, frozen=True):
    """Who asks, and under what circumstances."""

    who: Principal
    target: Target
    moment: Moment
    verdict: Verdict


def request_access(ports: Ports, caller: AccessClaims, asked: AccessAsk, source_ip: str) -> RequestStanding:
    """Return the request, or the one that waits for the same already.

    Raises Fault: unknown_target, unknown_login, denied, approval_unneeded, reason_required, bad_request, too_large, too_many,
    key_reused.
    """
    check_sizes(asked.target, asked.login, asked.reason)
    name = ask_name(ports, f"person {caller.sub}", asked.key, asked)
    if before := asked_before(ports, name):
        return standing(ports, before)
    if not 0 <= asked.for_s <= GRANT_LIMIT_S:
        raise Fault("bad_request", f"A grant lasts at most {GRANT_LIMIT_S // 3600} hours.")
    _check_uses(asked.uses)
    policy = ports.policies.current()
    target = policy.document.target(asked.target)
    if target is None:
        raise Fault("unknown_target", "There is no target of this name.", hint="Run: sallyport ls")
    login = asked.login or target.default_login
    at = moment(ports.clock, reason=asked.reason, login=login, source_ip=source_ip)
    verdict = policy.connect(caller.principal, target, at)
    if verdict.decision != HOLD:
        raise _not_held(verdict)
    if login not in target.logins:
        raise Fault("unknown_login", "The target has no login of this name.", hint=f"It has: {', '.join(sorted(target.logins))}.")
    digest = access_digest(target.name, login)
    waiting = _waiting(ports, caller.sub)
    if same := _same(ports, waiting, digest, asked):
        return standing(ports, remember(ports, name, same))
    asker = Asker(who=caller.principal, target=target, moment=at, verdict=verdict)
    uses = 0 if asked.for_s else asked.uses
    wanted = {"kind": "access", "digest": digest, "for_s": asked.for_s, "uses": uses, "emergency": asked.emergency}
    return standing(ports, _add(ports, asker, waiting, name, **wanted))


def request_operation(ports: Ports, agent: Agent, sid: str, asked: OperationAsk) -> RequestStanding:
    """Return the request. Raises Fault: unknown_session, session_ended, denied, approval_unneeded, too_large, key_reused …"""
    session, _ = entrusted(ports, agent, sid)
    if session.state is not State.LIVE:
        raise refuse_over(session)
    check_sizes("", "", asked.reason)
    name = ask_name(ports, f"agent {agent.agent_id} {sid}", asked.key, asked)
    if before := asked_before(ports, name):
        return standing(ports, before, agent)
    _check_uses(asked.uses)
    if len(asked.operation.canonical()) > OPERATION_LIMIT:
        raise Fault("too_large", f"An operation of more than {OPERATION_LIMIT // 1024} KB cannot wait for an approval.")
    policy = ports.policies.current()
    target = policy.document.target(session.target)
    if target is None:
        raise Fault("denied", "The target is no longer part of the gateway's configuration.")
    at = session_moment(ports, session)
    who = Principal(name=session.principal, groups=session.groups, mfa=session.mfa)
    verdict = policy.operate(who, target, asked.operation, at)
    if verdict.decision != HOLD:
        raise _not_held(verdict)
    asker = Asker(
        who=who, target=target, moment=msgspec.structs.replace(at, reason=asked.reason or session.reason), verdict=verdict
    )
    case = _add(
        ports,
        asker,
        _waiting(ports, session.principal),
        name,
        kind="operation",
        sid=sid,
        operation=asked.operation,
        digest=asked.operation.digest(),
        risks=[risk[:RISK_LENGTH] for risk in asked.risks[:RISKS_LIMIT]],
        uses=asked.uses,
        emergency=asked.emergency,
    )
    return standing(ports, case, agent)


def standing(ports: Ports, case: Case, agent: Agent | None = None) -> RequestStanding:
    """Return the request as it is now; with the capability, if an ``agent`` asks."""
    request = case.request
    waits = request.state is RequestState.PENDING
    return RequestStanding(
        request=request,
        link=f"{ports.settings.issuer}/approvals/{request.rid}",
        missing=approvals.missing(request.asks, request.votes) if waits else [],
        approval=capability(ports, request, agent) if agent else "",
    )


def session_moment(ports: Ports, session: Session) -> Moment:
    """Return the moment of a question about an operation of ``session`` that is asked now."""
    return moment(ports.clock, reason=session.reason, login=session.login, source_ip=session.source_ip)


def _waiting(ports: Ports, principal: str) -> list[ApprovalRequest]:
    requests = [case.request for case in ports.store.open_cases()]
    return [each for each in requests if each.principal == principal and each.state is RequestState.PENDING]


def _add(ports: Ports, asker: Asker, waiting: list[ApprovalRequest], name: AskName | None, /, **wanted: Any) -> Case:
    if len(waiting) >= PENDING_LIMIT:
        raise Fault("too_many", f"You have {PENDING_LIMIT} requests waiting.", hint="Withdraw some of them first.")
    emergency = bool(wanted["emergency"])
    if emergency:
        _check_emergency(ports, asker)
    now_ms, verdict = asker.moment.now_ms, asker.verdict
    before = _before(ports, asker, wanted.get("operation"), now_ms)
    first = [] if before else [first_time(wanted.get("operation"))]
    request = ApprovalRequest(
        rid=mint(ports.clock, ids.REQUEST),
        state=RequestState.PENDING,
        principal=asker.who.name,
        groups=asker.who.groups,
        target=asker.target.name,
        protocol=asker.target.protocol,
        agent=asker.target.agent,
        login=asker.moment.login,
        reason=asker.moment.reason,
        source_ip=asker.moment.source_ip,
        rules=list(verdict.rules),
        asks=list(verdict.approvals),
        message=verdict.message,
        policy_version=ports.policies.current().version,
        asked_ms=now_ms,
        deadline_ms=approvals.answer_until_ms(verdict.approvals, int(wanted.get("for_s", 0)), now_ms),
        before=before,
        **(wanted | {"risks": [*wanted.get("risks", []), *first]}),
    )
    case = Case(request=request, asker=human(ports, asker.who.name))
    if emergency:
        # Granted before it is stored: there is no moment in which an emergency waits for somebody.
        case = msgspec.structs.replace(
            case, request=msgspec.structs.replace(approvals.granted(case, now_ms).request, version=request.version)
        )
    told = notices(ports, case.request, "emergency" if emergency else "asked")
    try:
        ports.store.add_case(case, [asked_event(ports, case.request)], told, for_request(name, case.request.rid))
    except Conflict:
        if same := asked_before(ports, name):  # the same ask was faster, on another connection
            return same
        raise
    deliver(ports, told)
    return case


def _before(ports: Ports, asker: Asker, operation: Operation | None, now_ms: int) -> Precedent | None:
    """What is known of the same by the same person; a fact for approvers, and no condition of anything."""
    found = ports.store.precedent(shape(asker.who.name, asker.target.name, asker.moment.login, operation))
    return remembered(found, now_ms)


def _check_emergency(ports: Ports, asker: Asker) -> None:
    if not asker.moment.reason.strip():
        raise Fault("reason_required", "An emergency needs a reason.", hint="Say what is broken and why it cannot wait.")
    verdict = ports.policies.current().emergency(asker.who, asker.target, asker.moment)
    if not verdict.allowed:
        hint = f"Decided by rule {verdict.rule}." if verdict.rule else "Ask for an approval instead."
        raise Fault("denied", "No policy lets you go first on this target.", hint=hint, detail="; ".join(verdict.errors))


def _same(ports: Ports, waiting: list[ApprovalRequest], digest: str, asked: AccessAsk) -> Case | None:
    """A request that waits for the very same; asking twice must not call people twice."""
    for request in waiting:
        if asked.emergency or (request.digest, request.for_s, request.reason) != (digest, asked.for_s, asked.reason):
            continue
        found = ports.store.case(request.rid)
        if found and found.request.state is RequestState.PENDING and ports.clock.now_ms() < request.deadline_ms:
            return found
    return None


def _check_uses(uses: int) -> None:
    if not 1 <= uses <= USES_LIMIT:
        raise Fault("bad_request", f"An approval is for 1 to {USES_LIMIT} uses.")


def _not_held(verdict: Verdict) -> Fault:
    if verdict.decision == ALLOW:
        return Fault("approval_unneeded", "Policy permits this without an approval.")
    hint = f"Decided by rule {verdict.rule}." if verdict.rule else ""
    return Fault("denied", verdict.message, hint=hint, detail="; ".join(verdict.errors))
