"""The words in which PostgreSQL says no: an ErrorResponse with an SQLSTATE, the policy's message and the rule. Pure."""

from __future__ import annotations

from agent.core.policy import Decision
from agent.core.reasons import unknown
from agent.core.sql.model import FLAGS, UNKNOWN_FLAGS
from agent.protocols.postgres import messages
from agent.protocols.postgres.classify import Unreadable
from chalicelib.contracts.faults import Notice
from chalicelib.contracts.operation import Operation

#: insufficient_privilege (PostgreSQL documentation, Appendix A).
INSUFFICIENT_PRIVILEGE = "42501"
#: query_canceled: whoever asked has pressed Ctrl-C.
_CANCELED = "57014"
_INVALID_AUTHORIZATION = "28000"
_STATES = {
    "target_unreachable": "08001",
    "target_timeout": "08001",
    "target_login": "28000",
    "target_closed": "08006",
    "target_protocol": "08P01",
    "target_unmaskable": "58000",
    "protocol_error": "08P01",
    "session_ended": "57P01",
    "session_expired": "57P01",
    "session_killed": "57P01",
    "recording_failed": "58030",
    "not_supported": "0A000",
    "ticket_invalid": "28P01",
    "agent_full": "53300",
    "spool_full": "53100",
    "agent_offline": "57P03",
}


def denial(decision: Decision, sid: str, denied: Operation | None = None) -> bytes:
    """Return the refusal of a statement by policy: of ``denied``, which says why its effects are not known."""
    rules = ", ".join(decision.verdict.rules)
    hint = f"Decided by rule {rules}. Session {sid}." if rules else f"Session {sid}."
    state = _CANCELED if decision.code == "approval_withdrawn" else INSUFFICIENT_PRIVILEGE
    detail = unknown(denied, FLAGS, UNKNOWN_FLAGS) if denied is not None else ""
    return messages.error("ERROR", state, f"sallyport: {decision.message}", hint=hint, detail=detail)


def refusal(why: Unreadable, sid: str) -> bytes:
    """Return the refusal of a text that the gateway lets nobody send."""
    if why.complaint:
        place = {"P": str(why.position)} if why.position else {}
        found = {"S": "ERROR", "V": "ERROR", "C": why.state, "M": why.complaint, **place, "F": "sallyport"}
        return messages.fields("E", found)
    return messages.error("ERROR", why.state, f"sallyport: {why.message}", hint=f"Session {sid}.")


def farewell(notice: Notice, sid: str) -> bytes:
    """Return the reason why a connection ends, or never began."""
    state = _STATES.get(notice.code, _INVALID_AUTHORIZATION)
    place = f"{notice.code}, {sid}" if sid else notice.code
    return messages.error("FATAL", state, f"sallyport: {notice.message} ({place})", hint=notice.hint)
