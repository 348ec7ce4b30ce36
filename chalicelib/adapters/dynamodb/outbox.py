"""What people are to be told: ``NOTICE#<nid>`` / A, in ``gsi2`` under ``DUE`` until every channel took it.

``ALERT#<marker>`` / A says that an alert was raised, so that nobody is told of the same thing twice.

A notice that was given up moves to ``DEAD`` and stays there to be seen; a delivered one is forgotten after a week.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from chalicelib.adapters.dynamodb.evidence import recording
from chalicelib.adapters.dynamodb.table import Row, Table, fields, ttl
from chalicelib.contracts.audit import AnyEvent
from chalicelib.ports import Conflict, Notice

#: A delivered notice is kept for a week, for questions; what it spoke of is in the audit events for ever.
_KEPT_MS: Final = 7 * 24 * 3600 * 1000


class Outbox:
    """Notices that wait for their channels."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def due_notices(self, now_ms: int, limit: int) -> list[Notice]:
        """Return notices that are to be tried by now, oldest first."""
        return self._listed("gsi2pk = :pk AND gsi2sk < :until", {"pk": "DUE", "until": _due(now_ms + 1)}, limit)

    def dead_notices(self, limit: int) -> list[Notice]:
        """Return notices that were given up, oldest first."""
        return self._listed("gsi2pk = :pk", {"pk": "DEAD"}, limit)

    def settle_notice(self, notice: Notice, attempts: int, events: Sequence[AnyEvent]) -> None:
        """Replace a notice's row with its events if it still was at ``attempts``."""
        put = self._table.putting(_row(notice), "#attempts = :before", {"before": attempts})
        self._table.write([put, *(recording(self._table, event) for event in events)])

    def alert(self, marker: str, event: AnyEvent, notices: Sequence[Notice]) -> bool:
        """Store an event and its notices once for each ``marker``; return whether this was the first time."""
        first = self._table.creating({"pk": f"ALERT#{marker}", "sk": "A", "event": event.id})
        posts = [posting(self._table, notice) for notice in notices]
        try:
            self._table.write([first, recording(self._table, event), *posts])
        except Conflict:
            if self._table.get(f"ALERT#{marker}"):
                return False
            raise
        return True

    def _listed(self, expression: str, values: Row, limit: int) -> list[Notice]:
        found: list[Notice] = []
        for row in self._table.query(expression, values, IndexName="gsi2"):
            found.append(msgspec.convert(row, Notice))
            if len(found) == limit:
                break
        return found


def posting(table: Table, notice: Notice) -> dict[str, Any]:
    """Return the write that stores a new ``notice``; it goes into the transaction of the fact that it speaks of."""
    return table.creating(_row(notice))


def _row(notice: Notice) -> Row:
    row = fields(notice) | {"pk": f"NOTICE#{notice.nid}", "sk": "A"}
    if not notice.channels:
        return row | {"ttl": ttl(notice.time_ms + _KEPT_MS)}
    if notice.dead:
        return row | {"gsi2pk": "DEAD", "gsi2sk": notice.nid}
    return row | {"gsi2pk": "DUE", "gsi2sk": f"{_due(notice.due_ms)}#{notice.nid}"}


def _due(time_ms: int) -> str:
    return f"{time_ms:015d}"
