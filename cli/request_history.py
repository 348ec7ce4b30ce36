"""Requests of days gone by, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chalicelib.contracts.api import PAGE_LIMIT
from chalicelib.contracts.api_requests import RequestPage
from chalicelib.contracts.approval import ApprovalRequest
from cli.control_plane import ControlPlane


def history(plane: ControlPlane, days: Sequence[str], since_ms: int, limit: int) -> Iterator[ApprovalRequest]:
    """Yield at most ``limit`` requests that were asked since ``since_ms``, newest first. ``days`` are UTC, newest first."""
    left = limit
    for day in days:
        cursor = ""
        while left > 0:
            query: dict[str, str | int] = {"view": "history", "day": day, "limit": min(left, PAGE_LIMIT), "cursor": cursor}
            page = plane.get("/requests", RequestPage, query)
            for request in page.requests[:left]:
                if request.asked_ms < since_ms:
                    return
                yield request
                left -= 1
            if not page.cursor or page.cursor == cursor:
                break
            cursor = page.cursor
