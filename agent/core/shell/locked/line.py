"""A line that is being edited: text, cursor, what was cut out of it last, and what it was before."""

from __future__ import annotations

from typing import Final

from agent.core.shell.locked.width import width

#: Characters of a line. Nothing makes a longer one: what was cut out can be put in again and again.
LIMIT: Final = 64 * 1024
#: Changes that can be undone, and characters that are kept for that.
_UNDO_LIMIT: Final = 500
_UNDO_SIZE: Final = 512 * 1024


class Line:
    """Text and cursor. Everything that moves or cuts does nothing where there is nothing to move over or to cut."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.cursor = len(text)
        self.cut = ""
        """What was cut out last."""
        self._before: list[tuple[str, int]] = []
        self._typed_to = -1
        """Where typing ended, if the last change was that."""

    # -- changes -------------------------------------------------------------------------------------------------------------

    def type(self, text: str) -> bool:
        """Insert what was typed: with what was typed before it, one change. False where that would be too long."""
        before = len(self._before)
        goes_on = self._typed_to == self.cursor
        if not self.insert(text):
            return False
        if goes_on and before:
            del self._before[-1]
        self._typed_to = self.cursor
        return True

    def insert(self, text: str) -> bool:
        """Insert at the cursor. False, and nothing done, where that would be too long."""
        if len(self.text) + len(text) > LIMIT:
            return False
        self._keep()
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)
        return True

    def replace(self, text: str) -> None:
        """Put another text in its place, with the cursor at its end."""
        self._keep()
        self.text, self.cursor = text, len(text)

    def backspace(self) -> None:
        """Remove the character before the cursor."""
        self._remove(self._left(), self.cursor)

    def delete(self) -> None:
        """Remove the character under the cursor."""
        self._remove(self.cursor, self._right())

    def transpose(self) -> None:
        """Exchange the two characters around the cursor, or the last two."""
        at = min(self.cursor, len(self.text) - 1)
        if at < 1:
            return
        self._keep()
        text = self.text
        self.text = text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]
        self.cursor = at + 1

    def cut_end(self) -> None:
        """Cut to the end of the row."""
        end = self._row_end()
        self._cut(self.cursor, end if end > self.cursor else min(end + 1, len(self.text)))

    def cut_start(self) -> None:
        """Cut from the beginning of the row."""
        self._cut(self._row_start(), self.cursor)

    def cut_blank(self) -> None:
        """Cut back to the last blank."""
        at, text = self.cursor, self.text
        while at and text[at - 1].isspace():
            at -= 1
        while at and not text[at - 1].isspace():
            at -= 1
        self._cut(at, self.cursor)

    def cut_word_left(self) -> None:
        """Cut the word before the cursor."""
        self._cut(self._word_start(), self.cursor)

    def cut_word_right(self) -> None:
        """Cut the word after the cursor."""
        self._cut(self.cursor, self._word_end())

    def yank(self) -> bool:
        """Insert what was cut. False where that would be too long."""
        return not self.cut or self.insert(self.cut)

    def undo(self) -> None:
        """Go back to what it was before the last change."""
        self._typed_to = -1
        if self._before:
            self.text, self.cursor = self._before.pop()

    # -- moves ---------------------------------------------------------------------------------------------------------------

    def left(self) -> None:
        """Move one character to the left."""
        self.cursor = self._left()

    def right(self) -> None:
        """Move one character to the right."""
        self.cursor = self._right()

    def word_left(self) -> None:
        """Move to the beginning of a word."""
        self.cursor = self._word_start()

    def word_right(self) -> None:
        """Move to the end of a word."""
        self.cursor = self._word_end()

    def home(self) -> None:
        """Move to the beginning of the row."""
        self.cursor = self._row_start()

    def end(self) -> None:
        """Move to the end of the row."""
        self.cursor = self._row_end()

    def up(self) -> bool:
        """Move to the row above. False where there is none."""
        start = self._row_start()
        if not start:
            return False
        above = self.text.rfind("\n", 0, start - 1) + 1
        self.cursor = min(above + self.cursor - start, start - 1)
        return True

    def down(self) -> bool:
        """Move to the row below. False where there is none."""
        start, end = self._row_start(), self._row_end()
        if end == len(self.text):
            return False
        below = self.text.find("\n", end + 1)
        self.cursor = min(end + 1 + self.cursor - start, below if below >= 0 else len(self.text))
        return True

    # -- in between ----------------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        self._typed_to = -1
        self._before.append((self.text, self.cursor))
        del self._before[: -min(_UNDO_LIMIT, 1 + _UNDO_SIZE // (1 + len(self.text)))]

    def _remove(self, begin: int, end: int) -> None:
        if begin < end:
            self._keep()
            self.text = self.text[:begin] + self.text[end:]
            self.cursor = begin

    def _cut(self, begin: int, end: int) -> None:
        if begin < end:
            self.cut = self.text[begin:end]
            self._remove(begin, end)

    def _left(self) -> int:
        """Where the character before the cursor begins, with what combines with it."""
        at = self.cursor - 1
        while at > 0 and self.text[at] != "\n" and not width(self.text[at]):
            at -= 1
        return max(at, 0)

    def _right(self) -> int:
        at = self.cursor + 1
        while at < len(self.text) and self.text[at] != "\n" and not width(self.text[at]):
            at += 1
        return min(at, len(self.text))

    def _row_start(self) -> int:
        return self.text.rfind("\n", 0, self.cursor) + 1

    def _row_end(self) -> int:
        end = self.text.find("\n", self.cursor)
        return end if end >= 0 else len(self.text)

    # Character by character: a pattern that is sought backwards costs the square of a line's length.

    def _word_start(self) -> int:
        at, text = self.cursor, self.text
        while at and not _in_word(text[at - 1]):
            at -= 1
        while at and _in_word(text[at - 1]):
            at -= 1
        return at

    def _word_end(self) -> int:
        at, text = self.cursor, self.text
        while at < len(text) and not _in_word(text[at]):
            at += 1
        while at < len(text) and _in_word(text[at]):
            at += 1
        return at


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"
