"""Describe and Close, which run nothing; and the Describe that the gateway sends where no client did. Pure."""

from __future__ import annotations

from typing import Any

from agent.core.effects import Effect, Housekeep
from agent.core.units import Side
from agent.protocols.postgres import messages
from agent.protocols.postgres.codec import Message
from agent.protocols.postgres.expected import Expected, Kind, Portal
from agent.protocols.postgres.shared import Shared


def describe(shared: Shared, found: Message) -> list[Effect]:
    """Forward a Describe, and expect what it tells about columns."""
    named = messages.read_named(found.body)
    if named.kind == "S":
        expected = Expected(Kind.DESCRIBE_STATEMENT)
        expected.prepared = shared.statements.get(named.name)
    else:
        expected = Expected(Kind.DESCRIBE_PORTAL)
        expected.portal = shared.portals.get(named.name)
    for about in (expected.prepared, expected.portal):
        if about is not None:
            about.asked = True
    shared.queue.push(expected)
    return [Housekeep(Side.TARGET, found.raw)]


def described(shared: Shared, name: str, portal: Portal) -> list[Effect]:
    """Ask for the columns of the portal ``name`` where nobody did: rows without a description could not be masked."""
    if portal.asked or portal.prepared.asked or not portal.operations:
        return []
    portal.asked = True
    expected = shared.queue.push(Expected(Kind.DESCRIBE_PORTAL))
    expected.portal, expected.silent = portal, True
    return [Housekeep(Side.TARGET, messages.describe("P", name))]


def close(shared: Shared, found: Message) -> list[Effect]:
    """Forward a Close, and expect that the name is gone."""
    named = messages.read_named(found.body)
    names: Any = shared.statements if named.kind == "S" else shared.portals
    names.change(named.name, None)
    expected = shared.queue.push(Expected(Kind.CLOSE))
    expected.name = (named.kind, named.name)
    return [Housekeep(Side.TARGET, found.raw)]
