"""The table's stream, as app.py delegates it. Delivery is at least once and in order; an error brings the whole batch again.

Both functions look at new audit events only; on AWS they are not invoked for anything else (infra/overlay.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chalicelib.bootstrap import ports
from chalicelib.contracts.audit import SessionEnded
from chalicelib.entrypoints.telemetry import LOG
from chalicelib.usecases.append_events import append_events
from chalicelib.usecases.seal_session import is_over, seal_session


def sequence(event: dict[str, Any]) -> int:
    """Append the batch's audit events to the transparency log; return how many were new to it."""
    appended = append_events(ports(), list(_events(event)))
    if appended:
        LOG.info("log.appended", extra={"appended": appended})
    return appended


def seal(event: dict[str, Any]) -> int:
    """Seal the sessions that ended; return how many manifests there are now."""
    sealed = 0
    for _, body in _events(event):
        # Other events, and those of newer versions, are not this function's.
        try:
            ended = msgspec.json.decode(body, type=SessionEnded)
        except msgspec.ValidationError:
            continue
        if is_over(ended):
            made = seal_session(ports(), ended)
            LOG.info("session.sealed" if made else "session.not_sealed", extra={"sid": ended.sid})
            sealed += made is not None
    return sealed


def _events(event: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    for record in event.get("Records", []):
        change = record.get("dynamodb", {})
        keys = change.get("Keys", {})
        if record.get("eventName") == "INSERT" and keys.get("pk", {}).get("S", "").startswith("EVENT#"):
            yield keys["sk"]["S"], change["NewImage"]["body"]["S"].encode()
