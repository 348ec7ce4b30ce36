"""What somebody seems to have typed in a shell that is only recorded, read from the screen.

Keys are not recorded, and say little by themselves: a line comes from history, completion and corrections. So a line is what
stands behind the cell in which its first key found the cursor, when the terminal goes on to the next row after Enter. What does
not echo is not seen, so passwords are not. It is a reading of the screen, and no proof: whoever draws on the screen draws what is
read, lines that were typed ahead are found only behind a prompt that was seen before, and full-screen programs are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.core.masking.screen import NOWHERE, Row, Screen

#: Bytes of the row that the cursor stands in, before the first key.
_TAIL: Final = 4_096
#: Bytes that may be shown from the first key until the line is over. They are drawn once, some 10 ms for the most of them.
_MOST: Final = 64 * 1024
#: Characters of a line that are kept.
LINE_LIMIT: Final = 4_096
#: Prompts that are known again: the shell's, and those of what asks for a word in between.
_PROMPTS: Final = 4
#: Lines that may be typed ahead, and rows among which they are looked for.
_AHEAD: Final = 100
_ROWS: Final = 200

_FULL: Final = (b"\x1b[?1049", b"\x1b[?1047", b"\x1b[?47")


class Seen:
    """The line that is being typed at one terminal, and those that have ended since somebody took them."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._tail = b""
        """What the terminal was sent of the row in which the cursor stands."""
        self._before: bytes | None = None
        """That, when the first key of the line came."""
        self._since = b""
        """What the terminal was sent since."""
        self._prompts: list[str] = []
        """What stood before the first keys of the last lines, the newest first."""
        self._entered = 0
        self._looked_at = 0
        self._full = False
        self._lines: list[str] = []

    def resized(self, columns: int, rows: int) -> None:
        """The terminal has another size: what stands where is not known until the next line."""
        self._columns, self._rows = columns, rows
        self._forget()

    def typed(self, data: bytes) -> None:
        """Take keys."""
        if self._full:
            return
        if b"\x03" in data:
            self._forget()
            return
        if self._before is None and (not self._entered or self._prompted()):
            # Where lines were typed ahead, and a prompt stands there without them, somebody has read them who echoes nothing.
            self._before, self._since, self._entered = self._tail, b"", 0
        self._entered = min(_AHEAD, self._entered + data.count(b"\r") + data.count(b"\n"))
        self._looked_at = 0

    def shown(self, data: bytes) -> None:
        """Take what the terminal was sent."""
        full = self._switched(data)
        if full != self._full or full:
            if full and not self._full:
                self._shown(data[: min(at for at in map(data.find, _FULL) if at >= 0)])
            self._full, self._tail = full, b""
            self._forget()
            return
        self._shown(data)

    def take(self) -> list[str]:
        """Return and forget the lines that are over."""
        lines, self._lines = self._lines, []
        return lines

    def _shown(self, data: bytes) -> None:
        while self._entered:
            row, end, rest = data.partition(b"\n")
            if not end:
                break
            self._over(row)
            data = rest
        if self._before is not None:
            self._since += data
            if len(self._since) > _MOST:
                self._forget()
        _, end, tail = data.rpartition(b"\n")
        self._tail = (tail if end else self._tail + data)[-_TAIL:]

    def _over(self, row: bytes) -> None:
        """A row has ended behind Enter: it holds the line, or one that was typed ahead, or what a program has said."""
        if self._before is not None:
            screen = self._drawn(self._before)
            begins, x = screen.cursor
            before, right = "".join(begins.text[:x]).rstrip(), "".join(begins.text[x:]).strip()
            screen.write(self._since + row, NOWHERE)
            shown = _text(screen, begins, x).removesuffix(right)
            line = self._behind(shown)
            # A prompt behind the first key: what was entered until then was read by somebody who echoes nothing.
            self._entered = self._entered - 1 if line is None else 0
            line = shown if line is None else line
            if before:
                self._prompts = [before, *(each for each in self._prompts if each != before)][:_PROMPTS]
        else:
            screen = self._drawn(self._tail + row)
            line = self._behind(_text(screen, screen.rows[0], 0))
            self._entered -= line is not None
            self._looked_at += 1
            if self._looked_at > _ROWS:
                self._forget()
        if line and (line := line.strip()):
            self._lines.append(line[:LINE_LIMIT])
        self._tail, self._before, self._since = b"", None, b""

    def _behind(self, shown: str) -> str | None:
        """Return what stands behind a known prompt; None where none of them begins ``shown``."""
        return next((shown[len(each) :] for each in self._prompts if shown.startswith(each)), None)

    def _prompted(self) -> bool:
        row, x = self._drawn(self._tail).cursor
        return "".join(row.text[:x]).rstrip() in self._prompts

    def _switched(self, data: bytes) -> bool:
        """True where a full-screen program has the terminal behind ``data``."""
        at = max(map(data.rfind, _FULL))
        if at < 0:
            return self._full
        end = data[at + 5 : at + 9].lstrip(b"0123456789")[:1]
        return end == b"h" if end in (b"h", b"l") else self._full

    def _drawn(self, data: bytes) -> Screen:
        screen = Screen(self._columns, self._rows, lambda _: None)
        screen.write(data, NOWHERE)
        return screen

    def _forget(self) -> None:
        self._before, self._since, self._entered = None, b"", 0


def _text(screen: Screen, row: Row, x: int) -> str:
    """What stands from column ``x`` of ``row`` on, with the rows that it goes on in; nothing where the row has scrolled away."""
    return "".join(_spread(screen, row, x)).rstrip()


def _spread(screen: Screen, row: Row, x: int) -> Iterator[str]:
    at = next((at for at, each in enumerate(screen.rows) if each is row), None)
    while at is not None:
        yield "".join(screen.rows[at].text[x:])
        at, x = (at + 1 if screen.rows[at].full and at + 1 < len(screen.rows) else None), 0
