"""Requests as people see them: what waits for one's answer, one's own, and what became of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.api_requests import RequestPage, RequestStanding
from chalicelib.contracts.approval import OVER, RequestState
from chalicelib.contracts.audit_requests import RequestSeen
from chalicelib.contracts.capability import AccessClaims
from chalicelib.domain import approvals
from chalicelib.domain.approvals import Case
from chalicelib.ports import CaseQuery, Ports
from chalicelib.usecases.approvers import human, may_approve, may_see, visible
from chalicelib.usecases.listing import asked_day, bounded, check_query, page
from chalicelib.usecases.request_approval import standing
from chalicelib.usecases.request_events import about


class RequestListing(msgspec.Struct, kw_only=True, frozen=True):
    """The query of ``GET /requests``. An empty ``day`` is today (UTC); it is for ``history`` only."""

    view: Literal["inbox", "mine", "unreviewed", "history"] = "inbox"
    day: str = ""
    principal: str = ""
    target: str = ""
    state: str = ""
    limit: int = 50
    cursor: str = ""


def list_requests(ports: Ports, caller: AccessClaims, asked: RequestListing, source_ip: str) -> RequestPage:
    """Return at most ``limit`` requests, newest first.

    ``inbox`` is what waits for the caller's own answer, ``mine`` the caller's open ones, ``unreviewed`` emergencies that nobody
    has looked at, ``history`` everything of a day that the caller may see. Raises Fault(bad_request).
    """
    if asked.view == "history":
        return _history(ports, caller, asked, source_ip)
    now_ms = ports.clock.now_ms()
    tests: dict[str, Callable[[Case], bool]] = {
        "inbox": lambda case: waits_for(ports, caller, case, source_ip),
        "mine": lambda case: case.request.principal == caller.sub and approvals.as_of(case.request, now_ms).state not in OVER,
        "unreviewed": lambda case: case.request.unreviewed and may_see(ports, caller, case.request, source_ip),
    }
    found = [approvals.as_of(case.request, now_ms) for case in ports.store.open_cases() if tests[asked.view](case)]
    return RequestPage(requests=sorted(found, key=lambda each: each.rid, reverse=True)[: bounded(asked.limit)])


def view_request(ports: Ports, caller: AccessClaims, rid: str, source_ip: str) -> RequestStanding:
    """Return one request. That somebody else looked is an audit event, once. Raises Fault(unknown_request)."""
    case = visible(ports, caller, rid, source_ip)
    if case.request.principal != caller.sub:
        event = about(ports, RequestSeen, case.request, caller.sub, state=str(case.request.state))
        ports.store.see_case(rid, caller.sub, event)
    found = standing(ports, case)
    return msgspec.structs.replace(found, request=approvals.as_of(found.request, ports.clock.now_ms()))


def waits_for(ports: Ports, caller: AccessClaims, case: Case, source_ip: str) -> bool:
    """Tell whether the caller's answer would bring the request further, by what their token says."""
    request = case.request
    if request.state is not RequestState.PENDING or ports.clock.now_ms() >= request.deadline_ms:
        return False
    me = human(ports, caller.sub)
    if any(me.is_also(other) for other in [case.asker, *case.voters]):
        return False
    if not set(approvals.missing(request.asks, request.votes)) & set(caller.groups):
        return False
    return may_approve(ports, caller.principal, request, source_ip).allowed


def _history(ports: Ports, caller: AccessClaims, asked: RequestListing, source_ip: str) -> RequestPage:
    check_query(asked.principal, asked.target, asked.state, cursor=asked.cursor, kind=ids.REQUEST)
    day = asked_day(ports.clock, asked.day)
    # A row says that its time is over once the reaper came by; until then it is found under what it was.
    state = "" if asked.state == RequestState.EXPIRED else asked.state
    query = CaseQuery(day=day, principal=asked.principal, target=asked.target, state=state)
    now_ms = ports.clock.now_ms()

    def wanted(case: Case) -> bool:
        is_so = asked.state in ("", approvals.as_of(case.request, now_ms).state)
        return is_so and may_see(ports, caller, case.request, source_ip)

    cases, cursor = page(
        lambda limit, cursor: ports.store.cases(query, limit, cursor), wanted, bounded(asked.limit), asked.cursor
    )
    return RequestPage(requests=[approvals.as_of(case.request, now_ms) for case in cases], cursor=cursor)
