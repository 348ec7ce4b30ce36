"""A terminal that understands what a line editor sends: enough of ECMA-48 to see what a person would see."""

from __future__ import annotations

import re
import unicodedata

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class FakeTerminal:
    """``columns`` by ``rows``, with the last column's wrap pending as xterm has it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0
        self.bells = 0

    def feed(self, data: bytes) -> None:
        text, at = data.decode(), 0
        while at < len(text):
            found = _SEQUENCE.match(text, at)
            if found:
                self._control(found[1], found[2])
                at = found.end()
            else:
                self._show(text[at])
                at += 1

    def _control(self, parameters: str, final: str) -> None:
        count = int(parameters) if parameters.isdigit() else 1
        line = self._line()
        match final:
            case "A":
                assert self.row >= count, "the cursor would leave the screen"
                assert len(self.lines) - self.rows <= self.row - count, "the cursor would leave the screen"
                self.row -= count
                self.column = min(self.column, self.columns - 1)
            case "C":
                self.column = min(min(self.column, self.columns - 1) + count, self.columns - 1)
            case "J" if parameters == "2":
                self.lines, self.row, self.column = [[]], 0, 0
            case "J":
                del line[self.column :]
                del self.lines[self.row + 1 :]
            case "K":
                del line[self.column :]
            case "H":
                self.row = self.column = 0
            case "h" | "l" if parameters == "?2004":
                pass
            case _:
                raise AssertionError(f"an editor sends no {parameters}{final}")

    def _line(self) -> list[str]:
        while len(self.lines) <= self.row:
            self.lines.append([])
        return self.lines[self.row]

    def _show(self, char: str) -> None:
        if char == "\x07":
            self.bells += 1
        elif char == "\r":
            self.column = 0
        elif char == "\n":
            self.row += 1
            self.column = min(self.column, self.columns - 1)
            self._line()
        elif unicodedata.category(char) in ("Mn", "Me"):
            line = self._line()
            line[self.column - 1] += char
        else:
            assert char >= " ", f"an editor sends no {char!r}"
            wide = 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
            if self.column + wide > self.columns:
                self.row, self.column = self.row + 1, 0
            line = self._line()
            line += [" "] * (self.column - len(line))
            line[self.column : self.column + wide] = [char] + [""] * (wide - 1)
            self.column += wide

    @property
    def shown(self) -> list[str]:
        """What stands on the screen, without blanks at the end."""
        rows = ["".join(line).rstrip() for line in self.lines]
        while rows and not rows[-1]:
            rows.pop()
        return rows
