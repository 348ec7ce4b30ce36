"""Sealed originals: asking others about them, opening and erasing them."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.bootstrap import ports
from chalicelib.contracts.api_originals import EraseAsk, Erased, UnmaskAsk, Unmasked, UnmaskUse
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.capability import AccessClaims
from chalicelib.entrypoints.http import Call, people
from chalicelib.usecases.erase_originals import erase_originals
from chalicelib.usecases.request_originals import request_erasure, request_unmask
from chalicelib.usecases.unmask_session import unmask_session

bp = Blueprint(__name__)


@people(bp, "POST", "/sessions/{sid}/unmask")
def ask_unmask(call: Call, caller: AccessClaims) -> RequestStanding:
    """Ask that a session's originals are opened."""
    return request_unmask(ports(), caller, call.params["sid"], call.read(UnmaskAsk), call.source_ip)


@people(bp, "POST", "/requests/{rid}/unmask")
def unmask(call: Call, caller: AccessClaims) -> Unmasked:
    """Open them, under a yes."""
    return unmask_session(ports(), caller, call.params["rid"], call.read(UnmaskUse), call.source_ip)


@people(bp, "POST", "/originals/erasures")
def ask_erase(call: Call, caller: AccessClaims) -> RequestStanding:
    """Ask that a target's originals of one month are erased."""
    return request_erasure(ports(), caller, call.read(EraseAsk), call.source_ip)


@people(bp, "POST", "/requests/{rid}/erase")
def erase(call: Call, caller: AccessClaims) -> Erased:
    """Erase them, under a yes."""
    return erase_originals(ports(), caller, call.params["rid"], call.source_ip)
