"""Keys of sealed originals: ``ORIGINALS#<target>`` / month. What was erased stays as a row without the wrapped key."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.adapters.dynamodb.evidence import recording
from chalicelib.adapters.dynamodb.requests import stepping
from chalicelib.adapters.dynamodb.table import Row, Table, fields
from chalicelib.contracts.audit import AnyEvent
from chalicelib.domain.approvals import Case
from chalicelib.ports import OriginalsKey


class Originals:
    """What the table knows of the keys of sealed originals."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def originals_key(self, target: str, month: str) -> OriginalsKey | None:
        """Return the key of a target and a month."""
        row = self._table.get(f"ORIGINALS#{target}", month)
        return OriginalsKey(**{name: row[name] for name in OriginalsKey.__struct_fields__}) if row else None

    def add_originals_key(self, key: OriginalsKey, event: AnyEvent) -> None:
        """Store a new key with its event."""
        self._table.write([self._table.creating(_row(key)), recording(self._table, event)])

    def erase_originals_key(self, key: OriginalsKey, case: Case, events: Sequence[AnyEvent]) -> None:
        """Put what is left of a key in its place, and step the request."""
        gone = self._table.putting(_row(key), "#public = :public AND #erased_ms = :never", {"public": key.public, "never": 0})
        self._table.write([gone, stepping(self._table, case), *[recording(self._table, event) for event in events]])


def _row(key: OriginalsKey) -> Row:
    # Bytes stay bytes: ``fields`` would make text of them.
    return fields(key) | {"public": key.public, "wrapped": key.wrapped, "pk": f"ORIGINALS#{key.target}", "sk": key.month}
