"""How long, and what an upload is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.retention import DAYS_LIMIT, Keeping, Retention, Wish, lock

DAY_MS = 86_400_000


@given(st.integers(1, DAYS_LIMIT), st.integers(0, 1 << 42), st.integers(0, 300_000))
def test_an_upload_at_its_links_end_still_promises_every_day(days: int, now_ms: int, later_ms: int) -> None:
    made = lock(Retention(days=days), now_ms)
    assert (made.until_s * 1000 - now_ms - later_ms) // DAY_MS >= days
    assert made.until_s * 1000 - now_ms < (days + 1) * DAY_MS


def test_a_wish_fills_itself_from_the_deployment() -> None:
    keeping = Keeping(default=Retention(days=90, mode="GOVERNANCE"), most_days=400)
    assert keeping.of(None) == keeping.default
    assert keeping.of(Wish(days=7)) == Retention(days=7, mode="GOVERNANCE")
    assert keeping.of(Wish(mode="COMPLIANCE", legal_hold=True)) == Retention(days=90, legal_hold=True)
    assert keeping.longest == Retention(days=400, mode="GOVERNANCE")


def test_headers_name_a_hold_only_where_there_is_one() -> None:
    assert lock(Retention(days=1), 0).headers == {
        "x-amz-object-lock-mode": "COMPLIANCE",
        "x-amz-object-lock-retain-until-date": "1970-01-02T01:00:00Z",
    }
    assert lock(Retention(days=1, legal_hold=True), 0).headers["x-amz-object-lock-legal-hold"] == "ON"
    assert [str(Retention(days=n)) for n in (1, 2)] == ["1 day COMPLIANCE", "2 days COMPLIANCE"]
