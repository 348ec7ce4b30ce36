"""Tell people: right after the fact, and again with backoff until every channel took it or it is given up, visibly.

A notice is claimed before it is sent, so that two functions rarely send it twice; a channel that still sees it twice knows it by
its identifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from chalicelib.contracts.api_requests import DeadLetter, DeadLetters
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.audit_requests import RequestNotified
from chalicelib.ports import Conflict, Notice, Ports, Undelivered
from chalicelib.usecases.request_events import about

ATTEMPTS: Final = 10
#: Slack takes at most five answers to one press.
REPLIES: Final = 5
_FIRST_MS: Final = 30_000
_MOST_MS: Final = 60 * 60 * 1000
_BATCH: Final = 50
_LISTED: Final = 200
_ERROR_LIMIT: Final = 300


def deliver_notices(ports: Ports) -> int:
    """Try every notice that is due; return how many were delivered whole."""
    return deliver(ports, ports.store.due_notices(ports.clock.now_ms(), _BATCH))


def deliver(ports: Ports, notices: Sequence[Notice]) -> int:
    """Try ``notices`` once; return how many were delivered whole."""
    return sum(_deliver(ports, notice) for notice in notices)


def dead_letters(ports: Ports) -> DeadLetters:
    """Return what was given up."""
    found = ports.store.dead_notices(_LISTED)
    return DeadLetters(
        letters=[
            DeadLetter(
                nid=each.nid,
                rid=each.rid,
                about=each.about,
                channels=each.channels,
                attempts=each.attempts,
                time_ms=each.time_ms,
                error=each.error,
            )
            for each in found
        ]
    )


def _deliver(ports: Ports, notice: Notice) -> bool:
    case = ports.store.case(notice.rid) if notice.rid else None
    wait_ms = min(_FIRST_MS << notice.attempts, _MOST_MS)
    claimed = msgspec.structs.replace(notice, attempts=notice.attempts + 1, due_ms=ports.clock.now_ms() + wait_ms)
    try:
        ports.store.settle_notice(claimed, notice.attempts, [])
    except Conflict:
        return False  # another function has it
    if case is None and notice.rid:
        return False
    after, events = _send(ports, claimed, case.request if case else None)
    ports.store.settle_notice(after, claimed.attempts, events)
    return not after.channels


def _send(ports: Ports, notice: Notice, request: ApprovalRequest | None) -> tuple[Notice, list[AnyEvent]]:
    left, events, error = [], [], ""
    for channel in notice.channels:
        try:
            if notice.reply and request:
                ports.chat.show(notice.reply, request)
            else:
                ports.notifier.send(channel, notice, request)
        except Undelivered as undelivered:
            left.append(channel)
            error = str(undelivered)[:_ERROR_LIMIT]
        else:
            if request is None:
                continue  # the alert itself is the event
            events.append(
                about(ports, RequestNotified, request, "system", notice=notice.nid, channel=channel, about=notice.about)
            )
    dead = bool(left) and notice.attempts >= (REPLIES if notice.reply else ATTEMPTS)
    return msgspec.structs.replace(notice, channels=left, dead=dead, error=error), [*events]
