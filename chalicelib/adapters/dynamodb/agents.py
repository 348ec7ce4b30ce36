"""Agents and their one-time tokens.

``AGENT#<name>`` is the agent that has the name *now*: enrolling again overwrites it. ``AGENTID#<id>`` says which name and which
keys an identifier was enrolled with, which never changes; so the name is read once per container and then remembered, and the
evidence that a replaced agent still holds can be told from a stranger's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chalicelib.adapters.dynamodb.evidence import recording
from chalicelib.adapters.dynamodb.table import Row, Table, fields, struct, ttl
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.gateway import Protocol
from chalicelib.ports import Agent, Conflict, Connection, Enrolment

_SOCKET_TTL_MS = 130 * 60 * 1000


class Agents:
    """What the table knows of agents."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._names: dict[str, str] = {}

    def save_enrolment(self, enrolment: Enrolment, event: AnyEvent) -> None:
        """Keep a one-time token."""
        row = fields(enrolment) | {"pk": f"ENROL#{enrolment.token_sha256}", "sk": "A", "ttl": ttl(enrolment.expires_ms)}
        self._table.write([self._table.creating(row), recording(self._table, event)])

    def find_enrolment(self, token_sha256: str, now_ms: int) -> Enrolment | None:
        """Return a one-time token that is still good, without using it."""
        row = self._table.get(f"ENROL#{token_sha256}")
        return msgspec.convert(row, Enrolment) if row and row["expires_ms"] > now_ms else None

    def enrol(self, token_sha256: str, agent: Agent, event: AnyEvent) -> None:
        """Use the token and store the agent in one transaction. Raises Conflict if the token is gone."""
        self._table.write(
            [
                self._table.deleting(f"ENROL#{token_sha256}", "A", "attribute_exists(pk)"),
                self._table.putting(_row(agent)),
                self._table.creating(_enrolled(agent)),
                recording(self._table, event),
            ]
        )

    def agent(self, agent_id: str) -> Agent | None:
        """Return an agent by identifier. A replaced agent is not returned."""
        name = self._name(agent_id)
        found = self.agent_named(name) if name else None
        return found if found and found.agent_id == agent_id else None

    def custodian(self, agent_id: str) -> Agent | None:
        """Return an agent by identifier, also one that was replaced."""
        if found := self.agent(agent_id):
            return found
        row = self._table.get(f"AGENTID#{agent_id}")
        # Rows of an earlier version hold the name alone: without a key nothing that such an agent says can be checked.
        return struct(row, Agent) if row and "public_key" in row else None

    def agent_named(self, name: str) -> Agent | None:
        """Return the agent that has ``name`` now."""
        return struct(self._table.get(f"AGENT#{name}"), Agent)

    def agents(self) -> list[Agent]:
        """Return all agents, by name."""
        rows = self._table.query("gsi1pk = :pk", {"pk": "AGENTS"}, IndexName="gsi1")
        return [msgspec.convert(row, Agent) for row in rows]

    def announce(self, agent_id: str, protocols: list[Protocol], credentials: list[str], direct: str, now_ms: int) -> None:
        """Remember what an agent speaks."""
        values = {"protocols": msgspec.to_builtins(protocols), "credentials": credentials, "direct": direct, "now": now_ms}
        update = "SET #protocols = :protocols, #credentials = :credentials, #direct = :direct, #seen_ms = :now"
        if self._update(agent_id, update, values) is None:
            raise Conflict

    def agent_connected(self, agent_id: str, connection: Connection) -> str:
        """Remember an agent's control socket and return the one that it replaces."""
        # The socket's own row comes first: if the update is lost, its end is still understood.
        self._table.put(socket_row(connection))
        values = {"connection": connection.connection, "now": connection.since_ms}
        before = self._update(agent_id, "SET #connection = :connection, #seen_ms = :now", values, returning="ALL_OLD")
        if before is None:
            raise Conflict
        return str(before.get("connection", ""))

    def agent_seen(self, agent_id: str, now_ms: int, live: Sequence[str], refuses: str = "") -> None:
        """Remember a heartbeat, the sessions that it named, and whether it takes more."""
        values = {"now": now_ms, "live": list(live), "refuses": refuses}
        self._update(agent_id, "SET #seen_ms = :now, #live_ms = :now, #live = :live, #refuses = :refuses", values)

    def enrol_witness(self, agent_id: str, key: str, event: AnyEvent) -> None:
        """Remember the key that an agent cosigns with. Raises Conflict for an agent that is unknown or was replaced."""
        name = self._name(agent_id)
        if not name:
            raise Conflict
        values = {"key": key, "id": agent_id}
        update = self._table.updating(f"AGENT#{name}", "A", "SET #witness_key = :key", "#agent_id = :id", values)
        self._table.write([update, recording(self._table, event)])

    def agent_witnessed(self, agent_id: str, size: int, now_ms: int) -> None:
        """Remember what an agent cosigned last; an alarm of its is over then."""
        values = {"size": size, "now": now_ms, "none": ""}
        self._update(agent_id, "SET #witnessed = :size, #witnessed_ms = :now, #alarm = :none", values)

    def agent_alarmed(self, agent_id: str, text: str) -> None:
        """Remember what an agent saw that contradicts."""
        self._update(agent_id, "SET #alarm = :text", {"text": text})

    def _name(self, agent_id: str) -> str:
        if agent_id not in self._names:
            row = self._table.get(f"AGENTID#{agent_id}")
            if row is None:
                return ""
            self._names[agent_id] = row["name"]
        return self._names[agent_id]

    def _update(self, agent_id: str, update: str, values: dict[str, Any], *, returning: str = "NONE") -> Row | None:
        name = self._name(agent_id)
        if not name:
            return None
        return self._table.update(f"AGENT#{name}", "A", update, "#agent_id = :id", values | {"id": agent_id}, returning=returning)


def _row(agent: Agent) -> Row:
    return fields(agent) | {"pk": f"AGENT#{agent.name}", "sk": "A", "gsi1pk": "AGENTS", "gsi1sk": agent.name}


def _enrolled(agent: Agent) -> Row:
    kept = ("agent_id", "name", "public_key", "ssh_host_key", "enrolled_ms")
    return {name: getattr(agent, name) for name in kept} | {"pk": f"AGENTID#{agent.agent_id}", "sk": "A"}


def socket_row(connection: Connection) -> Row:
    """Return the row of a WebSocket; API Gateway ends every one after two hours, and the row soon after."""
    return fields(connection) | {
        "pk": f"CONN#{connection.connection}",
        "sk": "A",
        "ttl": ttl(connection.since_ms + _SOCKET_TTL_MS),
    }
