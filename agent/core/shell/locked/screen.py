"""Where an edited line stands on a terminal, and what is sent to bring the terminal from one state of it to the next.

The line is laid out here as a terminal lays it out, so that the cursor can be moved by rows: wide characters do not stand across
the edge, and a row that is exactly full is followed by an empty one only when something comes behind it. A line with more rows
than the terminal is shown in part, around its cursor.
"""

from __future__ import annotations

from typing import Final

from agent.core.shell.locked.width import shown, width

#: What stands before the second row of a line and every further one.
CONTINUED: Final = "> "
_LEAST: Final = 4
#: Characters of a line that are laid out, and how far apart the places are at which they may begin.
_WINDOW: Final = 8 * 1024
_STEP: Final = 1024


class Screen:
    """One terminal, ``columns`` wide and ``rows`` high."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns, self._height = _sane(columns, rows)
        self._drawn: tuple[str, str, int] | None = None
        self._at = (0, 0)
        self._above = 0
        self._seen = 1
        """Rows of the line that are on the screen."""

    def resize(self, columns: int, rows: int) -> bytes:
        """The terminal has another size. Returns what draws the line anew."""
        drawn = self._drawn
        self._columns, self._height = _sane(columns, rows)
        if drawn is None:
            return b""
        # Terminals put what stands there into rows of the new width by themselves.
        self._at = self._laid(drawn)[1]
        self._above, self._seen = 0, self._height
        return self._anew(*drawn)

    def draw(self, prompt: str, text: str, cursor: int) -> bytes:
        """Return what shows ``prompt`` and ``text``, instead of what was shown before."""
        if len(text) > _WINDOW:
            # More than a screen holds; laying out all of it for every key would cost more than the key is worth.
            begin = max(0, cursor - _WINDOW // 2) // _STEP * _STEP
            prompt = "…" if begin else prompt
            text, cursor = text[begin : begin + _WINDOW], cursor - begin
        wanted, drawn = (prompt, text, cursor), self._drawn
        if wanted == drawn:
            return b""
        if drawn is not None and drawn[0] == prompt and drawn[2] == len(drawn[1]) and cursor == len(text):
            added = text[len(drawn[1]) :]
            if text.startswith(drawn[1]) and added.isascii() and added.isprintable():
                row, column = self._at
                if column + len(added) < self._columns:
                    self._at, self._drawn = (row, column + len(added)), wanted
                    return added.encode()
        return self._anew(prompt, text, cursor)

    def finish(self, last: bytes = b"") -> bytes:
        """The line is over. Returns what shows ``last`` behind it and moves to a row of its own."""
        if self._drawn is None:
            return b""
        prompt, text, _ = self._drawn
        out = self.draw(prompt, text, len(text)) + last
        self._drawn = None
        return out + (b"\r\n" if self._at[1] or last else b"")

    def hide(self) -> bytes:
        """Return what takes the line away, until it is drawn anew."""
        if self._drawn is None:
            return b""
        self._drawn = None
        up = self._at[0] - self._above
        return b"\r" + (b"\x1b[%dA" % up if up else b"") + b"\x1b[J"

    def clear(self) -> bytes:
        """Return what clears the terminal; the line is drawn anew after it."""
        self._drawn = None
        return b"\x1b[H\x1b[2J"

    # -- in between ----------------------------------------------------------------------------------------------------------

    def _anew(self, prompt: str, text: str, cursor: int) -> bytes:
        out = ""
        if self._drawn is not None:
            up = self._at[0] - self._above
            out = "\r" + (f"\x1b[{up}A" if up else "") + ("\x1b[J" if self._seen > 1 else "\x1b[K")
        rows, (row, column) = self._laid((prompt, text, cursor))
        # What does not fit is left out, above or below.
        self._above = max(0, min(row - self._height // 2, len(rows) - self._height))
        seen = rows[self._above : self._above + self._height]
        self._seen = len(seen)
        out += "".join(seen[:-1]) + seen[-1].removesuffix("\r\n")
        last = self._above + len(seen) - 1
        if cursor < len(text) or last > row:
            out += "\r" + (f"\x1b[{last - row}A" if last > row else "") + (f"\x1b[{column}C" if column else "")
        self._at, self._drawn = (row, column), (prompt, text, cursor)
        return out.encode()

    def _laid(self, line: tuple[str, str, int]) -> tuple[list[str], tuple[int, int]]:
        """Return the rows, each with what brings the terminal to the next, and where the cursor stands."""
        prompt, text, cursor = line
        layout = _Layout(self._columns)
        for char in prompt:
            layout.put(char)
        for index, char in enumerate(text):
            if index == cursor:
                layout.mark(char)
            if char == "\n":
                layout.new_line()
                for each in CONTINUED:
                    layout.put(each)
            else:
                layout.put(char)
        if cursor == len(text):
            layout.mark("")
        return layout.rows(), layout.marked


class _Layout:
    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._rows: list[list[str]] = [[]]
        self._column = 0
        self.marked = (0, 0)

    def put(self, char: str) -> None:
        wide = width(char)
        if wide and self._column + wide > self._columns:
            self._next("")
        if wide > 2:
            for each in shown(char):
                self._one(each, 1)
        else:
            self._one(shown(char), wide)

    def _one(self, shows: str, wide: int) -> None:
        if wide and self._column + wide > self._columns:
            self._next("")
        self._rows[-1].append(shows)
        self._column += wide

    def new_line(self) -> None:
        self._next("\r\n")

    def mark(self, char: str) -> None:
        """The cursor is here, before ``char``."""
        if char not in ("", "\n") and self._column + width(char) > self._columns:
            self._next("")
        elif not char and self._column >= self._columns:
            # A blank moves a terminal that stands behind its last column to the next row.
            self._next(" \r")
        self.marked = (len(self._rows) - 1, min(self._column, self._columns - 1))

    def _next(self, by: str) -> None:
        if not by and self._column < self._columns:
            by = "\r\n"  # a wide character that does not fit: terminals differ in what they leave there
        self._rows[-1].append(by)
        self._rows.append([])
        self._column = 0

    def rows(self) -> list[str]:
        return ["".join(row) for row in self._rows]


def _sane(columns: int, rows: int) -> tuple[int, int]:
    """Terminals say 0 where they do not know, and must not make us work for ever where they lie."""
    return min(max(columns, _LEAST) if columns else 80, 1000), min(max(rows, 1) if rows else 24, 1000)
