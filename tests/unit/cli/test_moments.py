from __future__ import annotations

import pytest

from chalicelib.contracts.faults import Fault
from cli import moments
from tests.unit.cli.conftest import NOW_MS

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (-5, "0 ms"),
        (850, "850 ms"),
        (42_000, "42 s"),
        (200_000, "3 min 20 s"),
        (180_000, "3 min"),
        (28_740_000, "7 h 59 min"),
        (187_200_000, "2 d 4 h"),
    ],
)
def test_durations(ms: int, words: str) -> None:
    assert moments.duration(ms) == words


def test_moments_are_local() -> None:
    assert moments.clock(NOW_MS) == "2026-11-20 10:03:00"
    assert moments.clock(0) == ""


def test_until() -> None:
    assert moments.until(NOW_MS + HOUR, NOW_MS) == "11:03 (in 1 h)"
    assert moments.until(NOW_MS + 24 * HOUR, NOW_MS) == "2026-11-21 10:03 (in 1 d)"
    assert moments.until(NOW_MS - HOUR, NOW_MS) == "09:03 (over)"


def test_since() -> None:
    assert moments.parse_since("2h", NOW_MS) == NOW_MS - 2 * HOUR
    assert moments.parse_since("2026-11-20", NOW_MS) == NOW_MS - 10 * HOUR - 180_000


@pytest.mark.parametrize("text", ["", "2", "h", "0h", "-1h", "yesterday's", "2026-13-01", "99999999d"])
def test_since_refuses(text: str) -> None:
    with pytest.raises(Fault, match="--since"):
        moments.parse_since(text, NOW_MS)


def test_days() -> None:
    assert moments.parse_day("today", NOW_MS) == "2026-11-20"
    assert moments.parse_day("yesterday", NOW_MS) == "2026-11-19"
    assert moments.parse_day("2026-01-02", NOW_MS) == "2026-01-02"
    assert list(moments.days_back(NOW_MS, NOW_MS - 25 * HOUR)) == ["2026-11-20", "2026-11-19"]
    with pytest.raises(Fault, match="--day"):
        moments.parse_day("friday", NOW_MS)
