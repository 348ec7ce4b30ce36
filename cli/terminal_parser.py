"""What a terminal would make of a stream of text: a tokenizer for ECMA-48 and the DEC control strings.

    ground ──ESC──► escape ──[──► sequence ──final──► ground          (CSI)
                       ├──] P X ^ _──► string ──BEL, ST──► ground     (OSC, DCS, SOS, PM, APC: told, never shown)
                       └──final──► ground

Follows the state diagram of DEC's parser (vt100.net/emu/dec_ansi_parser) where it matters: controls inside a sequence are
executed, CAN and SUB abort, ESC begins anew, and the 8-bit forms (U+0080 to U+009F) mean the same as their 7-bit ones. A
sequence may be cut anywhere between two calls. Lengths are bounded: what never ends stops hiding the text behind it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

#: The longest control sequence that is understood, and the longest control string that is swallowed, in characters.
SEQUENCE_LIMIT: Final = 128
STRING_LIMIT: Final = 65_536


class Kind(Enum):
    """What a token is."""

    TEXT = "text"
    CONTROL = "control"
    ESCAPE = "escape"
    SEQUENCE = "sequence"
    STRING = "string"


class Token(NamedTuple):
    """One piece of the stream.

    TEXT: ``body`` is printable. CONTROL: ``body`` is one C0 character. ESCAPE and SEQUENCE: ``body`` is what stands between the
    introducer and ``final``. STRING: ``final`` is the introducer's 7-bit letter, and its content is dropped.
    """

    kind: Kind
    body: str
    final: str = ""


_RUN: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_STRINGS: Final = frozenset("]PX^_")
_ABORT: Final = frozenset("\x18\x1a")


class Parser:
    """Cuts text into tokens. State is kept between calls."""

    def __init__(self) -> None:
        self._step = self._ground
        self._body = ""
        self._swallowed = 0
        self._tokens: list[Token] = []

    def feed(self, text: str) -> list[Token]:
        """Return the tokens that ``text`` completes."""
        self._tokens = []
        at = 0
        while at < len(text):
            if self._step == self._ground and (run := _RUN.match(text, at)):
                self._tokens.append(Token(Kind.TEXT, run[0]))
                at = run.end()
                continue
            self._step(text[at])
            at += 1
        return self._tokens

    def _ground(self, character: str) -> None:
        if character >= "\x80" and character <= "\x9f":
            self._c1(character)
        elif character == "\x1b":
            self._begin(self._escape)
        elif character < " ":
            self._tokens.append(Token(Kind.CONTROL, character))
        elif character != "\x7f":
            self._tokens.append(Token(Kind.TEXT, character))

    def _c1(self, character: str) -> None:
        """An 8-bit control is ESC and the letter 0x40 below it (ECMA-48 §5.3)."""
        self._begin(self._escape)
        self._escape(chr(ord(character) - 0x40))

    def _begin(self, step: object) -> None:
        self._step = step  # type: ignore[assignment]
        self._body = ""
        self._swallowed = 0

    def _escape(self, character: str) -> None:
        if self._interrupted(character):
            return
        if " " <= character <= "/":
            self._collect(character)
        elif not self._body and character == "[":
            self._begin(self._sequence)
        elif not self._body and character in _STRINGS:
            self._begin(self._string)
            self._tokens.append(Token(Kind.STRING, "", character))
        else:
            self._end(Token(Kind.ESCAPE, self._body, character))

    def _sequence(self, character: str) -> None:
        if self._interrupted(character):
            return
        if " " <= character <= "?":
            self._collect(character)
        else:
            self._end(Token(Kind.SEQUENCE, self._body, character))

    def _string(self, character: str) -> None:
        self._swallowed += 1
        if character == "\x1b":
            self._step = self._string_escape
        elif "\x80" <= character <= "\x9f" and character != "\x9c":
            self._c1(character)
        elif character in "\x07\x9c" or character in _ABORT or self._swallowed > STRING_LIMIT:
            self._begin(self._ground)

    def _string_escape(self, character: str) -> None:
        if character == "\\":
            self._begin(self._ground)
            return
        # Any other ESC ends the string and means what it always means.
        self._begin(self._escape)
        self._escape(character)

    def _interrupted(self, character: str) -> bool:
        """Handle what may stand inside an escape or a sequence without belonging to it."""
        if character == "\x1b":
            self._begin(self._escape)
        elif character in _ABORT:
            self._begin(self._ground)
        elif character < " ":
            self._tokens.append(Token(Kind.CONTROL, character))
        elif character == "\x7f":
            pass
        elif character > "\x7f":
            self._begin(self._ground)
            self._ground(character)
        else:
            return False
        return True

    def _collect(self, character: str) -> None:
        if len(self._body) >= SEQUENCE_LIMIT:
            self._begin(self._ground)
        else:
            self._body += character

    def _end(self, token: Token) -> None:
        self._begin(self._ground)
        self._tokens.append(token)
