"""Queries of listings, and pages that hold only what the caller may see."""

from __future__ import annotations

import pytest

from chalicelib.contracts import ids
from chalicelib.usecases.listing import asked_day, bounded, check_query, page
from tests.fakes.clock import FakeClock
from tests.unit.chalicelib.usecases.expecting import fault


def read(limit: int, cursor: str) -> tuple[list[int], str]:
    """A day of a hundred rows, ten at the most at a time; the cursor is the last one."""
    start = int(cursor or 0)
    rows = list(range(start + 1, min(start + min(limit, 10), 100) + 1))
    return rows, str(rows[-1]) if rows and rows[-1] < 100 else ""


def test_a_page_is_filled_from_several_rounds() -> None:
    assert page(read, lambda row: row % 2 == 0, 10, "") == (list(range(2, 21, 2)), "20")


def test_a_page_of_others_rows_ends_short_with_a_cursor_to_go_on() -> None:
    found, cursor = page(read, lambda row: row > 60, 10, "")
    assert (found, cursor) == ([], "50")
    found, cursor = page(read, lambda row: row > 60, 10, cursor)
    assert (found, cursor) == (list(range(61, 71)), "70")


def test_the_last_page_has_no_cursor() -> None:
    assert page(read, lambda row: True, 10, "95") == ([96, 97, 98, 99, 100], "")


def test_today_is_the_day_that_nobody_named() -> None:
    assert asked_day(FakeClock(), "") == "2026-09-21"
    assert asked_day(FakeClock(), "2026-01-31") == "2026-01-31"
    for text in ("2026-1-31", "2026-02-30", "today", "20260131"):
        with fault("bad_request"):
            asked_day(FakeClock(), text)


def test_filters_and_cursors_have_a_shape() -> None:
    check_query("x" * 254, cursor="", kind=ids.SESSION)
    with fault("too_large"):
        check_query("", "x" * 255, cursor="", kind=ids.SESSION)
    with fault("bad_request"):
        check_query(cursor="req_01JD8QZ6T3N0V9C4K2M7X5B1HR", kind=ids.SESSION)


@pytest.mark.parametrize(("limit", "rows"), [(-5, 1), (0, 1), (7, 7), (200, 200), (10**9, 200)])
def test_a_page_has_a_size(limit: int, rows: int) -> None:
    assert bounded(limit) == rows
