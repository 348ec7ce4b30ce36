"""Schedule expressions of EventBridge: when `rate(…)` and `cron(…)` are due. Pure; times are UTC.

Source: "Cron and rate expressions", Amazon EventBridge User Guide. `L`, `W` and `#` are refused, not guessed.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\(([^()]+)\)")
_MONTHS = {name.upper(): at for at, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: at for at, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_SEARCH_LIMIT = timedelta(days=366 * 5)


class ExpressionError(ValueError):
    """Not a schedule expression that EventBridge takes, or one that the embedded cloud does not know."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Every so many seconds, counted from when the schedule was made."""

    seconds: int

    def after(self, last: float) -> float:
        """The next due time after `last`, in seconds since 1970."""
        return last + self.seconds


@dataclass(frozen=True, slots=True)
class Cron:
    """Minutes that match every field."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 1 is Sunday, as EventBridge counts
    years: frozenset[int]

    def after(self, last: float) -> float:
        """The next due time after `last`, in seconds since 1970. Raises ExpressionError when there is none in five years."""
        moment = datetime.fromtimestamp(last, UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        limit = moment + _SEARCH_LIMIT
        while moment < limit:
            if not self._matches_day(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment.timestamp()
        raise ExpressionError("this cron expression is never due")

    def _matches_day(self, moment: datetime) -> bool:
        return (
            moment.year in self.years
            and moment.month in self.months
            and moment.day in self.days
            and moment.isoweekday() % 7 + 1 in self.weekdays
        )


def parse(expression: str) -> Rate | Cron:
    """`rate(5 minutes)` or `cron(0 3 * * ? *)`. Raises ExpressionError."""
    if found := _RATE.fullmatch(expression):
        value = int(found[1])
        if value < 1:
            raise ExpressionError(f"{expression}: the value must be positive")
        return Rate(value * _UNITS[found[2]])
    fields = found[1].split() if (found := _CRON.fullmatch(expression)) else []
    if len(fields) != 6:
        raise ExpressionError(f"{expression}: neither rate(value unit) nor cron with six fields")
    if "?" not in (fields[2], fields[4]):
        raise ExpressionError(f"{expression}: one of day-of-month and day-of-week must be ?")
    return Cron(
        minutes=_field(fields[0], 0, 59),
        hours=_field(fields[1], 0, 23),
        days=_field(fields[2], 1, 31),
        months=_field(fields[3], 1, 12, _MONTHS),
        weekdays=_field(fields[4], 1, 7, _DAYS),
        years=_field(fields[5], 1970, 2199),
    )


def _field(text: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    chosen: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if dash else (high if step else start)
        if not low <= start <= end <= high or (step and not 0 < _number(step, None) <= high):
            raise ExpressionError(f"{text!r} is not between {low} and {high}")
        chosen.update(range(start, end + 1, _number(step, None) if step else 1))
    return frozenset(chosen)


def _number(text: str, names: dict[str, int] | None) -> int:
    if names and text.upper() in names:
        return names[text.upper()]
    if not text.isascii() or not text.isdigit():
        raise ExpressionError(f"{text!r} is not known in this field")
    return int(text)
