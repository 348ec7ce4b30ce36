"""What every listing by day does with its query, and how it fills a page with what the caller may see."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final, TypeVar

from chalicelib.contracts import ids
from chalicelib.contracts.api import PAGE_LIMIT
from chalicelib.contracts.faults import Fault
from chalicelib.ports import Clock

T = TypeVar("T")

_ROUNDS: Final = 5
_FILTER_LIMIT: Final = 254


def asked_day(clock: Clock, text: str) -> str:
    """Return the day that was asked for, today (UTC) where none was. Raises Fault(bad_request)."""
    day = text or dt.datetime.fromtimestamp(clock.now_ms() / 1000, dt.UTC).date().isoformat()
    try:
        if dt.date.fromisoformat(day).isoformat() != day:
            raise ValueError
    except ValueError:
        raise Fault("bad_request", "day reads like 2026-11-20 (UTC).") from None
    return day


def check_query(*filters: str, cursor: str, kind: str) -> None:
    """Refuse filters that are too long, and a cursor that is no identifier of ``kind``. Raises Fault."""
    if any(len(each) > _FILTER_LIMIT for each in filters):
        raise Fault("too_large", "A filter is too long.")
    if cursor and not ids.is_id(kind, cursor):
        raise Fault("bad_request", "The cursor is not one of ours.")


def bounded(limit: int) -> int:
    """Return how many rows a page may hold where ``limit`` was asked for."""
    return min(max(limit, 1), PAGE_LIMIT)


def page(
    read: Callable[[int, str], tuple[list[T], str]], may_see: Callable[[T], bool], limit: int, cursor: str
) -> tuple[list[T], str]:
    """Return at most ``limit`` rows that the caller may see, and where the next page begins.

    Gives up after a few rounds: a page may be short while there is a cursor, so that nobody waits for a day of others' rows.
    """
    found: list[T] = []
    for _ in range(_ROUNDS):
        rows, cursor = read(limit - len(found), cursor)
        found += [row for row in rows if may_see(row)]
        if not cursor or len(found) >= limit:
            break
    return found, cursor
