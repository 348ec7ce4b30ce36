"""The audit events of requests, and the notices that stand beside them in the same transaction."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from chalicelib.contracts import ids
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.audit_requests import RequestAsked, RequestEvent
from chalicelib.domain import approvals
from chalicelib.ports import Notice, Ports
from chalicelib.usecases.minting import mint

E = TypeVar("E", bound=RequestEvent)

TEXT_LIMIT: Final = 4_000
#: The channel of a notice that goes back to where a button was pressed; no deployment is asked whether it has it.
REPLY: Final = "slack-reply"
#: Whom a notice is for: those who can do something about it, or the one who waits.
_TO_GROUPS: Final = frozenset({"asked", "emergency", "withdrawn"})


def about(ports: Ports, kind: type[E], request: ApprovalRequest, actor: str, /, **fields: Any) -> E:
    """Return an event about ``request`` that happens now."""
    return kind(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=actor,
        rid=request.rid,
        target=request.target,
        principal=request.principal,
        **fields,
    )


def asked(ports: Ports, request: ApprovalRequest) -> RequestAsked:
    """Return the event of a new request."""
    return about(
        ports,
        RequestAsked,
        request,
        request.principal,
        kind=request.kind,
        sid=request.sid,
        login=request.login,
        text=(request.operation.text if request.operation else request.matter)[:TEXT_LIMIT],
        digest=request.digest,
        reason=request.reason,
        rules=request.rules,
        groups=approvals.places(request.asks),
        policy_version=request.policy_version,
        deadline_ms=request.deadline_ms,
        for_s=request.for_s,
        uses=request.uses,
        emergency=request.emergency,
    )


def notices(ports: Ports, request: ApprovalRequest, what: str) -> list[Notice]:
    """Return what people are to be told: one notice, or none where this deployment has no channel."""
    channels = ports.notifier.channels()
    if not channels:
        return []
    now_ms = ports.clock.now_ms()
    groups = sorted({ask.group for ask in request.asks}) if what in _TO_GROUPS else []
    return [
        Notice(
            nid=mint(ports.clock, ids.NOTICE),
            rid=request.rid,
            about=what,
            groups=groups,
            people=[] if groups else [request.principal],
            time_ms=now_ms,
            channels=channels,
            due_ms=now_ms,
        )
    ]


def reply(ports: Ports, request: ApprovalRequest, to: str) -> Notice:
    """Return what brings the message that was answered in a chat up to date."""
    now_ms = ports.clock.now_ms()
    return Notice(
        nid=mint(ports.clock, ids.NOTICE),
        rid=request.rid,
        about=str(request.state),
        time_ms=now_ms,
        channels=[REPLY],
        due_ms=now_ms,
        reply=to,
    )
