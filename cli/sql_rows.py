"""The rows of a result in a transcript, as a small table: aligned, cut where they are long, and only to be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cli.plain import visible, width
from cli.screen import paint

#: Rows and columns of one result that are told, and terminal cells of one value and of one line of COPY.
_ROWS: Final = 20
_COLUMNS: Final = 16
_CELLS: Final = 40
_LINE: Final = 160
_GAP: Final = "  "


def rows(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that show what ``entry`` holds of a statement's rows. It may hold anything."""
    values, lines = entry.get("values"), entry.get("lines")
    if isinstance(values, list):
        yield from _table(_strings(entry.get("columns")), [each for each in values if isinstance(each, list)])
    if isinstance(lines, list):
        yield from (visible(each, _LINE) for each in _strings(lines)[:_ROWS])
    told = max(len(each) if isinstance(each, list) else 0 for each in (values, lines))
    total = entry.get("rows")
    more = (total if isinstance(total, int) and not isinstance(total, bool) else told) - min(told, _ROWS)
    if told and more > 0:
        kept = f", {told} of all are in the transcript" if told > _ROWS else ""
        yield paint(f"… {more} more{kept}", "dim")


def _table(names: list[str], found: list[list[Any]]) -> Iterator[str]:
    lines = [[_value(each) for each in row[:_COLUMNS]] for row in found[:_ROWS]]
    head = [visible(name, _CELLS) for name in names[:_COLUMNS]]
    if len(names) > _COLUMNS:
        head.append(f"… {len(names) - _COLUMNS} more columns")
    count = max((len(row) for row in (head, *lines)), default=0)
    widths = [max((width(row[place]) for row in (head, *lines) if place < len(row)), default=0) for place in range(count)]
    yield paint(_aligned(head, widths), "dim")
    yield from (_aligned(row, widths) for row in lines)


def _aligned(row: list[str], widths: list[int]) -> str:
    return _GAP.join(cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=False)).rstrip()


def _value(found: object) -> str:
    if found is None:
        return "NULL"
    # Quotes tell a text that reads NULL from the absence of a value.
    return "'NULL'" if found == "NULL" else visible(str(found), _CELLS)


def _strings(found: object) -> list[str]:
    return [str(each) for each in found] if isinstance(found, list) else []
