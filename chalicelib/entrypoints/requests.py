"""Approval requests: what people ask for, answer, take back and review, and what agents ask for and use inside sessions."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.bootstrap import ports
from chalicelib.contracts.api_requests import (
    AccessAsk,
    ApprovalUse,
    ApprovalUsed,
    Ballot,
    DeadLetters,
    OperationAsk,
    RequestEnd,
    RequestPage,
    RequestStanding,
    ReviewGiven,
)
from chalicelib.contracts.capability import AccessClaims
from chalicelib.entrypoints.http import Call, administrators, agents, people
from chalicelib.ports import Agent
from chalicelib.usecases.deliver_notices import dead_letters
from chalicelib.usecases.end_request import of_session, revoke_request, withdraw_operation, withdraw_request
from chalicelib.usecases.list_requests import RequestListing, list_requests, view_request
from chalicelib.usecases.request_approval import request_access, request_operation, standing
from chalicelib.usecases.review_emergency import review_emergency
from chalicelib.usecases.use_approval import use_approval
from chalicelib.usecases.vote import vote

bp = Blueprint(__name__)


@people(bp, "POST", "/requests")
def ask(call: Call, caller: AccessClaims) -> RequestStanding:
    """Ask for access to a target."""
    return request_access(ports(), caller, call.read(AccessAsk), call.source_ip)


@people(bp, "GET", "/requests")
def requests(call: Call, caller: AccessClaims) -> RequestPage:
    """Requests: what waits for the caller, the caller's own, a day's."""
    return list_requests(ports(), caller, call.ask(RequestListing), call.source_ip)


@people(bp, "GET", "/requests/{rid}")
def request(call: Call, caller: AccessClaims) -> RequestStanding:
    """One request; that somebody else looked is an audit event."""
    return view_request(ports(), caller, call.params["rid"], call.source_ip)


@people(bp, "POST", "/requests/{rid}/votes")
def answer(call: Call, caller: AccessClaims) -> RequestStanding:
    """Say yes or no."""
    return vote(ports(), caller, call.params["rid"], call.read(Ballot), call.source_ip)


@people(bp, "POST", "/requests/{rid}/withdraw")
def withdraw(call: Call, caller: AccessClaims) -> RequestStanding:
    """Do not want it any more."""
    return withdraw_request(ports(), caller, call.params["rid"], call.source_ip)


@people(bp, "POST", "/requests/{rid}/revoke")
def revoke(call: Call, caller: AccessClaims) -> RequestStanding:
    """Take a yes back, and end the sessions under it."""
    return revoke_request(ports(), caller, call.params["rid"], call.read(RequestEnd), call.source_ip)


@people(bp, "POST", "/requests/{rid}/review")
def review(call: Call, caller: AccessClaims) -> RequestStanding:
    """Look at an emergency afterwards."""
    return review_emergency(ports(), caller, call.params["rid"], call.read(ReviewGiven), call.source_ip)


@administrators(bp, "GET", "/notifications/dead")
def dead(call: Call, caller: AccessClaims) -> DeadLetters:
    """What no attempt could deliver."""
    return dead_letters(ports())


@agents(bp, "POST", "/agent/sessions/{sid}/requests")
def ask_inside(call: Call, agent: Agent) -> RequestStanding:
    """Ask for one operation that waits inside a session."""
    return request_operation(ports(), agent, call.params["sid"], call.read(OperationAsk))


@agents(bp, "GET", "/agent/sessions/{sid}/requests/{rid}")
def request_inside(call: Call, agent: Agent) -> RequestStanding:
    """What became of it; with the capability once it is approved."""
    return standing(ports(), of_session(ports(), agent, call.params["sid"], call.params["rid"]), agent)


@agents(bp, "POST", "/agent/sessions/{sid}/requests/{rid}/withdraw")
def withdraw_inside(call: Call, agent: Agent) -> RequestStanding:
    """Its owner gave up."""
    return withdraw_operation(ports(), agent, call.params["sid"], call.params["rid"])


@agents(bp, "POST", "/agent/sessions/{sid}/requests/{rid}/use")
def use(call: Call, agent: Agent) -> ApprovalUsed:
    """Count a use, before the operation runs."""
    return use_approval(ports(), agent, call.params["sid"], call.params["rid"], call.read(ApprovalUse))
