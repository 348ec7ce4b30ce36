"""A terminal's screen: which character stands in which cell, and which byte of the stream put it there.

Programs do not write a line from its first character to its last: editors of lines move back and insert, progress bars return to
the first column, full-screen programs draw what has changed, wherever it stands. What a person reads is what stands in the cells.
The model follows ECMA-48 and xterm as far as text is moved by it: cursor, erasing, inserting, deleting, scrolling, wrapping. What
it does not know moves nothing. Everything is bounded by the size of the screen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from agent.core.masking.patterns import bytewise
from agent.core.masking.widths import SILENT, char_cells

#: A cell that nothing of ours was written to, or that was shown long ago.
NOWHERE: Final = -1
#: Not RE2, which takes many times as long for many short matches; no alternative can begin where another did, so it is linear.
_PART: Final = re.compile(
    rb"[ -~]+|(?:[\x80-\xc1\xc3-\xff]|\xc2(?![\x90\x98\x9b\x9d-\x9f]))+|\r\n"
    # The same in eight bits, as UTF-8 (ECMA-48 §5.3): xterm and VTE know them.
    rb"|\xc2\x9b[0-?]*[ -/]*[@-~]?|\xc2[\x90\x98\x9d-\x9f](?:[^\x07\x1b\xc2]|\xc2(?![\x80-\x9f]))*(?:\x07|\x1b\\|\xc2\x9c)"
    rb"|\xc2[\x90\x98\x9d-\x9f]|" + SILENT
)
#: The second bytes of those that begin more than one character.
_EIGHT: Final = frozenset(b"\x90\x98\x9b\x9d\x9e\x9f")
#: A sequence or character that the end of a read has cut, and the longest: longer ones are let go.
_LONGEST: Final = 410
_BEGUN: Final = bytewise(
    rb"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]{0,400}\x1b?|[ -/]+)?"
    rb"|\xc2(?:\x9b[0-?]*[ -/]*|[\x90\x98\x9d-\x9f](?:[^\x07\x1b\xc2]|\xc2[^\x80-\x9f]){0,400}[\x1b\xc2]?)"
    rb"|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\z"
)
_MOST: Final = 500
#: More moves of the cursor than a program needs that draws a whole screen. A row that is written over after so many of them in
#: one read is looked at as it stands at the end: the time that a hostile program can cost is bounded so.
_PATIENCE: Final = 500
_TAB: Final = 8


class Row:
    """The cells of one line. A character of two cells stands in the first; the second is empty.

    A line that nobody has written to has no cells yet: most lines of most sessions are such lines.
    """

    __slots__ = ("_columns", "_origin", "_text")

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._text: list[str] | None = None
        self._origin: list[int] | None = None

    @property
    def text(self) -> list[str]:
        """The character in each cell."""
        if self._text is None:
            self._text = [" "] * self._columns
        return self._text

    @property
    def origin(self) -> list[int]:
        """The number of the byte that put it there."""
        if self._origin is None:
            self._origin = [NOWHERE] * self._columns
        return self._origin

    @property
    def untouched(self) -> bool:
        """True where nobody has written to it."""
        return self._text is None and self._origin is None

    @property
    def full(self) -> bool:
        """True where text may go on in the next line."""
        return self._text is not None and self._text[-1] != " "

    def resize(self, columns: int) -> None:
        """Take another width. Text stays where it is, as far as there is room."""
        missing, self._columns = columns - self._columns, columns
        if self._text is not None:
            self._text = self._text[:columns] + [" "] * missing
        if self._origin is not None:
            self._origin = self._origin[:columns] + [NOWHERE] * missing


class Screen:
    """The cells, the cursor, and the rows that have changed. ``look`` is called with a row before it may lose what it shows."""

    def __init__(self, columns: int, rows: int, look: Callable[[Row], None]) -> None:
        self.columns = max(1, min(columns or 80, _MOST))
        self.height = max(1, min(rows or 24, _MOST))
        self.rows: list[Row] = [Row(self.columns) for _ in range(self.height)]
        self.dirty: dict[int, Row] = {}
        """Rows that have changed since they were looked at, by identity."""
        self.patience = _PATIENCE
        """How often rows are looked at before all of them are, at the end of a read."""
        self.spread: dict[int, int] = {}
        """How many bytes put many cells there at once, by where they begin."""
        self._look = look
        self._other: list[Row] | None = None
        self._x = self._y = 0
        self._saved = (0, 0)
        self._top, self._bottom = 0, self.height - 1
        self._insert = False
        self._last = " "
        self._begun = b""
        """The beginning of a sequence or character that the end of a read has cut."""
        self._orders: dict[bytes, Callable[[list[int]], None]] = {
            b"A": lambda n: self._move(self._x, self._y - _first(n)),
            b"B": lambda n: self._move(self._x, self._y + _first(n)),
            b"C": lambda n: self._move(self._at() + _first(n), self._y),
            b"D": lambda n: self._move(self._at() - _first(n), self._y),
            b"E": lambda n: self._move(0, self._y + _first(n)),
            b"F": lambda n: self._move(0, self._y - _first(n)),
            b"G": lambda n: self._move(_first(n) - 1, self._y),
            b"`": lambda n: self._move(_first(n) - 1, self._y),
            b"a": lambda n: self._move(self._at() + _first(n), self._y),
            b"d": lambda n: self._move(self._x, _first(n) - 1),
            b"e": lambda n: self._move(self._x, self._y + _first(n)),
            b"H": lambda n: self._move((n[1] or 1) - 1 if len(n) > 1 else 0, _first(n) - 1),
            b"f": lambda n: self._move((n[1] or 1) - 1 if len(n) > 1 else 0, _first(n) - 1),
            b"I": lambda n: self._move((self._at() // _TAB + _first(n)) * _TAB, self._y),
            b"Z": lambda n: self._move(((self._at() - 1) // _TAB - _first(n) + 1) * _TAB, self._y),
            b"J": self._erase_screen,
            b"K": self._erase_line,
            b"X": lambda n: self._blank(self._row(), self._at(), self._at() + _first(n)),
            b"P": lambda n: self._shift(self._at(), -_first(n)),
            b"@": lambda n: self._shift(self._at(), _first(n)),
            b"L": lambda n: self._scroll(self._y, -_first(n)) if self._top <= self._y <= self._bottom else None,
            b"M": lambda n: self._scroll(self._y, _first(n)) if self._top <= self._y <= self._bottom else None,
            b"S": lambda n: self._scroll(self._top, _first(n)),
            b"T": lambda n: self._scroll(self._top, -_first(n)),
            b"r": self._margins,
            b"s": lambda n: self._save(),
            b"u": lambda n: self._move(*self._saved),
        }

    @property
    def cursor(self) -> tuple[Row, int]:
        """The row in which the cursor stands, and its column."""
        return self._row(), self._at()

    def resize(self, columns: int, rows: int) -> None:
        """Take another size. Text stays where it is, as far as there is room."""
        self.settle()
        self.columns, self.height = max(1, min(columns or 80, _MOST)), max(1, min(rows or 24, _MOST))
        self._other = None
        for row in self.rows:
            row.resize(self.columns)
        lost = max(0, self._y - self.height + 1)
        self.rows = (self.rows[lost:] + [Row(self.columns) for _ in range(self.height)])[: self.height]
        self._x, self._y = min(self._x, self.columns - 1), self._y - lost
        self._top, self._bottom = 0, self.height - 1

    def write(self, data: bytes, origin: int) -> None:
        """Show ``data``, whose first byte has the number ``origin``, or NOWHERE where nobody will ask."""
        # What has begun before has its first byte elsewhere, and is not covered from here.
        before = len(self._begun)
        data, self._begun = self._begun + data, b""
        cut = begun(data)
        if cut < len(data):
            data, self._begun = data[:cut], data[cut:]
        for match in _PART.finditer(data):
            part = match.group()
            where = origin + match.start() - before if origin >= 0 and match.start() >= before else NOWHERE
            first = part[0]
            if first == 0xC2 and part[1:2] and part[1] in _EIGHT:
                part, first = b"\x1b" + bytes((part[1] - 0x40,)) + part[2:], 0x1B
            if first == 0x1B:
                self._escape(part, where)
            elif part == b"\r\n":
                self._x = 0
                self._feed()
            elif first < 0x20 or first == 0x7F:
                self._control(first)
            elif first < 0x80:
                self._print(part.decode("ascii"), where)
            else:
                self._print_wide(part, where)

    def settle(self) -> None:
        """Have every row looked at that has changed."""
        for row in [*self.dirty.values()]:
            self._look(row)
        self.dirty.clear()
        self.patience = _PATIENCE

    def around(self, row: Row) -> list[Row]:
        """Return the rows that a text in ``row`` may be spread over: those before and behind it that are full."""
        place = next((place for place, each in enumerate(self.rows) if each is row), None)
        if place is None:
            return [row]
        first, last = place, place
        while first > 0 and place - first < 8 and self.rows[first - 1].full:
            first -= 1
        while last + 1 < len(self.rows) and last - place < 8 and self.rows[last].full:
            last += 1
        return self.rows[first : last + 1]

    # -- text ----------------------------------------------------------------------------------------------------------------

    def _print(self, text: str, origin: int) -> None:
        self._last = text[-1]
        while text:
            if self._x >= self.columns:
                self._x = 0
                self._feed()
            row, x = self._row(), self._x
            part = text[: self.columns - x]
            size = len(part)
            if self._insert:
                self._shift(x, size)
            row.text[x : x + size] = part
            row.origin[x : x + size] = range(origin, origin + size) if origin >= 0 else [NOWHERE] * size
            self.dirty[id(row)] = row
            self._x = x + size
            text = text[size:]
            if origin >= 0:
                origin += size

    def _print_wide(self, data: bytes, origin: int) -> None:
        try:
            chars = data.decode()
            sizes = [len(char.encode()) for char in chars]
        except UnicodeDecodeError:
            chars, sizes = data.decode("latin-1"), [1] * len(data)
        for char, size in zip(chars, sizes, strict=True):
            self._put(char, char_cells(char), origin)
            if origin >= 0:
                origin += size

    def _put(self, char: str, cells: int, origin: int) -> None:
        if not cells:
            return  # it takes no room, so it hides nothing from whoever reads the cells
        if self._x + cells > self.columns:
            self._x = 0
            self._feed()
        row = self._row()
        for place, each in enumerate([char, ""][:cells]):
            if self._x + place < self.columns:
                row.text[self._x + place] = each
                row.origin[self._x + place] = origin
        self.dirty[id(row)] = row
        self._x += cells
        self._last = char

    def _repeat(self, count: int, origin: int) -> None:
        """Put the last character there again, all of them from one place. A row of them at the most: more are of no use."""
        if char_cells(self._last) != 1:
            for _ in range(count):
                self._put(self._last, char_cells(self._last), origin)
            return
        while count > 0:
            begin = self._x if self._x < self.columns else 0
            size = min(count, self.columns - begin)
            self._print(self._last * size, NOWHERE)
            self._row().origin[begin : begin + size] = [origin] * size
            count -= size

    # -- control -------------------------------------------------------------------------------------------------------------

    def _control(self, byte: int) -> None:
        if byte == 0x0A or byte == 0x0B or byte == 0x0C:
            self._feed()
        elif byte == 0x0D:
            self._move(0, self._y)
        elif byte == 0x08:
            self._move(self._at() - 1, self._y)
        elif byte == 0x09:
            self._x = min(self.columns - 1, (self._x // _TAB + 1) * _TAB)

    def _escape(self, part: bytes, origin: int) -> None:
        if part[1:2] == b"[":
            self._sequence(part, origin)
        elif part == b"\x1b7":
            self._save()
        elif part == b"\x1b8":
            self._move(*self._saved)
        elif part == b"\x1bM":
            if self._y == self._top:
                self._scroll(self._top, -1)
            else:
                self._move(self._x, self._y - 1)
        elif part in (b"\x1bD", b"\x1bE"):
            self._x = self._x if part == b"\x1bD" else 0
            self._feed()
        elif part == b"\x1bc":
            self._fresh()

    def _sequence(self, part: bytes, origin: int) -> None:
        final, body = part[-1:], part[2:-1]
        if final == b"m":
            return
        if body[:1] == b"?":
            if final in b"hl" and body[1:] in (b"1049", b"1047", b"47"):
                self._alternate(final == b"h")
            return
        if body.strip(b"0123456789;"):
            return
        numbers = [min(int(each or 0), 9999) for each in body.split(b";")[:4]]
        if final == b"b" and self.patience > 0:
            self.patience -= 1
            if origin >= 0:
                self.spread[origin] = len(part)
            self._repeat(min(_first(numbers), self.columns), origin)
        elif final in b"hl" and numbers == [4]:
            self._insert = final == b"h"
        elif (order := self._orders.get(final)) is not None:
            self._seen()
            order(numbers)

    def _seen(self) -> None:
        """The cursor's row may lose what it shows: have it looked at."""
        row = self._row()
        if self.patience > 0 and self.dirty.pop(id(row), None) is not None:
            self.patience -= 1
            self._look(row)

    def _row(self) -> Row:
        return self.rows[self._y]

    def _at(self) -> int:
        return min(self._x, self.columns - 1)

    def _move(self, x: int, y: int) -> None:
        self._seen()
        self._x, self._y = max(0, min(x, self.columns - 1)), max(0, min(y, self.height - 1))

    def _save(self) -> None:
        self._saved = (self._x, self._y)

    def _feed(self) -> None:
        if self._y == self._bottom:
            self._scroll(self._top, 1)
        elif self._y < self.height - 1:
            self._y += 1

    def _scroll(self, top: int, lines: int) -> None:
        """Move the lines from ``top`` to the bottom margin up, or down where ``lines`` is negative."""
        size = self._bottom - top + 1
        count = min(abs(lines), size)
        region = self.rows[top : self._bottom + 1]
        lost, kept = (region[:count], region[count:]) if lines > 0 else (region[size - count :], region[: size - count])
        for row in lost:
            if self.dirty.pop(id(row), None) is not None:
                self._look(row)
        fresh = self._fresh_rows(lost)
        self.rows[top : self._bottom + 1] = kept + fresh if lines > 0 else fresh + kept

    def _fresh_rows(self, rows: list[Row]) -> list[Row]:
        """Return what stands in the place of ``rows``. Those that nobody has written to stay: to make a screen takes long."""
        return [row if row.untouched else Row(self.columns) for row in rows]

    def _blank(self, row: Row, start: int, end: int) -> None:
        end = min(end, self.columns)
        row.text[start:end] = [" "] * (end - start)
        row.origin[start:end] = [NOWHERE] * (end - start)

    def _shift(self, at: int, cells: int) -> None:
        row = self._row()
        count = min(abs(cells), self.columns - at)
        self._shifted(row.text, at, count, [" "] * count, right=cells > 0)
        self._shifted(row.origin, at, count, [NOWHERE] * count, right=cells > 0)
        self.dirty[id(row)] = row

    def _shifted(self, cells: list[Any], at: int, count: int, gap: list[Any], *, right: bool) -> None:
        cells[at:] = (gap + cells[at:])[: self.columns - at] if right else cells[at + count :] + gap

    def _erase_line(self, numbers: list[int]) -> None:
        start, end = ((self._at(), self.columns), (0, self._at() + 1), (0, self.columns))[min(numbers[0], 2)]
        self._blank(self._row(), start, end)

    def _erase_screen(self, numbers: list[int]) -> None:
        self.settle()
        if numbers[0] < 2:
            self._erase_line(numbers)
        first, last = ((self._y + 1, self.height), (0, self._y), (0, self.height))[min(numbers[0], 2)]
        self.rows[first:last] = self._fresh_rows(self.rows[first:last])

    def _margins(self, numbers: list[int]) -> None:
        top, bottom = numbers[0] or 1, numbers[1] if len(numbers) > 1 and numbers[1] else self.height
        if top < bottom <= self.height:
            self._top, self._bottom = top - 1, bottom - 1
            self._move(0, 0)

    def _alternate(self, on: bool) -> None:
        self.settle()
        if on and self._other is None:
            self._other, self.rows = self.rows, [Row(self.columns) for _ in range(self.height)]
        elif not on and self._other is not None:
            self.rows, self._other = self._other, None

    def _fresh(self) -> None:
        self.settle()
        self.rows = self._fresh_rows(self.rows)
        self._x = self._y = self._top = 0
        self._bottom, self._insert = self.height - 1, False


def begun(data: bytes) -> int:
    """Return where a sequence or character begins that the end of ``data`` has cut: a terminal shows nothing of it yet."""
    cut = _BEGUN.search(data, max(0, len(data) - _LONGEST))
    return len(data) if cut is None else int(cut.start())


def _first(numbers: list[int]) -> int:
    return numbers[0] or 1
