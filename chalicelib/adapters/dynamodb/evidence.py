"""Audit events: ``EVENT#<day>`` / identifier, so that a day reads in order. Each is created once and never written again.

SWEEP / A     behind which key the sweep of the bucket goes on
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from chalicelib.adapters.dynamodb.table import Table
from chalicelib.contracts.audit import AnyEvent

#: DynamoDB writes at most this many rows in one transaction.
TRANSACTION_LIMIT = 100


class Evidence:
    """Events that stand beside a fact, or alone."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def record(self, events: Sequence[AnyEvent]) -> None:
        """Store events that have no other fact beside them."""
        for start in range(0, len(events), TRANSACTION_LIMIT):
            self._table.write([recording(self._table, event) for event in events[start : start + TRANSACTION_LIMIT]])

    def sweep_mark(self) -> str:
        """Return behind which key the sweep of the bucket goes on."""
        row = self._table.get("SWEEP")
        return str(row["key"]) if row else ""

    def save_sweep_mark(self, key: str) -> None:
        """Remember behind which key the sweep goes on."""
        self._table.put({"pk": "SWEEP", "sk": "A", "key": key})

    def events(self, day: str) -> Iterator[AnyEvent]:
        """Yield the audit events of a UTC day, oldest first."""
        for row in self._table.query("pk = :pk", {"pk": f"EVENT#{day}"}, ConsistentRead=True):
            yield msgspec.json.decode(row["body"], type=AnyEvent)


def recording(table: Table, event: AnyEvent) -> dict[str, Any]:
    """Return the write that stores ``event``; it goes into the transaction of the fact that the event speaks of."""
    day = dt.datetime.fromtimestamp(event.time_ms / 1000, dt.UTC).date().isoformat()
    return table.creating({"pk": f"EVENT#{day}", "sk": event.id, "body": msgspec.json.encode(event).decode()})
