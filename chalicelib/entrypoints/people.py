"""What people do: see targets, open sessions, look at what was recorded."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.bootstrap import ports
from chalicelib.contracts.api import RecordingLinks, SessionOffer, SessionOpen, SessionPage, TargetList
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.session import Session
from chalicelib.entrypoints.http import Call, people
from chalicelib.usecases.list_sessions import Listing, list_sessions, view_session
from chalicelib.usecases.list_targets import list_targets
from chalicelib.usecases.open_session import open_session
from chalicelib.usecases.view_recording import Page, view_recording

bp = Blueprint(__name__)


@people(bp, "GET", "/targets")
def targets(call: Call, caller: AccessClaims) -> TargetList:
    """The targets that the caller may connect to, for ``?reason=`` where one is given."""
    return list_targets(ports(), caller, call.source_ip, call.query.get("reason", ""))


@people(bp, "POST", "/sessions")
def request_session(call: Call, caller: AccessClaims) -> SessionOffer:
    """Ask for a session."""
    return open_session(ports(), caller, call.read(SessionOpen), call.source_ip)


@people(bp, "GET", "/sessions")
def sessions(call: Call, caller: AccessClaims) -> SessionPage:
    """Sessions of a day, newest first."""
    return list_sessions(ports(), caller, call.ask(Listing), call.source_ip)


@people(bp, "GET", "/sessions/{sid}")
def session(call: Call, caller: AccessClaims) -> Session:
    """One session."""
    return view_session(ports(), caller, call.params["sid"], call.source_ip)


@people(bp, "GET", "/sessions/{sid}/recording")
def recording(call: Call, caller: AccessClaims) -> RecordingLinks:
    """Links to a recording; asking is an audit event."""
    return view_recording(ports(), caller, call.params["sid"], call.ask(Page), call.source_ip)
