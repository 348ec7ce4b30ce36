"""Terminal output as lines of plain text, for pipes, greps and people without a terminal.

One line is kept as a terminal would have it: backspaces, carriage returns, erasing and moving within the line are applied, so
that a corrected typing error or a progress bar reads as it looked. Full-screen programs have no lines; one line stands for each
of them.
"""

from __future__ import annotations

from typing import Final

from cli.plain import clean
from cli.terminal_parser import Kind, Parser, Token

FULL_SCREEN: Final = "[full-screen program]"
#: The longest line that is kept, in characters; the rest of it is dropped.
LINE_LIMIT: Final = 20_000
#: What lines of ours begin with, between those of a program: markers and channels. A program's own are set in by a blank.
_OURS: Final = ("▸", "── channel ")
_ALTERNATE: Final = frozenset({"?47", "?1047", "?1049"})


class TerminalText:
    """Turns a stream of terminal output into lines. Feed it pieces of any size."""

    def __init__(self) -> None:
        self._parser = Parser()
        self._line: list[str] = []
        self._at = 0
        self._alternate = False

    def feed(self, text: str) -> list[str]:
        """Return the lines that ``text`` completes."""
        lines: list[str] = []
        for token in self._parser.feed(text):
            if token.kind is Kind.SEQUENCE and token.final in "hl" and token.body in _ALTERNATE:
                lines += self._switch(token.final == "h")
            elif self._alternate:
                continue
            elif token.kind is Kind.CONTROL and token.body in "\n\v\f":
                lines.append(self._take())
            else:
                self._apply(token)
        return lines

    def flush(self) -> list[str]:
        """Return the unfinished line, if there is one."""
        return [self._take()] if self._line else []

    def _switch(self, enter: bool) -> list[str]:
        if enter == self._alternate:
            return []
        self._alternate = enter
        return [*self.flush(), FULL_SCREEN] if enter else []

    def _take(self) -> str:
        line = clean("".join(self._line), LINE_LIMIT).rstrip()
        self._line, self._at = [], 0
        return f" {line}" if line.startswith(_OURS) else line

    def _apply(self, token: Token) -> None:
        match token:
            case Token(Kind.TEXT, body):
                self._write(body)
            case Token(Kind.CONTROL, "\b"):
                self._at = max(self._at - 1, 0)
            case Token(Kind.CONTROL, "\r"):
                self._at = 0
            case Token(Kind.CONTROL, "\t"):
                self._write(" " * (8 - self._at % 8))
            case Token(Kind.SEQUENCE, body, final):
                self._edit(_number(body), body, final)

    def _edit(self, count: int, body: str, final: str) -> None:
        if final == "K" and body in ("", "0"):
            del self._line[self._at :]
        elif final == "K" and body == "2":
            self._line = [" "] * self._at
        elif final == "C":
            self._at = min(self._at + count, LINE_LIMIT)
        elif final == "D":
            self._at = max(self._at - count, 0)
        elif final == "G":
            self._at = min(count - 1, LINE_LIMIT)
        elif final == "P":
            del self._line[self._at : self._at + count]
        elif final == "@":
            self._line[self._at : self._at] = [" "] * min(count, LINE_LIMIT)

    def _write(self, text: str) -> None:
        text = text[: max(LINE_LIMIT - self._at, 0)]
        self._line += [" "] * (self._at - len(self._line))
        self._line[self._at : self._at + len(text)] = text
        self._at += len(text)


def _number(body: str) -> int:
    return max(int(body), 1) if body.isascii() and body.isdigit() and len(body) < 5 else 1
