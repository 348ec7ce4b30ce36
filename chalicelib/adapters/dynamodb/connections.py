"""WebSockets that are open now, ``CONN#<connection>``, and what finds them.

A session has two ends, ``SESSION#<sid>`` / ``LINK``; who waits for a request is ``WAITING#<rid>`` / connection.
"""

from __future__ import annotations

from chalicelib.adapters.dynamodb.agents import socket_row
from chalicelib.adapters.dynamodb.table import Row, Table, struct, ttl
from chalicelib.ports import Connection, Link

#: A link outlives the longest session, so that its generation never starts again.
_LINK_TTL_MS = 26 * 3600 * 1000


class Connections:
    """What the table knows of sockets."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def connection_opened(self, connection: Connection) -> Link | None:
        """Remember a session socket and return the session's link with the new end in it."""
        self._table.put(socket_row(connection))
        if connection.side == "waiting":
            self._table.put(_waiter(connection))
        if connection.side not in _END:
            return None
        row = self._table.update(
            f"SESSION#{connection.owner}",
            "LINK",
            f"SET {_END[connection.side]} = :me, #ttl = :ttl ADD #generation :one",
            "",
            {"me": connection.connection, "ttl": ttl(connection.since_ms + _LINK_TTL_MS), "one": 1},
        )
        return _link(row)

    def connection_closed(self, connection: str) -> Connection | None:
        """Forget a socket and return what it was."""
        found = struct(self._table.take(f"CONN#{connection}"), Connection)
        if found is None:
            return None
        values: Row = {"me": connection, "none": ""}
        if found.side == "control":
            row = self._table.get(f"AGENTID#{found.owner}")
            if row is not None:
                self._table.update(f"AGENT#{row['name']}", "A", "SET #connection = :none", "#connection = :me", values)
            return found
        if found.side == "waiting":
            waiter = _waiter(found)
            self._table.write([self._table.deleting(waiter["pk"], waiter["sk"], "")])
            return found
        end = _END[found.side]
        update = f"SET {end} = :none ADD #generation :one"
        self._table.update(f"SESSION#{found.owner}", "LINK", update, f"{end} = :me", values | {"one": 1})
        return found

    def connection(self, connection: str) -> Connection | None:
        """Return what a socket is."""
        return struct(self._table.get(f"CONN#{connection}"), Connection)

    def waiting(self, rid: str) -> list[str]:
        """Return the sockets that wait for a request."""
        rows = self._table.query("pk = :pk", {"pk": f"WAITING#{rid}"}, ConsistentRead=True)
        return [row["sk"] for row in rows]

    def link(self, sid: str) -> Link:
        """Return both ends of a session."""
        return _link(self._table.get(f"SESSION#{sid}", "LINK"))


_END = {"client": "#end_client", "agent": "#end_agent"}


def _waiter(connection: Connection) -> Row:
    # Apart from the request itself: whoever ends sockets may delete these rows, and no others of it.
    return {"pk": f"WAITING#{connection.owner}", "sk": connection.connection, "ttl": socket_row(connection)["ttl"]}


def _link(row: Row | None) -> Link:
    row = row or {}
    return Link(client=row.get("end_client", ""), agent=row.get("end_agent", ""), generation=row.get("generation", 0))
