"""A transcript (SFTP, and whatever else is recorded as JSON lines) as lines that a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from cli.cast import TranscriptReader
from cli.moments import clock, duration
from cli.plain import clean, clean_lines
from cli.screen import paint
from cli.sql_lines import SqlLines

_STYLES: Final = {"allowed": "green", "denied": "red", "held": "yellow"}
#: What a line already says, or what only machines compare.
_LEFT_OUT: Final = frozenset(
    {"t", "event", "kind", "text", "effects", "objects", "flags", "verdict", "rules", "policy", "digest", "arguments"}
)
#: What a line of a shell says of itself already.
_OF_COMMANDS: Final = frozenset({"exit", "cast"})


class TranscriptLines:
    """Tells one channel's entries in order, as they come."""

    def __init__(self, left_out: int = 0) -> None:
        """``left_out``: statements before the first entry that is told."""
        self._sql = SqlLines(left_out)

    def lines(self, heading: dict[str, Any], entry: dict[str, Any]) -> Iterator[str]:
        """Yield the lines of ``entry``: when, what was decided, what it was."""
        opened, since = heading.get("opened_ms", 0), entry.get("t", 0)
        when = (
            clock(opened + since) if isinstance(opened, int) and isinstance(since, int) and 0 <= opened + since < 1 << 48 else ""
        )
        known = self._sql.lines(entry, when) if heading.get("protocol") == "postgres" else None
        if known is not None:
            yield from known
        elif entry.get("event") == "shown":
            yield from (f"  {line}" for line in clean_lines(str(entry.get("text", ""))))
        else:
            yield f"{paint(when, 'dim')}  {_what(entry)}"


def lines(reader: TranscriptReader) -> Iterator[str]:
    """Yield the lines of every entry."""
    told = TranscriptLines()
    for entry in reader.entries():
        yield from told.lines(reader.heading, entry)


def _what(entry: dict[str, Any]) -> str:
    event = str(entry.get("event", ""))
    if event == "exit":
        return f"exit status {clean(str(entry.get('status', '')))}"
    left_out, verdict = _LEFT_OUT, str(entry.get("verdict", ""))
    if event == "command":
        status = entry.get("exit")
        # What has ended was allowed.
        event, verdict, left_out = "exit ?" if status is None else f"exit {_short(status)}", "", _LEFT_OUT | _OF_COMMANDS
    elif event == "denied":
        left_out = _LEFT_OUT | _OF_COMMANDS | {"duration_ms"}
    head = paint(clean(verdict or event).ljust(8), _STYLES.get(verdict, "dim"))
    text = clean(str(entry.get("text") or entry.get("kind") or ""))
    more = "  ".join(_pair(name, value) for name, value in entry.items() if name not in left_out and value not in ("", [], None))
    return f"{head}  {text}{'  ' if text and more else ''}{paint(clean(more), 'dim')}".rstrip()


def _pair(name: str, value: Any) -> str:
    if name == "duration_ms" and isinstance(value, int) and value < 1 << 48:
        return f"took {duration(value)}"
    return f"{name}={_short(value)}"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
