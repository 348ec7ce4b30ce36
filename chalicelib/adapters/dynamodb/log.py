"""The transparency log's head and index.

LOG / HEAD              size, root, the bundle that it is finished from, and whether it is
LOGGED#<event> / A      which leaf an audit event is
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from chalicelib.adapters.dynamodb.evidence import TRANSACTION_LIMIT
from chalicelib.adapters.dynamodb.table import Table, fields, pack_row, struct, unpack_row
from chalicelib.ports import Conflict, LogHead

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: DynamoDB reads at most this many rows in one batch.
_BATCH: Final = 100
_IS: Final = "#size = :size AND #root = :root AND #staging = :staging AND #finished = :finished"


class DynamoLog:
    """Implements ``ports.LogIndex``."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._table = Table(client, table)

    def head(self) -> LogHead:
        """Return the head."""
        return struct(self._table.get("LOG", "HEAD"), LogHead) or LogHead()

    def advance(self, old: LogHead, new: LogHead) -> None:
        """Put ``new`` in the place of ``old``. Raises Conflict if that is not the head any more."""
        row = {"pk": "LOG", "sk": "HEAD"} | fields(new)
        if old == LogHead():
            self._table.put(row, "attribute_not_exists(pk)")
        else:
            self._table.put(row, _IS, fields(old))

    def finish(self, head: LogHead) -> None:
        """Note that the batch of ``head`` is written whole."""
        done: dict[str, Any] = {"pk": "LOG", "sk": "HEAD"} | fields(head) | {"finished": True}
        with contextlib.suppress(Conflict):
            self._table.put(done, _IS, fields(head))

    def leaf(self, event: str) -> int | None:
        """Return which leaf an event is."""
        row = self._table.get(f"LOGGED#{event}")
        return int(row["leaf"]) if row else None

    def logged(self, events: Sequence[str]) -> set[str]:
        """Return which of these events are in the log."""
        found: set[str] = set()
        for start in range(0, len(events), _BATCH):
            batch = events[start : start + _BATCH]
            keys: list[Any] = [pack_row({"pk": f"LOGGED#{event}", "sk": "A"}) for event in batch]
            while keys:
                answer = self._table.client.batch_get_item(
                    RequestItems={self._table.name: {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": "pk"}}
                )
                rows = [unpack_row(item) for item in answer["Responses"].get(self._table.name, [])]
                found |= {str(row["pk"]).removeprefix("LOGGED#") for row in rows}
                # Under load DynamoDB answers a part and says which keys are left.
                left = answer["UnprocessedKeys"].get(self._table.name)
                keys = list(left["Keys"]) if left else []
        return found

    def mark_logged(self, indices: dict[str, int]) -> None:
        """Note the leaf of each event."""
        rows = [{"pk": f"LOGGED#{event}", "sk": "A", "leaf": leaf} for event, leaf in indices.items()]
        for start in range(0, len(rows), TRANSACTION_LIMIT):
            self._table.write([self._table.putting(row) for row in rows[start : start + TRANSACTION_LIMIT]])

    def outbox(self, day: str) -> Iterator[tuple[str, bytes]]:
        """Yield identifier and stored bytes of every audit event of a UTC day, oldest first."""
        for row in self._table.query("pk = :pk", {"pk": f"EVENT#{day}"}, ConsistentRead=True):
            yield str(row["sk"]), str(row["body"]).encode()
