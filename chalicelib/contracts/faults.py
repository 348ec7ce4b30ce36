"""Faults: what can go wrong, whose it is, and what its owner is told.

A fault has one of three owners: the client's, the target's, or the gateway's. The first two are expected; they carry a stable
code and may be explained to their owner. The third is a bug of ours: it is logged whole and told as a code. A denial by policy is
a *verdict*, but it travels to people through the same shape so that every client prints one kind of message.

``CODES`` is the whole list: a code that is not in it cannot be raised. A code is never renamed or reused; add new ones instead.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

Owner = Literal["client", "target", "gateway"]


class Kind(NamedTuple):
    """What a code means: its owner, the HTTP status it travels with, and the exit status of the command line."""

    owner: Owner
    status: int
    exit: int


#: Exit statuses of the command line, documented in docs/reference/exit-codes.md.
EXIT_USAGE: Final = 2
EXIT_DENIED: Final = 126
EXIT_LOGIN: Final = 3
EXIT_NOT_FOUND: Final = 4
EXIT_UNAVAILABLE: Final = 5
EXIT_REFUSED: Final = 6
EXIT_EVIDENCE: Final = 7
EXIT_GATEWAY: Final = 70

CODES: Final[dict[str, Kind]] = {
    # who you are
    "login_required": Kind("client", 401, EXIT_LOGIN),
    "token_invalid": Kind("client", 401, EXIT_LOGIN),
    "token_expired": Kind("client", 401, EXIT_LOGIN),
    "token_revoked": Kind("client", 401, EXIT_LOGIN),
    "login_failed": Kind("client", 401, EXIT_LOGIN),
    "login_expired": Kind("client", 400, EXIT_LOGIN),
    "identity_unverified": Kind("client", 403, EXIT_LOGIN),
    # what you may do
    "denied": Kind("client", 403, EXIT_DENIED),
    "hold_unavailable": Kind("client", 403, EXIT_DENIED),
    "not_supported": Kind("client", 403, EXIT_DENIED),
    "shell_unguarded": Kind("target", 502, EXIT_DENIED),
    # approvals
    "approval_required": Kind("client", 403, EXIT_DENIED),
    "approval_unneeded": Kind("client", 409, EXIT_REFUSED),
    "approval_mismatch": Kind("client", 403, EXIT_DENIED),
    "approval_pending": Kind("client", 409, EXIT_DENIED),
    "approval_denied": Kind("client", 403, EXIT_DENIED),
    "approval_expired": Kind("client", 410, EXIT_DENIED),
    "approval_withdrawn": Kind("client", 409, EXIT_DENIED),
    "approval_used": Kind("client", 409, EXIT_DENIED),
    "approval_revoked": Kind("client", 410, EXIT_DENIED),
    "approval_over": Kind("client", 409, EXIT_REFUSED),
    "own_request": Kind("client", 403, EXIT_DENIED),
    "key_reused": Kind("client", 422, EXIT_REFUSED),
    "voted_already": Kind("client", 409, EXIT_REFUSED),
    "too_many": Kind("client", 429, EXIT_REFUSED),
    "signature_invalid": Kind("client", 401, EXIT_REFUSED),
    "login_stale": Kind("client", 401, EXIT_LOGIN),
    "unknown_request": Kind("client", 404, EXIT_NOT_FOUND),
    "reason_required": Kind("client", 400, EXIT_USAGE),
    # what you asked for
    "bad_request": Kind("client", 400, EXIT_USAGE),
    "too_large": Kind("client", 413, EXIT_USAGE),
    "not_found": Kind("client", 404, EXIT_NOT_FOUND),
    "unknown_target": Kind("client", 404, EXIT_NOT_FOUND),
    "unknown_login": Kind("client", 404, EXIT_NOT_FOUND),
    "unknown_session": Kind("client", 404, EXIT_NOT_FOUND),
    "conflict": Kind("client", 409, EXIT_REFUSED),
    "config_invalid": Kind("client", 422, EXIT_REFUSED),
    "config_unenforceable": Kind("client", 422, EXIT_REFUSED),
    "config_conflict": Kind("client", 409, EXIT_REFUSED),
    # tickets and sessions
    "ticket_invalid": Kind("client", 401, EXIT_REFUSED),
    "ticket_expired": Kind("client", 401, EXIT_REFUSED),
    "ticket_used": Kind("client", 409, EXIT_REFUSED),
    "ticket_mismatch": Kind("client", 403, EXIT_REFUSED),
    "session_ended": Kind("client", 409, EXIT_REFUSED),
    "session_expired": Kind("client", 410, EXIT_REFUSED),
    "session_killed": Kind("client", 410, EXIT_REFUSED),
    "handshake_timeout": Kind("client", 408, EXIT_REFUSED),
    "protocol_error": Kind("client", 400, EXIT_REFUSED),
    "certificate_invalid": Kind("client", 401, EXIT_LOGIN),
    # agents
    "enrolment_invalid": Kind("client", 401, EXIT_REFUSED),
    "agent_unknown": Kind("client", 401, EXIT_REFUSED),
    "agent_proof_invalid": Kind("client", 401, EXIT_REFUSED),
    "agent_offline": Kind("gateway", 503, EXIT_UNAVAILABLE),
    "agent_full": Kind("gateway", 503, EXIT_UNAVAILABLE),
    "spool_full": Kind("gateway", 503, EXIT_UNAVAILABLE),
    "agent_unverified": Kind("gateway", 502, EXIT_REFUSED),
    # targets
    "target_unreachable": Kind("target", 502, EXIT_UNAVAILABLE),
    "target_host_key": Kind("target", 502, EXIT_UNAVAILABLE),
    "target_login": Kind("target", 502, EXIT_UNAVAILABLE),
    "target_timeout": Kind("target", 504, EXIT_UNAVAILABLE),
    "target_closed": Kind("target", 502, EXIT_UNAVAILABLE),
    "target_protocol": Kind("target", 502, EXIT_UNAVAILABLE),
    "target_unmaskable": Kind("target", 502, EXIT_UNAVAILABLE),
    "credential_missing": Kind("gateway", 500, EXIT_UNAVAILABLE),
    # evidence
    "chunk_invalid": Kind("client", 400, EXIT_REFUSED),
    "chunk_conflict": Kind("client", 409, EXIT_REFUSED),
    "recording_failed": Kind("gateway", 500, EXIT_UNAVAILABLE),
    "masking_failed": Kind("gateway", 500, EXIT_UNAVAILABLE),
    "log_inconsistent": Kind("gateway", 503, EXIT_EVIDENCE),
    "log_overdue": Kind("gateway", 503, EXIT_UNAVAILABLE),
    "evidence_altered": Kind("gateway", 500, EXIT_EVIDENCE),
    # sealed originals
    "originals_none": Kind("client", 404, EXIT_NOT_FOUND),
    "originals_erased": Kind("client", 410, EXIT_REFUSED),
    "originals_mismatch": Kind("client", 403, EXIT_REFUSED),
    "originals_unavailable": Kind("gateway", 503, EXIT_UNAVAILABLE),
    "log_behind": Kind("gateway", 503, EXIT_UNAVAILABLE),
    # the way there
    "tunnel_refused": Kind("gateway", 502, EXIT_UNAVAILABLE),
    "tunnel_lost": Kind("gateway", 502, EXIT_UNAVAILABLE),
    "tunnel_aborted": Kind("gateway", 502, EXIT_UNAVAILABLE),
    "tunnel_protocol": Kind("client", 400, EXIT_REFUSED),
    "route_invalid": Kind("client", 403, EXIT_REFUSED),
    "control_plane_unreachable": Kind("gateway", 503, EXIT_UNAVAILABLE),
    "identity_provider": Kind("gateway", 502, EXIT_UNAVAILABLE),
    "internal": Kind("gateway", 500, EXIT_GATEWAY),
}

MESSAGE_LIMIT: Final = 1_000


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fault as it travels: a stable code, one short true sentence, and a next step where there is one."""

    code: str
    message: str
    hint: str = ""


class Fault(Exception):  # noqa: N818 - "fault" is the field's term; an error is what Python raises by itself
    """A fault with a stable code. ``message`` and ``hint`` are written for its owner; ``detail`` is only ever logged."""

    def __init__(self, code: str, message: str, *, hint: str = "", detail: str = "") -> None:
        self.kind = CODES[code]
        self.code = code
        self.message = message[:MESSAGE_LIMIT]
        self.hint = hint[:MESSAGE_LIMIT]
        self.detail = detail
        super().__init__(f"{code}: {self.message}")

    @property
    def notice(self) -> Notice:
        """The part of the fault that may leave the process."""
        return Notice(self.code, self.message, self.hint)


def exit_status(code: str) -> int:
    """Return the command line's exit status for ``code``; an unknown code (from a newer gateway) is the gateway's fault."""
    kind = CODES.get(code)
    return kind.exit if kind else EXIT_GATEWAY
