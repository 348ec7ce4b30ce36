"""Sessions and their chunks.

SESSION#<sid> / A            the session; gsi1: DAY#<day> / sid (newest first), gsi2: UNFINISHED#<shard> / sid while it is open
SESSION#<sid> / CHUNK#<n>    one registered chunk
SESSION#<sid> / LINK         the relay's two ends (connections.py)
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from chalicelib.adapters.dynamodb.evidence import recording
from chalicelib.adapters.dynamodb.table import Row, Table, fields, newest_first, struct
from chalicelib.contracts import ids
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.recording import StoredChunk
from chalicelib.contracts.session import OVER, Session, State
from chalicelib.ports import Conflict, Custody, Progress, SessionQuery

#: Open sessions are spread over this many index partitions, because every chunk of every one of them writes there.
_SHARDS: Final = 8
#: The greatest number that a chunk may have, as its row spells it.
_LAST: Final = "999999"


class Sessions:
    """What the table knows of sessions."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def open_session(self, session: Session, custody: Custody, event: AnyEvent) -> None:
        """Store a new session with its event."""
        self._table.write([opening(self._table, session, custody), recording(self._table, event)])

    def session(self, sid: str) -> Session | None:
        """Return a session."""
        return struct(self._table.get(f"SESSION#{sid}"), Session)

    def entrusted(self, sid: str) -> tuple[Session, Custody] | None:
        """Return a session and who records it, in one read."""
        row = self._table.get(f"SESSION#{sid}")
        return (msgspec.convert(row, Session), msgspec.convert(row, Custody)) if row else None

    def step_session(self, session: Session, allowed: frozenset[State], event: AnyEvent) -> None:
        """Replace the session's row if its state is one of ``allowed`` and no chunk came in between."""
        changed = {name: value for name, value in fields(session).items() if name not in ("sid", "chunks", "chain")}
        sets = "SET " + ", ".join(f"#{name} = :{name}" for name in changed)
        over = session.state in OVER
        states = {f"from{n}": str(state) for n, state in enumerate(sorted(allowed))}
        update = self._table.updating(
            f"SESSION#{session.sid}",
            "A",
            sets + (" REMOVE #gsi2pk, #gsi2sk" if over else ""),
            f"#state IN ({', '.join(f':{name}' for name in states)}) AND #chunks = :chunks AND #chain = :chain",
            changed | states | {"chunks": session.chunks, "chain": session.chain},
        )
        self._table.write([update, recording(self._table, event)])

    def sessions(self, query: SessionQuery, limit: int, cursor: str) -> tuple[list[Session], str]:
        """Return at most ``limit`` sessions that match, newest first, and the cursor of the next page."""
        wanted = {name: value for name in ("principal", "target", "state") if (value := getattr(query, name))}
        rows, following = newest_first(self._table, f"DAY#{query.day}", wanted, limit, _start(query.day, cursor))
        return [msgspec.convert(row, Session) for row in rows], following

    def unfinished(self) -> Iterator[Session]:
        """Yield every session that is offered or live."""
        for shard in range(_SHARDS):
            for row in self._table.query("gsi2pk = :pk", {"pk": f"UNFINISHED#{shard}"}, IndexName="gsi2"):
                yield msgspec.convert(row, Session)

    def reaper_came(self, now_ms: int, gap_ms: int) -> int:
        """Remember that the reaper came; return since when it has without a gap."""
        before = self._table.get("REAPER", "A") or {"since_ms": 0, "came_ms": now_ms}
        since_ms = int(before["since_ms"]) if now_ms - int(before["came_ms"]) <= gap_ms else now_ms
        # Two at the same time write the same; nothing here decides but patience.
        self._table.put({"pk": "REAPER", "sk": "A", "since_ms": since_ms, "came_ms": now_ms})
        return since_ms

    def add_chunk(self, sid: str, stored: StoredChunk, previous_chain: str, progress: Progress) -> None:
        """Register a chunk behind ``previous_chain`` and move the session's head."""
        chunk = stored.chunk
        row = {"pk": f"SESSION#{sid}", "sk": f"CHUNK#{chunk.n:06d}"} | msgspec.to_builtins(stored)
        values = {
            "next": chunk.n + 1,
            "chain": chunk.chain,
            "operations": progress.operations,
            "denied": progress.denied,
            "now": progress.now_ms,
            "n": chunk.n,
            "previous": previous_chain,
            "live": str(State.LIVE),
            "interrupted": str(State.INTERRUPTED),
        }
        moving = self._table.updating(
            f"SESSION#{sid}",
            "A",
            "SET #chunks = :next, #chain = :chain, #operations = :operations, #denied = :denied, #seen_ms = :now",
            "#chunks = :n AND #chain = :previous AND #state IN (:live, :interrupted)",
            values,
        )
        try:
            self._table.write([self._table.creating(row), moving])
        except Conflict:
            # An agent that did not hear the answer asks again; that is not a fork.
            if not stored.is_same(self.chunk(sid, chunk.n)):
                raise

    def chunk(self, sid: str, n: int) -> StoredChunk | None:
        """Return one registered chunk."""
        return struct(self._table.get(f"SESSION#{sid}", f"CHUNK#{n:06d}"), StoredChunk)

    def chunk_arrived(self, sid: str, n: int, version: str) -> str:
        """Note the version of a registered chunk's object, unless one is known; return the one that is, or an empty text."""
        update = "SET #version = if_not_exists(#version, :version)"
        found = self._table.update(f"SESSION#{sid}", f"CHUNK#{n:06d}", update, "attribute_exists(pk)", {"version": version})
        return str(found["version"]) if found else ""

    def chunks(self, sid: str, first: int = 0, limit: int = 0) -> list[StoredChunk]:
        """Return registered chunks in order, from number ``first`` on."""
        values = {"pk": f"SESSION#{sid}", "first": f"CHUNK#{first:06d}", "last": f"CHUNK#{_LAST}"}
        rows = self._table.query("pk = :pk AND sk BETWEEN :first AND :last", values, ConsistentRead=True)
        return [msgspec.convert(row, StoredChunk) for row in itertools.islice(rows, limit or None)]


def opening(table: Table, session: Session, custody: Custody) -> dict[str, Any]:
    """Return the write that stores a new session."""
    return table.creating(_row(session, custody))


def _row(session: Session, custody: Custody) -> Row:
    row = fields(session) | fields(custody) | {"pk": f"SESSION#{session.sid}", "sk": "A"}
    row |= {"gsi1pk": f"DAY#{_day(session.opened_ms)}", "gsi1sk": session.sid}
    if session.state not in OVER:
        row |= {"gsi2pk": _unfinished(session.sid), "gsi2sk": session.sid}
    return row


def _unfinished(sid: str) -> str:
    return f"UNFINISHED#{ord(sid[-1]) % _SHARDS}"


def _day(time_ms: int) -> str:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).date().isoformat()


def _start(day: str, cursor: str) -> Row | None:
    """The key that a cursor stands for. A cursor is a session identifier, so there is nothing in it to forge."""
    if not ids.is_id(ids.SESSION, cursor):
        return None
    return {"pk": f"SESSION#{cursor}", "sk": "A", "gsi1pk": f"DAY#{day}", "gsi1sk": cursor}
