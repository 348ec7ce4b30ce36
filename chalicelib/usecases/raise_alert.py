"""An alert about evidence: an audit event, and the administrators told through every channel; once for each thing."""

from __future__ import annotations

import hashlib

from chalicelib.contracts import ids
from chalicelib.contracts.audit import AnyEvent
from chalicelib.ports import Notice, Ports
from chalicelib.usecases.minting import mint


def raise_alert(ports: Ports, thing: str, event: AnyEvent, text: str) -> bool:
    """Store ``event`` and tell the administrators ``text``, unless ``thing`` was told before; return whether it was new."""
    now_ms = ports.clock.now_ms()
    channels = ports.notifier.channels()
    notice = Notice(
        nid=mint(ports.clock, ids.NOTICE),
        rid="",
        about="evidence",
        groups=[ports.settings.admin_group],
        time_ms=now_ms,
        channels=channels,
        due_ms=now_ms,
        text=text,
    )
    return ports.store.alert(hashlib.sha256(thing.encode()).hexdigest(), event, [notice] if channels else [])
