"""The configuration: ``CONFIG`` / ``CURRENT`` points at the version in force; ``V#`` and ``FILES#`` rows are written once."""

from __future__ import annotations

from chalicelib.adapters.dynamodb.evidence import recording
from chalicelib.adapters.dynamodb.table import Table
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.policy import Document
from chalicelib.domain import plan


class Configuration:
    """Versions of targets and policies."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def config_version(self) -> int:
        """Return the version in force; 0 before the first apply."""
        row = self._table.get("CONFIG", "CURRENT")
        return int(row["version"]) if row else 0

    def config(self, version: int) -> Document | None:
        """Return an immutable version."""
        row = self._table.get("CONFIG", f"V#{version:08d}")
        return plan.unpack(row["body"], Document) if row else None

    def config_files(self, version: int) -> dict[str, str]:
        """Return the files that a version was made from."""
        row = self._table.get("CONFIG", f"FILES#{version:08d}")
        return plan.unpack(row["body"], dict[str, str]) if row else {}

    def apply_config(self, document: Document, files: dict[str, str], event: AnyEvent) -> None:
        """Store ``document`` as the version after the one in force. Raises Conflict if somebody else was faster."""
        version = document.version
        pointer = {"pk": "CONFIG", "sk": "CURRENT", "version": version}
        is_next = "#version = :previous" if version > 1 else "attribute_not_exists(pk)"
        self._table.write(
            [
                self._table.putting(pointer, is_next, {"previous": version - 1} if version > 1 else None),
                self._table.creating({"pk": "CONFIG", "sk": f"V#{version:08d}", "body": plan.pack(document)}),
                self._table.creating({"pk": "CONFIG", "sk": f"FILES#{version:08d}", "body": plan.pack(files)}),
                recording(self._table, event),
            ]
        )
