"""Ask others to agree that sealed originals are opened, or erased. Somebody else always has to: a policy that asks nobody means
that the gateway's administrators are asked.
"""

from __future__ import annotations

from typing import Any, Final

from chalicelib.contracts import ids
from chalicelib.contracts.api_originals import EraseAsk, UnmaskAsk
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.approval import ApprovalRequest, RequestState, erase_digest, meets, unmask_digest
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.originals import KIND, is_month, month_of
from chalicelib.contracts.policy import DENY, Approval, Moment, Verdict
from chalicelib.contracts.session import OVER, Session
from chalicelib.domain import approvals
from chalicelib.domain.approvals import Case
from chalicelib.ports import AskName, Conflict, OriginalsKey, Ports
from chalicelib.usecases.approvers import human
from chalicelib.usecases.ask_once import ask_name, asked_before, for_request
from chalicelib.usecases.circumstances import check_sizes, moment
from chalicelib.usecases.deliver_notices import deliver
from chalicelib.usecases.list_sessions import may_replay, target_of
from chalicelib.usecases.minting import mint
from chalicelib.usecases.request_approval import PENDING_LIMIT, standing
from chalicelib.usecases.request_events import asked as asked_event
from chalicelib.usecases.request_events import notices

#: Seconds that administrators have to answer where no rule asks for anybody, and that their yes is good for.
TTL_S: Final = 900
_PAGE: Final = 1_000


def request_unmask(ports: Ports, caller: AccessClaims, sid: str, asked: UnmaskAsk, source_ip: str) -> RequestStanding:
    """Return the request. Raises Fault: unknown_session, denied, reason_required, originals_none, originals_erased, conflict …"""
    _check(asked.reason)
    name = ask_name(ports, f"person {caller.sub} unmask {sid}", asked.key, asked)
    if before := asked_before(ports, name):
        return standing(ports, before)
    session = ports.store.session(sid) if ids.is_id(ids.SESSION, sid) else None
    if session is None:
        raise unknown_session()
    at = moment(ports.clock, reason=asked.reason, login=session.login, source_ip=source_ip)
    verdict = may_unmask(ports, caller, session, at)
    if session.state not in OVER:
        raise Fault("conflict", "The session is still open.", hint="Ask again once it has ended.")
    _sealed(ports, session)
    request = {"kind": "unmask", "sid": sid, "digest": unmask_digest(sid)}
    target = target_of(ports.policies.current(), session)
    return standing(ports, _add(ports, caller, (target, at, verdict), name, **request))


def request_erasure(ports: Ports, caller: AccessClaims, asked: EraseAsk, source_ip: str) -> RequestStanding:
    """Return the request. Raises Fault: denied, bad_request, reason_required, originals_none, originals_erased …"""
    _check(asked.reason)
    name = ask_name(ports, f"person {caller.sub} erase", asked.key, asked)
    if before := asked_before(ports, name):
        return standing(ports, before)
    if not is_month(asked.month):
        raise Fault("bad_request", "A month reads like 2026-11.")
    at = moment(ports.clock, reason=asked.reason, source_ip=source_ip)
    target = erased_target(ports, asked.target)
    verdict = may_erase(ports, caller, target, asked.month, at)
    if asked.month >= month_of(ports.clock.now_ms()):
        raise Fault("bad_request", f"{asked.month} is not over.", hint="To keep no more originals: originals: none, and apply.")
    key = _key(ports, asked.target, asked.month)
    request = {"kind": "erase", "month": asked.month, "digest": erase_digest(asked.target, asked.month, key.name)}
    return standing(ports, _add(ports, caller, (target, at, verdict), name, **request))


def may_unmask(ports: Ports, caller: AccessClaims, session: Session, at: Moment) -> Verdict:
    """Return a verdict that is not a no. Raises Fault: denied, or unknown_session for whoever may not even know of it."""
    policy = ports.policies.current()
    target = target_of(policy, session)
    verdict = policy.unmask(caller.principal, (session.sid, session.principal, str(session.state)), target, at)
    if verdict.decision == DENY:
        if session.principal != caller.sub and not may_replay(policy, caller, session, at).allowed:
            raise unknown_session()
        raise refused(verdict)
    return verdict


def may_erase(ports: Ports, caller: AccessClaims, target: Target, month: str, at: Moment) -> Verdict:
    """Return a verdict that is not a no. Raises Fault(denied)."""
    verdict = ports.policies.current().erase(caller.principal, target, month, at)
    if verdict.decision == DENY:
        raise refused(verdict)
    return verdict


def asks_of(ports: Ports, verdict: Verdict) -> list[Approval]:
    """Return who has to agree: those whom policy asks, and administrators where it asks nobody."""
    return list(verdict.approvals) or [Approval(ports.settings.admin_group, ttl=TTL_S)]


def erased_target(ports: Ports, name: str) -> Target:
    """Return a target by name; one that was taken out of the configuration is asked about by its name alone."""
    found = ports.policies.current().document.target(name)
    return found or Target(name=name, protocol="", agent="", address="", logins={}, default_login="")


def refused(verdict: Verdict) -> Fault:
    """Return a policy's no."""
    hint = f"Decided by rule {verdict.rule}." if verdict.rule else ""
    return Fault("denied", verdict.message, hint=hint, detail="; ".join(verdict.errors))


def unknown_session() -> Fault:
    """Return the fault of a session that does not exist for whoever asks."""
    return Fault("unknown_session", "There is no session of this name, or it is not yours to see.")


def _check(reason: str) -> None:
    check_sizes("", "", reason)
    if not reason.strip():
        raise Fault("reason_required", "This needs a reason; whoever decides reads it, and it is kept.", hint="Add --reason")


def _sealed(ports: Ports, session: Session) -> OriginalsKey:
    """Return the key of a session that has originals. Raises Fault: originals_none, originals_erased."""
    first = 0
    while page := ports.store.chunks(session.sid, first, _PAGE):
        if any(stored.chunk.kind == KIND for stored in page):
            break
        first += len(page)
    else:
        raise Fault("originals_none", "No originals were sealed in this session.")
    return _key(ports, session.target, month_of(session.opened_ms))


def _key(ports: Ports, target: str, month: str) -> OriginalsKey:
    key = ports.store.originals_key(target, month)
    if key is None:
        raise Fault("originals_none", f"No originals of {target} were sealed in {month}.")
    if key.erased_ms:
        raise erased()
    return key


def erased() -> Fault:
    """Return the fault of originals that nobody can read any more."""
    return Fault("originals_erased", "The key of these originals was erased; nobody can read them any more.")


def _add(ports: Ports, caller: AccessClaims, asker: tuple[Target, Moment, Verdict], name: AskName | None, **wanted: Any) -> Case:
    target, at, verdict = asker
    waiting = [
        case.request
        for case in ports.store.open_cases()
        if case.request.principal == caller.sub and case.request.state is RequestState.PENDING
    ]
    if len(waiting) >= PENDING_LIMIT:
        raise Fault("too_many", f"You have {PENDING_LIMIT} requests waiting.", hint="Withdraw some of them first.")
    for each in waiting:
        same = ports.store.case(each.rid) if (each.digest, each.reason) == (wanted["digest"], at.reason) else None
        if same and same.request.state is RequestState.PENDING and at.now_ms < same.request.deadline_ms:
            return same
    asks = asks_of(ports, verdict)
    request = ApprovalRequest(
        rid=mint(ports.clock, ids.REQUEST),
        state=RequestState.PENDING,
        principal=caller.sub,
        groups=caller.groups,
        target=target.name,
        protocol=target.protocol,
        agent=target.agent,
        login=at.login,
        reason=at.reason,
        source_ip=at.source_ip,
        rules=list(verdict.rules),
        asks=asks,
        message=verdict.message,
        policy_version=ports.policies.current().version,
        asked_ms=at.now_ms,
        deadline_ms=approvals.answer_until_ms(asks, 0, at.now_ms),
        **wanted,
    )
    case = Case(request=request, asker=human(ports, caller.sub))
    told = notices(ports, request, "asked")
    try:
        ports.store.add_case(case, [asked_event(ports, request)], told, for_request(name, request.rid))
    except Conflict:
        if repeated := asked_before(ports, name):
            return repeated
        raise
    deliver(ports, told)
    return case


def still_agreed(ports: Ports, request: ApprovalRequest, verdict: Verdict) -> bool:
    """Tell whether the yes is at least what ``verdict`` asks for by now, and somebody else's."""
    others = any(vote.approve and vote.voter != request.principal for vote in request.votes)
    return others and not request.emergency and meets(request.asks, asks_of(ports, verdict))
