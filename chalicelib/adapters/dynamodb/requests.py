"""Approval requests.

REQUEST#<rid> / A            the request; gsi1: ASKED#<day> / rid (newest first), gsi2: OPEN#<shard> / rid while it is open
REQUEST#<rid> / SEEN#<who>   somebody else looked at it
SESSION#<sid> / USED#<rid>   an operation inside the session was done under it
PRECEDENT#<shape> / A        how often an approval of this shape was used, and when
ONCE#<digest> / A            something that counts once: a signed answer from Slack
ASK#<digest> / A             the name that a caller gave to an ask, and the request that was made of it

The whole case is one JSON document beside the attributes that conditions and filters need, so that what was asked is never taken
apart and put together again differently.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from chalicelib.adapters.dynamodb.evidence import recording
from chalicelib.adapters.dynamodb.outbox import posting
from chalicelib.adapters.dynamodb.sessions import opening
from chalicelib.adapters.dynamodb.table import Row, Table, fields, newest_first, struct, ttl
from chalicelib.contracts import ids
from chalicelib.contracts.approval import Precedent
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.session import Session
from chalicelib.domain import precedents
from chalicelib.domain.approvals import Case
from chalicelib.ports import AskName, CaseQuery, Conflict, Custody, Notice

_SHARDS: Final = 4
_USED: Final = "USED#"


class Requests:
    """What the table knows of approval requests."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice], name: AskName | None = None) -> None:
        """Store a new request with its events, its notices and the name of its ask."""
        named = [self._naming(name, case.request.asked_ms)] if name else []
        self._table.write([self._table.creating(_row(case)), *named, *self._beside(events, notices)])

    def ask_name(self, digest: str, now_ms: int) -> AskName | None:
        """Return the name of an ask, while it is remembered."""
        found = struct(self._table.get(f"ASK#{digest}"), AskName)
        return found if found and now_ms < found.until_ms else None

    def remember_ask(self, name: AskName, now_ms: int) -> None:
        """Remember that an ask is answered by a request that exists."""
        self._table.write([self._naming(name, now_ms)])

    def case(self, rid: str) -> Case | None:
        """Return a request."""
        row = self._table.get(f"REQUEST#{rid}")
        return _case(row) if row else None

    def step_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice], *, done_ms: int = 0) -> None:
        """Replace a request's row by its next version."""
        done = [self._counting(case, done_ms), self._using(case)] if done_ms else []
        self._table.write([self._stepping(case), *done, *self._beside(events, notices)])

    def used_in(self, sid: str) -> list[str]:
        """Return the requests whose yes was used inside a session, oldest first."""
        rows = self._table.query(
            "pk = :pk AND begins_with(sk, :used)", {"pk": f"SESSION#{sid}", "used": _USED}, ConsistentRead=True
        )
        return [str(row["sk"]).removeprefix(_USED) for row in rows]

    def precedent(self, shape: str) -> Precedent | None:
        """Return what is remembered of a shape."""
        return struct(self._table.get(f"PRECEDENT#{shape}"), Precedent)

    def see_case(self, rid: str, viewer: str, event: AnyEvent) -> bool:
        """Remember that ``viewer`` looked at a request, once."""
        row = {"pk": f"REQUEST#{rid}", "sk": f"SEEN#{viewer}", "time_ms": event.time_ms}
        try:
            self._table.write([self._table.creating(row), recording(self._table, event)])
        except Conflict:
            return False
        return True

    def open_cases(self) -> Iterator[Case]:
        """Yield every open request."""
        for shard in range(_SHARDS):
            for row in self._table.query("gsi2pk = :pk", {"pk": f"OPEN#{shard}"}, IndexName="gsi2"):
                yield _case(row)

    def cases(self, query: CaseQuery, limit: int, cursor: str) -> tuple[list[Case], str]:
        """Return at most ``limit`` requests that match, newest first, and the cursor of the next page."""
        wanted = {name: value for name in ("principal", "target", "state") if (value := getattr(query, name))}
        partition = f"ASKED#{query.day}"
        # A cursor is an identifier, so there is nothing in it to forge.
        start = {"pk": f"REQUEST#{cursor}", "sk": "A", "gsi1pk": partition, "gsi1sk": cursor}
        key = start if ids.is_id(ids.REQUEST, cursor) else None
        rows, following = newest_first(self._table, partition, wanted, limit, key)
        return [_case(row) for row in rows], following

    def open_approved_session(self, session: Session, custody: Custody, case: Case, events: Sequence[AnyEvent]) -> None:
        """Store a new session and the next version of the request that it uses, or neither."""
        done = self._counting(case, session.opened_ms)
        self._table.write([opening(self._table, session, custody), self._stepping(case), done, *self._beside(events, [])])

    def _counting(self, case: Case, now_ms: int) -> dict[str, Any]:
        return self._table.updating(
            f"PRECEDENT#{precedents.shape_of(case.request)}",
            "A",
            "SET #first_ms = if_not_exists(#first_ms, :now), #last_ms = :now, #ttl = :ttl ADD #times :one",
            "",
            {"now": now_ms, "ttl": ttl(now_ms + precedents.WINDOW_MS), "one": 1},
        )

    def _using(self, case: Case) -> dict[str, Any]:
        # The same row at every further use: what counts them is the request.
        return self._table.putting({"pk": f"SESSION#{case.request.sid}", "sk": f"{_USED}{case.request.rid}"})

    def _naming(self, name: AskName, now_ms: int) -> dict[str, Any]:
        row = fields(name) | {"pk": f"ASK#{name.digest}", "sk": "A", "ttl": ttl(name.until_ms)}
        return self._table.putting(row, "attribute_not_exists(pk) OR #until_ms <= :now", {"now": now_ms})

    def spend(self, digest: str, until_ms: int) -> bool:
        """Remember that something that counts once came; False if it did before."""
        try:
            self._table.write([self._table.creating({"pk": f"ONCE#{digest}", "sk": "A", "ttl": ttl(until_ms)})])
        except Conflict:
            return False
        return True

    def _stepping(self, case: Case) -> dict[str, Any]:
        return stepping(self._table, case)

    def _beside(self, events: Sequence[AnyEvent], notices: Sequence[Notice]) -> list[dict[str, Any]]:
        return [recording(self._table, event) for event in events] + [posting(self._table, notice) for notice in notices]


def stepping(table: Table, case: Case) -> dict[str, Any]:
    """Return the write that replaces a request's row by its next version."""
    return table.putting(_row(case), "#version = :before", {"before": case.request.version - 1})


def _row(case: Case) -> Row:
    request = case.request
    row: Row = {
        "pk": f"REQUEST#{request.rid}",
        "sk": "A",
        "gsi1pk": f"ASKED#{dt.datetime.fromtimestamp(request.asked_ms / 1000, dt.UTC).date().isoformat()}",
        "gsi1sk": request.rid,
        "version": request.version,
        "state": str(request.state),
        "principal": request.principal,
        "target": request.target,
        "body": msgspec.json.encode(case).decode(),
    }
    if request.open:
        row |= {"gsi2pk": f"OPEN#{ord(request.rid[-1]) % _SHARDS}", "gsi2sk": request.rid}
    return row


def _case(row: Row) -> Case:
    return msgspec.json.decode(row["body"], type=Case)
