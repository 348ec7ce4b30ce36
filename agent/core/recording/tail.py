"""The last lines of a channel, for somebody who begins to look on in the middle of it. Pure.

What is dropped leaves a trace where the rest could not be understood without it: the heading, the terminal's size, whether the
alternate screen was on, and how many operations there were.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from chalicelib.contracts.recording import Kind

#: Memory that is kept per channel, in bytes: of a terminal a screen of 200x60 in colours, of a transcript the last statements.
TAIL_BYTES: Final[dict[Kind, int]] = {"cast": 32 * 1024, "jsonl": 16 * 1024, "sealed": 0}
#: What an object costs beside its bytes. Lines of one keystroke's echo are shorter than that.
PIECE_BYTES: Final = 48

# As they stand in a line of JSON.
_MODE: Final = rb"\u001b[?"
_ENTER: Final = tuple(rb"\u001b[?" + mode + b"h" for mode in (b"1049", b"1047", b"47"))
_LEAVE: Final = tuple(rb"\u001b[?" + mode + b"l" for mode in (b"1049", b"1047", b"47"))
_RESIZED: Final = b',"r","'
_OPERATION: Final = b'"event":"operation"'
#: In the heading of a terminal's cast, and in no other's.
_TERMINAL: Final = b',"type":"'


class Tail:
    """Keeps the end of one channel. Memory: ``TAIL_BYTES``, or one piece where that is longer."""

    __slots__ = ("_heading", "_parts", "_size", "_terminal", "alternate", "kind", "operations", "resized")

    def __init__(self, kind: Kind) -> None:
        self.kind: Final = kind
        self.alternate = False
        """The alternate screen was on where the kept lines begin."""
        self.resized = b""
        """The size that the terminal had there, as its event's line; empty where that is the heading's."""
        self.operations = 0
        """Operations that were dropped."""
        self._heading = b""
        self._terminal = False
        self._parts: deque[bytes] = deque()
        self._size = 0

    def add(self, lines: bytes) -> None:
        """Add whole lines; the first one of all is the heading."""
        if not self._heading:
            end = lines.index(b"\n") + 1
            self._heading, lines = lines[:end], lines[end:]
            self._terminal = self.kind == "cast" and _TERMINAL in self._heading
        self._parts.append(lines)
        self._size += len(lines) + PIECE_BYTES
        while self._size > TAIL_BYTES[self.kind] and len(self._parts) > 1:
            self._drop()

    def lines(self) -> bytes:
        """Return heading and end, with what has to be known of the part between."""
        between = self.resized
        if self.alternate:
            between += rb'[0.000,"o","\u001b[?1049h"]' + b"\n"
        return b"".join([self._heading, between, *self._parts])

    def _drop(self) -> None:
        part = self._parts.popleft()
        self._size -= len(part) + PIECE_BYTES
        if self.kind != "cast":
            self.operations += part.count(_OPERATION)
        elif self._terminal:
            # Bulk output of a program without a terminal is not looked through: it switches nothing.
            self._learn(part)

    def _learn(self, part: bytes) -> None:
        if _MODE in part:
            entered, left = (max(part.rfind(each) for each in ways) for ways in (_ENTER, _LEAVE))
            if entered != left:
                self.alternate = entered > left
        if (at := part.rfind(_RESIZED)) >= 0:
            self.resized = part[part.rfind(b"\n", 0, at) + 1 : part.index(b"\n", at) + 1]
