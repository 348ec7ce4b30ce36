"""When schedule expressions are due."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.schedule import ExpressionError, parse


def due_after(expression: str, moment: str) -> str:
    last = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    return datetime.fromtimestamp(parse(expression).after(last), UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("expression", "moment", "expected"),
    [
        ("rate(1 minute)", "2026-03-01 10:00:07", "2026-03-01 10:01:07"),
        ("rate(5 minutes)", "2026-03-01 10:00:00", "2026-03-01 10:05:00"),
        ("rate(2 hours)", "2026-03-01 23:00:00", "2026-03-02 01:00:00"),
        ("rate(1 day)", "2026-03-01 10:00:00", "2026-03-02 10:00:00"),
        ("cron(0 3 * * ? *)", "2026-03-01 02:59:59", "2026-03-01 03:00:00"),
        ("cron(0 3 * * ? *)", "2026-03-01 03:00:00", "2026-03-02 03:00:00"),
        ("cron(0/15 * * * ? *)", "2026-03-01 10:07:00", "2026-03-01 10:15:00"),
        ("cron(30 8-10,14 ? * MON-FRI *)", "2026-03-06 10:30:00", "2026-03-06 14:30:00"),
        ("cron(30 8-10,14 ? * MON-FRI *)", "2026-03-06 14:30:00", "2026-03-09 08:30:00"),
        ("cron(0 0 1 JAN ? *)", "2026-03-06 14:30:00", "2027-01-01 00:00:00"),
        ("cron(0 0 29 2 ? *)", "2026-03-06 14:30:00", "2028-02-29 00:00:00"),
        ("cron(0 12 ? * 1 *)", "2026-03-06 14:30:00", "2026-03-08 12:00:00"),
    ],
)
def test_next_time(expression: str, moment: str, expected: str) -> None:
    assert due_after(expression, moment) == expected


@given(st.integers(0, 4_000_000_000), st.integers(0, 59), st.integers(0, 23))
def test_the_next_time_is_later_and_matches(last: int, minute: int, hour: int) -> None:
    due = parse(f"cron({minute} {hour} * * ? *)").after(last)
    assert last < due <= last + 86_400
    moment = datetime.fromtimestamp(due, UTC)
    assert (moment.minute, moment.hour, moment.second) == (minute, hour, 0)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "rate(0 minutes)",
        "rate(5 seconds)",
        "cron(* * * * *)",
        "cron(0 3 * * * *)",
        "cron(60 3 * * ? *)",
        "cron(5-1 3 * * ? *)",
        "cron(0 3 L * ? *)",
        "cron(0 3 ? * 6#3 *)",
        "cron(0/0 3 * * ? *)",
    ],
)
def test_what_eventbridge_or_we_do_not_take_is_refused(expression: str) -> None:
    with pytest.raises(ExpressionError):
        parse(expression)


def test_a_date_that_never_comes_is_refused() -> None:
    with pytest.raises(ExpressionError):
        parse("cron(0 0 30 2 ? *)").after(0)
