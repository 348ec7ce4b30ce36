"""``POST /config/apply``: a new immutable version decides from now on, and every connected agent is told."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from chalicelib.contracts import ids, relay
from chalicelib.contracts.api import Change, ConfigFiles, ConfigPlan
from chalicelib.contracts.audit import ConfigApplied
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain import plan
from chalicelib.ports import Conflict, Ports
from chalicelib.usecases.minting import mint
from chalicelib.usecases.plan_config import checked_draft

_SUMMARY_LIMIT: Final = 500


def apply_config(ports: Ports, caller: AccessClaims, asked: ConfigFiles) -> ConfigPlan:
    """Return what changed; ``version`` is the new one. Raises Refused, Fault(config_conflict). Nothing changes when it raises."""
    now = ports.policies.current().document
    if asked.expected_version is not None and asked.expected_version != now.version:
        raise _conflict(now.version)
    draft = checked_draft(ports, asked.files, now.version + 1)
    changes = plan.changes(now, draft.document, ports.settings.keeping)
    event = ConfigApplied(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=caller.sub,
        version=draft.document.version,
        previous=now.version,
        digest=hashlib.sha256(msgspec.json.encode(draft.document)).hexdigest(),
        summary=_summary(changes),
    )
    try:
        ports.store.apply_config(draft.document, asked.files, event)
    except Conflict:
        raise _conflict(ports.store.config_version()) from None
    _refresh(ports, draft.document.version)
    return ConfigPlan(version=draft.document.version, changes=changes, warnings=draft.warnings)


def _refresh(ports: Ports, version: int) -> None:
    message = relay.encode(relay.Refresh(str(version)))
    for agent in ports.store.agents():
        if agent.connection and not ports.downlink.post(agent.connection, message):
            ports.store.connection_closed(agent.connection)


def _summary(changes: list[Change]) -> list[str]:
    lines = [f"{change.sign} {change.what}" for change in changes[:_SUMMARY_LIMIT]]
    more = len(changes) - len(lines)
    return [*lines, f"and {more} more"] if more > 0 else lines


def _conflict(version: int) -> Fault:
    return Fault("config_conflict", f"Version {version} is in force now; somebody else applied it.", hint="Run: sallyport plan")
