"""Who somebody is when they answer for others: the human behind the account, with the groups that count now.

A token may be older than a change of groups, so a group counts only if the token *and* the newest login have it, and only a
recent login answers at all: the identity provider has then said it within that time.
"""

from __future__ import annotations

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.policy import Policy, Principal, Verdict
from chalicelib.domain.approvals import Case, Human
from chalicelib.ports import Ports
from chalicelib.usecases.circumstances import moment


class Approver(msgspec.Struct, kw_only=True, frozen=True):
    """Somebody who may answer a request, as far as policy and groups go."""

    human: Human
    groups: list[str]
    """The asked groups that they are a member of."""


def human(ports: Ports, principal: str) -> Human:
    """Return the human behind ``principal``, with the address of their newest login."""
    known = ports.store.person(principal)
    return Human(principal=principal, email=known.email if known else "")


def approver(ports: Ports, caller: AccessClaims, request: ApprovalRequest, source_ip: str) -> Approver:
    """Return the caller as an approver of ``request``, in some asked groups or in none. Raises Fault: login_stale, denied."""
    known = ports.store.person(caller.sub)
    age_s = ports.clock.now_ms() / 1000 - caller.iat
    if known is None or age_s > ports.settings.vote_login_s:
        raise Fault("login_stale", "Answering for others needs a recent login.", hint="Run: sallyport login")
    groups = sorted(set(caller.groups) & set(known.groups))
    who = Principal(name=caller.sub, groups=groups, mfa=caller.mfa)
    verdict = may_approve(ports, who, request, source_ip)
    if not verdict.allowed:
        hint = f"Decided by rule {verdict.rule}." if verdict.rule else ""
        raise Fault("denied", verdict.message, hint=hint, detail="; ".join(verdict.errors))
    wanted = {ask.group for ask in request.asks}
    return Approver(human=Human(principal=caller.sub, email=known.email or caller.email), groups=sorted(wanted & set(groups)))


def may_approve(ports: Ports, who: Principal, request: ApprovalRequest, source_ip: str) -> Verdict:
    """Ask policy whether ``who`` may answer ``request``."""
    policy = ports.policies.current()
    at = moment(ports.clock, login=request.login, source_ip=source_ip)
    return policy.approve(who, target_of(policy, request), at, request.principal)


def could_answer(ports: Ports, caller: AccessClaims, request: ApprovalRequest, source_ip: str) -> bool:
    """Tell whether the caller is one of those who are asked, by what their token says; a deed asks more closely."""
    if not {ask.group for ask in request.asks} & set(caller.groups):
        return False
    return may_approve(ports, caller.principal, request, source_ip).allowed


def may_see(ports: Ports, caller: AccessClaims, request: ApprovalRequest, source_ip: str) -> bool:
    """Tell whether a request exists for the caller: their own, one that they may answer, or any for administrators."""
    if request.principal == caller.sub or ports.settings.admin_group in caller.groups:
        return True
    return may_approve(ports, caller.principal, request, source_ip).allowed


def visible(ports: Ports, caller: AccessClaims, rid: str, source_ip: str) -> Case:
    """Return a request that the caller may see. Raises Fault(unknown_request), as if others did not exist."""
    case = ports.store.case(rid) if ids.is_id(ids.REQUEST, rid) else None
    if case is None or not may_see(ports, caller, case.request, source_ip):
        raise Fault("unknown_request", "There is no request of this name, or it is not yours to see.")
    return case


def target_of(policy: Policy, request: ApprovalRequest) -> Target:
    """Return the target as policy knows it now; one that is gone is asked about by what the request remembers of it."""
    return policy.document.target(request.target) or Target(
        name=request.target, protocol=request.protocol, agent=request.agent, address="", logins={}, default_login=""
    )
