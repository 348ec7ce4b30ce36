"""Words and numbers as pages show them."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.domain.approvals import as_of
from chalicelib.domain.notice_words import span
from chalicelib.domain.plain_text import one_line, shown

STATES: Final = {
    "pending": "Waiting for an answer",
    "approved": "Approved",
    "denied": "Denied",
    "withdrawn": "Withdrawn",
    "expired": "Expired",
    "revoked": "Taken back",
    "used": "Approved and used",
}


def moment(time_ms: int) -> str:
    """``2026-11-21 02:31:07 UTC``."""
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(time_ms: int) -> str:
    """The same for machines."""
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def brief(request: ApprovalRequest) -> str:
    """What a request is for, in one bounded line."""
    if request.matter:
        return one_line(request.matter, 120)
    if request.operation is None:
        return one_line(f"Access as {request.login}{f' for {span(request.for_s)}' if request.for_s else ''}", 120)
    return one_line(request.operation.text, 120)


def state_as_of(request: ApprovalRequest, now_ms: int) -> str:
    """The request's state; one whose time is over is expired, also before a row says so."""
    return str(as_of(request, now_ms).state)


def state_words(state: str) -> str:
    """A state in words; one of a newer gateway by its name."""
    return STATES.get(state, state)


def line(text: str) -> str:
    """Other people's text in a row of a table."""
    return one_line(text, 120)


FILTERS: Final[dict[str, Any]] = {
    "moment": moment,
    "iso": iso,
    "span": span,
    "brief": brief,
    "shown": shown,
    "line": line,
    "state_words": state_words,
}
