"""The approvers' pages: what waits for one's answer, one request with its two buttons, and what was decided.

A link decides nothing: it opens a page, and only a form of that page, sent by whoever is logged in there, is an answer. That
somebody else than its owner read a request is an audit event; nothing else follows from reading.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Any, Final

from chalice.app import Blueprint, Response

from chalicelib.bootstrap import ports
from chalicelib.contracts.api_requests import Ballot, RequestEnd, RequestStanding, ReviewGiven
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.domain import approvals
from chalicelib.entrypoints import page_words
from chalicelib.entrypoints.http import Call, public
from chalicelib.entrypoints.web import (
    LOGIN,
    LOGIN_S,
    SESSION,
    STATIC,
    WEB,
    Visit,
    csrf,
    deed,
    door,
    nothing_new,
    page,
    redirect,
    render,
    set_cookie,
)
from chalicelib.usecases.approvers import human, visible
from chalicelib.usecases.end_request import may_revoke, revoke_request, withdraw_request
from chalicelib.usecases.list_requests import RequestListing, list_requests, view_request, waits_for
from chalicelib.usecases.listing import asked_day
from chalicelib.usecases.log_out import log_out
from chalicelib.usecases.request_approval import standing
from chalicelib.usecases.review_emergency import may_review, review_emergency
from chalicelib.usecases.start_login import HOME, start_browser_login
from chalicelib.usecases.vote import vote

bp = Blueprint(__name__)

_PAGE_ROWS: Final = 50
#: Faults of an answer that are told beside the request they are about.
_BESIDE: Final = frozenset(
    {
        "own_request",
        "voted_already",
        "approval_over",
        "approval_pending",
        "approval_expired",
        "approval_mismatch",
        "denied",
        "bad_request",
        "too_large",
        "conflict",
    }
)


@public(bp, "GET", "/static/{name}")
def static(call: Call) -> Response:
    """Style sheet and scripts. A name that is not listed is no file."""
    kind = STATIC.get(call.params["name"])
    if kind is None:
        raise Fault("not_found", "There is no such file.")
    headers: dict[str, str | list[str]] = {
        "Content-Type": kind,
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response((WEB / "static" / call.params["name"]).read_text(), status_code=200, headers=headers)


@page(bp, "/")
def front(visit: Visit) -> Response:
    """The gateway's own address, as somebody types it."""
    return redirect(HOME)


@page(bp, "/approvals")
def inbox(visit: Visit) -> Response:
    """What waits for the caller's answer, and what the caller waits for."""
    return render("inbox.html", who=visit.who.sub, csrf=csrf(visit.cookie), **_lists(visit))


@page(bp, "/approvals/list")
def inbox_part(visit: Visit) -> Response:
    """The same lists, if they are not what the page shows already."""
    found = _lists(visit)
    return nothing_new() if visit.call.query.get("v") == found["seen"] else render("_lists.html", **found)


@page(bp, "/approvals/decided")
def decided(visit: Visit) -> Response:
    """What became of the requests of a day."""
    query = visit.call.query
    day = asked_day(ports().clock, query.get("day", ""))
    asked = RequestListing(view="history", day=day, limit=_PAGE_ROWS, cursor=query.get("cursor", ""))
    found = list_requests(ports(), visit.who, asked, visit.call.source_ip)
    date, today = dt.date.fromisoformat(day), asked_day(ports().clock, "")
    rows = [(each, _state(each)) for each in found.requests]
    return render(
        "decided.html",
        who=visit.who.sub,
        csrf=csrf(visit.cookie),
        day=day,
        rows=[(request, state) for request, state in rows if state != "pending"],
        before=(date - dt.timedelta(days=1)).isoformat() if date > dt.date(1970, 1, 1) else "",
        after=(date + dt.timedelta(days=1)).isoformat() if day < today else "",
        cursor=found.cursor,
    )


@page(bp, "/approvals/{rid}")
def request_page(visit: Visit) -> Response:
    """One request. That somebody else looked is an audit event, once."""
    view_request(ports(), visit.who, visit.call.params["rid"], visit.call.source_ip)
    return _request(visit)


@page(bp, "/approvals/{rid}/now")
def request_part(visit: Visit) -> Response:
    """Where a request stands, if that is not what the page shows already."""
    found = _standing(visit)
    return nothing_new() if visit.call.query.get("v") == found["seen"] else render("_standing.html", **found)


@deed(bp, "/approvals/{rid}/answer")
def answer_request(visit: Visit) -> Response:
    """Yes or no, to exactly what the page showed."""

    def answer(rid: str, comment: str) -> None:
        given = _one_of(visit, "answer", "approve", "deny")
        if given == "deny" and not comment:
            raise Fault("bad_request", "A denial needs a reason. Whoever asked reads it.")
        ballot = Ballot(approve=given == "approve", digest=visit.form.get("digest", ""), comment=comment)
        vote(ports(), visit.who, rid, ballot, visit.call.source_ip)

    return _done(visit, answer)


@deed(bp, "/approvals/{rid}/withdraw")
def withdraw(visit: Visit) -> Response:
    """Whoever asked does not want it any more."""
    return _done(visit, lambda rid, _: withdraw_request(ports(), visit.who, rid, visit.call.source_ip))


@deed(bp, "/approvals/{rid}/revoke")
def revoke(visit: Visit) -> Response:
    """A yes is taken back, and the sessions under it end."""
    return _done(
        visit,
        lambda rid, comment: revoke_request(ports(), visit.who, rid, RequestEnd(comment=comment), visit.call.source_ip),
    )


@deed(bp, "/approvals/{rid}/review")
def review(visit: Visit) -> Response:
    """Somebody else looks at an emergency afterwards."""

    def judge(rid: str, comment: str) -> None:
        given = _one_of(visit, "answer", "justified", "unjustified")
        if not comment:
            raise Fault("bad_request", "A review needs a note. It stays with the emergency.")
        said = ReviewGiven(justified=given == "justified", comment=comment)
        review_emergency(ports(), visit.who, rid, said, visit.call.source_ip)

    return _done(visit, judge)


@door(bp, "/login/browser")
def enter(visit: Visit) -> Response:
    """Begin a login that ends on a page of ours.

    The way to the identity provider is a page that goes on by itself and not a redirect: browsers hold redirects of a form
    against ``form-action``, and a provider may redirect to others that nobody here can list.
    """
    url, secret = start_browser_login(ports(), visit.form.get("onward", ""))
    return render("leaving.html", 200, {"Set-Cookie": set_cookie(LOGIN, secret, LOGIN_S)}, url=url)


@deed(bp, "/logout/browser")
def leave(visit: Visit) -> Response:
    """End the browser's session: its token is refused from now on, wherever it was copied to."""
    log_out(ports(), visit.who)
    return redirect(HOME, set_cookie(SESSION, "", 0))


def _done(visit: Visit, act: Callable[[str, str], object]) -> Response:
    """Do it, and go back to the request's page; what is wrong with it is told there."""
    rid, comment = visit.call.params["rid"], visit.form.get("comment", "").strip()
    try:
        act(rid, comment)
    except Fault as fault:
        if fault.code not in _BESIDE:
            raise
        return _request(visit, fault.notice, fault.kind.status, comment)
    return redirect(f"{HOME}/{rid}")


def _one_of(visit: Visit, field: str, *choices: str) -> str:
    given = visit.form.get(field, "")
    if given not in choices:
        raise Fault("bad_request", "Choose one of the two buttons.")
    return given


def _lists(visit: Visit) -> dict[str, Any]:
    rows = {
        view: list_requests(ports(), visit.who, RequestListing(view=view, limit=_PAGE_ROWS), visit.call.source_ip).requests
        for view in ("inbox", "mine", "unreviewed")
    }
    now_ms = ports().clock.now_ms()
    rows["mine"] = [each for each in rows["mine"] if page_words.state_as_of(each, now_ms) in ("pending", "approved")]
    text = "|".join(f"{view}:{each.rid}:{each.version}" for view, found in rows.items() for each in found)
    return {**rows, "now_ms": now_ms, "seen": hashlib.sha256(text.encode()).hexdigest()[:16]}


def _state(request: ApprovalRequest) -> str:
    return page_words.state_as_of(request, ports().clock.now_ms())


def _request(visit: Visit, fault: Notice | None = None, status: int = 200, comment: str = "") -> Response:
    return render("request.html", status, who=visit.who.sub, fault=fault, **_standing(visit, comment))


def _standing(visit: Visit, comment: str = "") -> dict[str, Any]:
    case = visible(ports(), visit.who, visit.call.params["rid"], visit.call.source_ip)
    found: RequestStanding = standing(ports(), case)
    request, state = found.request, _state(found.request)
    mine = human(ports(), visit.who.sub).is_also(case.asker)
    answers = not mine and waits_for(ports(), visit.who, case, visit.call.source_ip)
    revokes = may_revoke(ports(), visit.who, request, visit.call.source_ip)
    reviews = may_review(ports(), visit.who, case, visit.call.source_ip)
    offers = "".join(letter for letter, offered in zip("avr", (answers, revokes, reviews), strict=True) if offered)
    needed = approvals.places(request.asks)
    return {
        "request": request,
        "state": state,
        "missing": found.missing,
        "needed": [(group, needed.count(group)) for group in dict.fromkeys(needed)],
        "mine": mine,
        "voted": any(each.voter == visit.who.sub for each in request.votes),
        "answers": answers,
        "withdraws": request.principal == visit.who.sub and state == "pending",
        "revokes": revokes,
        "reviews": reviews,
        "now_ms": ports().clock.now_ms(),
        "seen": f"{request.version}-{state}-{offers}",
        "csrf": csrf(visit.cookie),
        "comment": comment,
    }
