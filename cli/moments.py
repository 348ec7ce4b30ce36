"""Times as people read them: local clock times, durations, and the days that a listing covers."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterator
from typing import Final

from chalicelib.contracts.faults import Fault

_AGO: Final = re.compile(r"([1-9]\d{0,4})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DAY_MS: Final = 86_400_000


def now_ms() -> int:
    """Return the Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def clock(ms: int) -> str:
    """Return a moment in local time, ``2026-11-20 14:02:11``; empty for 0."""
    return _local(ms).strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def until(ms: int, now: int) -> str:
    """Return a near moment and how far it is: ``18:02 (in 7 h 59 min)``, with the day where it is not today."""
    then = _local(ms)
    form = "%H:%M" if then.date() == _local(now).date() else "%Y-%m-%d %H:%M"
    return f"{then.strftime(form)} (in {duration(ms - now)})" if ms > now else f"{then.strftime(form)} (over)"


def duration(ms: int) -> str:
    """Return a length of time in its two largest units: ``850 ms``, ``42 s``, ``3 min 20 s``, ``7 h 59 min``, ``2 d 4 h``."""
    if ms < 1000:
        return f"{max(ms, 0)} ms"
    seconds = ms // 1000
    for size, name, rest_size, rest_name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // rest_size
            return f"{seconds // size} {name}" + (f" {rest} {rest_name}" if rest else "")
    return f"{seconds} s"


def parse_since(text: str, now: int) -> int:
    """Return the Unix millisecond that ``2h``, ``3d`` or ``2026-11-20`` (local midnight) means. Raises Fault(bad_request)."""
    if match := _AGO.fullmatch(text):
        return now - int(match[1]) * _SECONDS[match[2]] * 1000
    try:
        return int(dt.datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise Fault("bad_request", f"--since does not understand {text!r}.", hint="Examples: 45m, 2h, 3d, 2026-11-20") from None


def parse_day(text: str, now: int) -> str:
    """Return the UTC day that ``today``, ``yesterday`` or ``2026-11-20`` means, as ``YYYY-MM-DD``. Raises Fault(bad_request)."""
    if text in ("today", "yesterday"):
        return utc_day(now - (_DAY_MS if text == "yesterday" else 0))
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        raise Fault("bad_request", f"--day does not understand {text!r}.", hint="Examples: today, 2026-11-20") from None


def utc_day(ms: int) -> str:
    """Return the UTC day of a moment; listings are kept by it."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).date().isoformat()


def days_back(now: int, since: int) -> Iterator[str]:
    """Yield the UTC days from ``now`` back to ``since``, newest first."""
    day = dt.datetime.fromtimestamp(now / 1000, dt.UTC).date()
    last = dt.datetime.fromtimestamp(max(since, 0) / 1000, dt.UTC).date()
    while day >= last:
        yield day.isoformat()
        day -= dt.timedelta(days=1)


def _local(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).astimezone()
