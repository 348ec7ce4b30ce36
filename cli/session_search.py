"""Finding sessions: listings across days, and short identifiers that mean exactly one session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.ids import SESSION, is_id
from chalicelib.contracts.session import Session
from cli.control_plane import ControlPlane
from cli.moments import days_back

#: How far a listing without a date, and the search for a short identifier, go back.
RECENT_MS: Final = 7 * 86_400_000
#: A short identifier has at least this many characters: fewer change their meaning as sessions are added.
SHORTEST: Final = 6
_PREFIX: Final = f"{SESSION}_"
#: The most sessions that are looked through for a short identifier.
_SEARCH_LIMIT: Final = 5_000


class Filter(msgspec.Struct, kw_only=True, frozen=True):
    """What a listing is narrowed to. ``days`` are UTC; ``since_ms`` is Unix milliseconds."""

    days: list[str]
    since_ms: int = 0
    principal: str = ""
    target: str = ""
    state: str = ""


def listing(plane: ControlPlane, wanted: Filter, limit: int) -> Iterator[Session]:
    """Yield at most ``limit`` sessions, newest first, page by page and day by day."""
    left = limit
    for day in wanted.days:
        cursor = ""
        while left > 0:
            query: dict[str, str | int] = {
                "day": day,
                "principal": wanted.principal,
                "target": wanted.target,
                "state": wanted.state,
                "limit": min(left, api.PAGE_LIMIT),
                "cursor": cursor,
            }
            page = plane.get("/sessions", api.SessionPage, query)
            for session in page.sessions[:left]:
                if session.opened_ms < wanted.since_ms:
                    return
                yield session
                left -= 1
            if not page.cursor or page.cursor == cursor:
                break
            cursor = page.cursor


def short_ids(sids: Sequence[str]) -> dict[str, str]:
    """Return a short form for every identifier: the shortest common length of their ends that tells them all apart.

    The end of a ULID is random and its beginning is the time, so ends differ soonest.
    """
    distinct = set(sids)
    longest = max((len(sid) for sid in distinct), default=0)
    for length in range(SHORTEST, longest + 1):
        if len({sid[-length:] for sid in distinct}) == len(distinct):
            return {sid: sid[-length:] for sid in distinct}
    return {sid: sid for sid in distinct}


def resolve(plane: ControlPlane, text: str, now: int) -> str:
    """Return the whole identifier that ``text`` means. Raises Fault(bad_request | unknown_session)."""
    wanted = text.removeprefix(_PREFIX).upper()
    if is_id(SESSION, _PREFIX + wanted):
        return _PREFIX + wanted
    if len(wanted) < SHORTEST or not wanted.isascii() or not wanted.isalnum():
        hint = f"Copy it from: sallyport sessions (the last {SHORTEST} characters are the least)"
        raise Fault("bad_request", f"{text[:80]!r} is not a session's identifier.", hint=hint)
    recent = Filter(days=list(days_back(now, now - RECENT_MS)))
    found: list[str] = []
    for session in listing(plane, recent, _SEARCH_LIMIT):
        body = session.sid.removeprefix(_PREFIX)
        if (body.endswith(wanted) or body.startswith(wanted)) and session.sid not in found:
            found.append(session.sid)
    if not found:
        raise Fault(
            "unknown_session",
            f"No session of the last seven days ends or begins with {wanted}.",
            hint="Older ones need their whole identifier.",
        )
    if len(found) > 1:
        raise Fault("bad_request", f"{wanted} means {len(found)} sessions: {', '.join(found[:5])}", hint="Give more characters.")
    return found[0]
