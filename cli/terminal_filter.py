"""What a recording may do to the terminal of the person who watches it: colours, cursor movement, the alternate screen.

An allow-list. Everything that reports back, reprograms keys, writes the clipboard, sets titles, loads fonts or graphics,
resizes the window or erases the scrollback is left out, and so is whatever this file does not know. Numbers are bounded,
because a terminal would repeat a character as often as it is told to. What comes out is always in the 7-bit form.
"""

from __future__ import annotations

import re
from typing import Final

from cli.terminal_parser import Kind, Parser, Token

#: Undoes everything that may pass, without moving the cursor: scroll region, colours, character sets, insert mode, wrapping.
RESET: Final = "\x1b7\x1b[r\x1b8\x1b[0m\x1b(B\x1b)B\x0f\x1b[4l\x1b[?7h\x1b[?25h"
LEAVE_ALTERNATE: Final = "\x1b[?1049l"

_CONTROLS: Final = frozenset("\b\t\n\v\f\r\x0e\x0f")
_ESCAPES: Final = frozenset({"7", "8", "D", "E", "M", "(0", "(A", "(B", ")0", ")A", ")B", "#8"})
#: Without setting and clearing tab stops: no sequence that every terminal knows would put them back.
_FINALS: Final = frozenset("ABCDEFGHIJKLMPSTXZ@`abdefmrsu")
_ALTERNATE: Final = frozenset({"47", "1047", "1049"})
#: Wrapping, showing the cursor, saving it, the alternate screen.
_MODES: Final = _ALTERNATE | {"7", "25", "1048"}
_PARAMETERS: Final = re.compile(r"[0-9;:]*")
_TOO_LARGE: Final = re.compile(r"[0-9]{5,}")
#: Marks, overrides and isolates that reorder text, and separators that some terminals break lines at.
_REORDERING: Final = dict.fromkeys([0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)])


class TerminalFilter:
    """Lets the harmless part of a stream through. Feed it pieces of any size."""

    def __init__(self) -> None:
        self._parser = Parser()
        self.alternate = False
        """True while a full-screen program has the alternate screen."""

    def feed(self, text: str) -> str:
        """Return what of ``text`` may be written to a terminal."""
        return "".join(self._passed(token) for token in self._parser.feed(text))

    def reset(self) -> str:
        """Return what puts the terminal back as it was."""
        leave = LEAVE_ALTERNATE if self.alternate else ""
        self.alternate = False
        return leave + RESET

    def _passed(self, token: Token) -> str:
        match token.kind:
            case Kind.TEXT:
                return token.body if token.body.isascii() else token.body.translate(_REORDERING)
            case Kind.CONTROL:
                return token.body if token.body in _CONTROLS else ""
            case Kind.ESCAPE:
                return self._escape(token)
            case Kind.SEQUENCE:
                return self._sequence(token)
            case Kind.STRING:
                return ""

    def _escape(self, token: Token) -> str:
        if token.body + token.final in _ESCAPES:
            return f"\x1b{token.body}{token.final}"
        # A full reset (RIS) would also drop the watcher's scrollback and settings.
        return "\x1b[0m\x1b[2J\x1b[H" if (token.body, token.final) == ("", "c") else ""

    def _sequence(self, token: Token) -> str:
        if _TOO_LARGE.search(token.body):
            return ""
        if token.body.startswith("?") and token.final in "hl":
            return self._modes(token)
        if not _PARAMETERS.fullmatch(token.body):
            return ""
        if token.final in "hl":
            return f"\x1b[4{token.final}" if token.body == "4" else ""
        if token.final == "J" and "3" in token.body:
            return ""
        return f"\x1b[{token.body}{token.final}" if token.final in _FINALS else ""

    def _modes(self, token: Token) -> str:
        wanted = [mode for mode in token.body[1:].split(";") if mode in _MODES]
        if _ALTERNATE & set(wanted):
            self.alternate = token.final == "h"
        return f"\x1b[?{';'.join(wanted)}{token.final}" if wanted else ""
