"""A transcript of SQL as lines that a person reads: each statement as it was typed, what was decided, what came of it.

    10:03:00  allowed   select name, mail
                        from customers
                        name  mail
                        Ann   a***@***.com
                        Bob   b***@***.com
                        Eve   e***@***.com
                        → 3 rows, 3 values masked, 7 ms
    10:03:02  denied    drop table customers
                        → Tables go with a reviewed migration, not by hand. (rule no-dropped-tables)

A statement keeps its line breaks: on one line, what follows a ``--`` comment would read as part of the comment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cli.plain import clean, clean_lines, counted, shorten
from cli.screen import paint
from cli.sql_rows import rows

_STYLES: Final = {"allowed": "green", "denied": "red", "held": "yellow"}
_VERDICT: Final = 8
_VALUE_LIMIT: Final = 200
#: Cells of a statement that are enough to know it again.
_TEXT_CELLS: Final = 40
#: Statements whose outcome may still come.
_UNDER_WAY: Final = 1_000


class SqlLines:
    """Tells one connection's entries, in order."""

    def __init__(self, left_out: int = 0) -> None:
        """``left_out``: statements before the first entry that is told."""
        self._count = left_out
        self._last = 0
        """The number of the statement that was told last; a COPY has two, to run it and to transfer its rows."""
        self._texts: dict[int, str] = {}

    def lines(self, entry: dict[str, Any], when: str) -> Iterator[str] | None:
        """Return the lines of ``entry``, or None where it is nothing that only SQL has. ``when`` is its time, clean."""
        match entry.get("event"):
            case "operation":
                return self._statement(entry, when)
            case "done":
                return self._outcome(entry, when)
            case "text":
                # The statement above goes on.
                return (f"{_indent(when)}{line}".rstrip() for line in clean_lines(str(entry.get("text", ""))))
            case "cancel":
                return iter([f"{paint(when, 'dim')}  {'cancel'.ljust(_VERDICT)}  a statement of another connection"])
        return None

    def _statement(self, entry: dict[str, Any], when: str) -> Iterator[str]:
        self._count += 1
        verdict, indent = str(entry.get("verdict", "")), _indent(when)
        first, *rest = clean_lines(str(entry.get("text", "")).strip("\n")) or [""]
        if entry.get("kind") == "copy":
            first, rest = "… and to transfer its rows", []
        else:
            self._last = self._count
            self._remember(first)
        yield f"{paint(when, 'dim')}  {paint(clean(verdict, 20).ljust(_VERDICT), _STYLES.get(verdict, 'dim'))}  {first}".rstrip()
        yield from (f"{indent}{line}".rstrip() for line in rest)
        if values := _texts(entry.get("arguments")):
            told = "  ".join(f"${place}={clean(value, _VALUE_LIMIT)}" for place, value in enumerate(values, 1))
            yield f"{indent}{paint(f'with {told}', 'dim')}"
        if verdict != "allowed":
            rules = clean(", ".join(_texts(entry.get("rules"))))
            yield f"{indent}→ {clean(str(entry.get('message', '')))}{f' (rule {rules})' if rules else ''}"

    def _remember(self, first: str) -> None:
        self._texts[self._count] = shorten(first, _TEXT_CELLS)
        if len(self._texts) > _UNDER_WAY:
            del self._texts[next(iter(self._texts))]

    def _outcome(self, entry: dict[str, Any], when: str) -> Iterator[str]:
        number = entry.get("statement")
        text = self._texts.pop(number, "an earlier statement") if isinstance(number, int) else "a statement"
        # Where several statements were under way, an outcome says whose it is.
        whose = "" if number == self._last else f"{text}: "
        yield from (f"{_indent(when)}{line}".rstrip() for line in rows(entry))
        yield f"{_indent(when)}{paint(f'→ {whose}{_came_of(entry)}', 'dim')}"


def _texts(found: object) -> list[str]:
    return [str(each) for each in found] if isinstance(found, list) else []


def _came_of(entry: dict[str, Any]) -> str:
    tag, rows, masked, ms = (entry.get(name, 0) for name in ("tag", "rows", "masked", "ms"))
    parts = []
    if entry.get("outcome") == "ok":
        # A SELECT's tag says no more than how many rows there were; that of a CREATE TABLE AS counts rows that nobody was shown.
        parts.append(counted(int(rows), "row") if _number(rows) and tag in (0, "", f"SELECT {rows}") else clean(str(tag)))
    else:
        state, words = clean(str(entry.get("state", ""))), clean(str(entry.get("message", "")))
        outcome = clean(str(entry.get("outcome", "")))
        parts.append(" ".join(word for word in (outcome, state) if word) + (f": {words}" if words else ""))
        if _number(rows) and rows:
            parts.append(f"after {counted(int(rows), 'row')}")
    if _number(entry.get("messages")):
        # A stream of replication: what it was is in nobody's record.
        parts.append(f"{counted(entry['messages'], 'message')} of {counted(int(entry.get('bytes', 0)), 'byte')} in all")
    if _number(masked) and masked:
        parts.append(f"{counted(int(masked), 'value')} masked")
    return ", ".join([*parts, *([f"{ms} ms"] if _number(ms) else [])])


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _indent(when: str) -> str:
    return " " * (len(when) + 2 + _VERDICT + 2)
