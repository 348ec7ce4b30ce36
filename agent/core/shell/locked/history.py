"""The lines of one session, newest last, and where a person looks among them."""

from __future__ import annotations

from typing import Final

#: Lines that are remembered, and the characters in all of them.
LIMIT: Final = 1000
SIZE: Final = 256 * 1024


class History:
    """Lines, and the one that is looked at. What was being typed stands behind the newest."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._at = 0
        self.size = 0
        """Characters in all of them."""
        self._typed = ""

    def add(self, line: str) -> None:
        """Remember a line that was entered; nobody looks at an older one any more."""
        if line.strip():
            self._lines.append(line)
            self.size += len(line)
            while len(self._lines) > LIMIT or self.size > SIZE:
                self.size -= len(self._lines.pop(0))
        self._at = len(self._lines)

    def begin(self) -> None:
        """Begin behind the newest line."""
        self._at = len(self._lines)

    def older(self, typed: str) -> str | None:
        """Return the line before the one that is looked at, or None where there is none. ``typed`` is kept for the way back."""
        if not self._at:
            return None
        if self._at == len(self._lines):
            self._typed = typed
        self._at -= 1
        return self._lines[self._at]

    def newer(self) -> str | None:
        """Return the line after the one that is looked at, and what was typed after the newest."""
        if self._at >= len(self._lines):
            return None
        self._at += 1
        return self._typed if self._at == len(self._lines) else self._lines[self._at]

    def following(self, line: str) -> str:
        """Return what was entered after ``line``, where ``line`` is the one that is looked at; nothing otherwise."""
        if self._at + 1 < len(self._lines) and self._lines[self._at] == line:
            return self._lines[self._at + 1]
        return ""

    def find(self, words: str, before: int | None = None) -> tuple[int, str] | None:
        """Return the newest line with ``words`` in it, and its place. Only lines ``before`` a place count, if one is given."""
        top = len(self._lines) if before is None else before
        for at in range(top - 1, -1, -1):
            if words in self._lines[at]:
                return at, self._lines[at]
        return None

    def last_word(self) -> str:
        """Return the last word of the newest line."""
        words = self._lines[-1].split() if self._lines else []
        return words[-1] if words else ""
