"""What people do about sessions that go on: end them, watch them."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.bootstrap import ports
from chalicelib.contracts.api_live import SessionKill, SessionKilled, WatchOffer
from chalicelib.contracts.capability import AccessClaims
from chalicelib.entrypoints.http import Call, people
from chalicelib.usecases.kill_session import kill_session
from chalicelib.usecases.watch_session import watch_session

bp = Blueprint(__name__)


@people(bp, "POST", "/sessions/{sid}/watch")
def watch(call: Call, caller: AccessClaims) -> WatchOffer:
    """A ticket to look on while a session goes on; an audit event is stored before it exists."""
    return watch_session(ports(), caller, call.params["sid"], call.source_ip)


@people(bp, "POST", "/sessions/{sid}/kill")
def kill(call: Call, caller: AccessClaims) -> SessionKilled:
    """End a session that goes on; asking again tells where that stands."""
    return kill_session(ports(), caller, call.params["sid"], call.read(SessionKill), call.source_ip)
