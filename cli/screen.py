"""What people see: colours, tables, notices. Everything that prints text from elsewhere cleans it first."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final, TextIO

from cli.plain import clean, shorten, width

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_GAP: Final = "  "
_NARROWEST: Final = 8
#: What a flexible column should keep before others are left out for it.
_LEGIBLE: Final = 20


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person is at the other end of ``stream``."""
    try:
        return stream.isatty()
    except ValueError:  # the stream was closed
        return False


def coloured(stream: TextIO) -> bool:
    """Tell whether ``stream`` takes colours: a terminal, not a dumb one, and no NO_COLOR (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: str, stream: TextIO | None = None) -> str:
    """Return ``text`` in the given styles, or unchanged where the stream (standard output) takes no colours."""
    chosen = [_CODES[style] for style in styles if style]
    if not chosen or not text or not coloured(stream or sys.stdout):
        return text
    return f"\x1b[{';'.join(chosen)}m{text}\x1b[0m"


def say(text: str = "") -> None:
    """Print one line to standard output."""
    print(text)


def note(text: str) -> None:
    """Print one line about what is going on to standard error, so that output can still be piped."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    note(f"{paint('warning:', 'yellow', stream=sys.stderr)} {text}")


def fail(code: str, message: str, hint: str = "") -> None:
    """Print why a command did not do what was asked: one sentence with its stable code, and a next step."""
    name = paint("sallyport:", "red", "bold", stream=sys.stderr)
    note(f"{name} {clean(message)} [{clean(code, 64)}]")
    if hint:
        note(f"  {clean(hint)}")


def say_json(value: Any) -> None:
    """Print ``value`` (a contract struct, or a list or dict of them) as indented JSON, every field present."""
    import msgspec

    # JSON escapes C0 controls itself; the rest (C1, bidi) is data that a program asked for, unless a terminal shows it.
    text = msgspec.json.format(msgspec.json.encode(_whole(value)), indent=2).decode()
    if is_terminal(sys.stdout):
        text = "\n".join(clean(line, 1 << 20) for line in text.split("\n"))
    say(text)


def one_line(value: Any) -> str:
    """Return ``value`` as JSON on one line: for a program that reads it while the command goes on."""
    import msgspec

    return msgspec.json.encode(_whole(value)).decode()


def _whole(value: Any) -> Any:
    """Contracts leave out fields that hold their default; scripts should not have to know the defaults."""
    import msgspec

    if isinstance(value, msgspec.Struct):
        return {name: _whole(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {name: _whole(each) for name, each in value.items()} if isinstance(value, dict) else value


class Column:
    """One column of a table: its heading, whether numbers are aligned right, and whether it may be shortened to fit.

    A ``spare`` one is left out where the others would have to be shortened beyond recognition.
    """

    def __init__(self, heading: str, *, right: bool = False, flexible: bool = False, spare: bool = False) -> None:
        self.heading = heading
        self.right = right
        self.flexible = flexible
        self.spare = spare


class Cell:
    """One cell: text from anywhere (cleaned here) and the styles it is painted in."""

    def __init__(self, text: str, *styles: str) -> None:
        self.text = clean(text)
        self.styles = styles


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], stream: TextIO | None = None) -> list[str]:
    """Return the lines of a table. On a terminal it fits the window: flexible columns give way, widest first."""
    stream = stream or sys.stdout
    widths = [max(width(column.heading), *(width(row[n].text) for row in rows)) for n, column in enumerate(columns)]
    if is_terminal(stream):
        room = _window(stream)
        kept = _kept(widths, columns, rows, room)
        columns, rows, widths = [columns[n] for n in kept], [[row[n] for n in kept] for row in rows], [widths[n] for n in kept]
        _fit(widths, columns, room)
    lines = [paint(_line(columns, widths, [Cell(column.heading) for column in columns], stream), "dim", stream=stream)]
    lines += [_line(columns, widths, row, stream) for row in rows]
    return lines


def _window(stream: TextIO) -> int:
    try:
        return int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _kept(widths: Sequence[int], columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int) -> list[int]:
    """Return which columns are shown: where room is short, those that say nothing go first, then spare ones from the right."""
    kept = list(range(len(columns)))
    empty = [n for n in kept if not any(row[n].text for row in rows)]
    for n in [*empty, *(n for n in reversed(kept) if columns[n].spare and n not in empty)]:
        wanted = (min(widths[n], _LEGIBLE) if columns[n].flexible else widths[n] for n in kept)
        if sum(wanted) + len(_GAP) * (len(kept) - 1) <= room:
            break
        kept.remove(n)
    return kept


def _fit(widths: list[int], columns: Sequence[Column], room: int) -> None:
    flexible = [n for n, column in enumerate(columns) if column.flexible]
    while flexible and sum(widths) + len(_GAP) * (len(widths) - 1) > room:
        widest = max(flexible, key=lambda n: widths[n])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell], stream: TextIO) -> str:
    parts: list[str] = []
    for column, cells, cell in zip(columns, widths, row, strict=True):
        text = shorten(cell.text, cells)
        space = " " * (cells - width(text))
        painted = paint(text, *cell.styles, stream=stream)
        parts.append(space + painted if column.right else painted + space)
    return _GAP.join(parts).rstrip()


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return lines of ``name  value``, names aligned; pairs with an empty value are left out."""
    shown = [(name, clean(value)) for name, value in pairs if value]
    longest = max((width(name) for name, _ in shown), default=0)
    return [f"{paint(name.ljust(longest), 'dim')}{_GAP}{value}" for name, value in shown]
