"""The line editor: keys change a line and what is on the screen, until the line is entered. Emacs keys, as readline has them.

``press`` changes, ``draw`` tells the terminal; so a burst of keys is drawn once. Nothing here knows the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from agent.core.shell.locked.history import History
from agent.core.shell.locked.keys import Key
from agent.core.shell.locked.line import Line
from agent.core.shell.locked.screen import Screen
from agent.core.shell.locked.width import shown

_BELL: Final = b"\x07"
PASTE_ON: Final = b"\x1b[?2004h"
PASTE_OFF: Final = b"\x1b[?2004l"


class Entered(msgspec.Struct, frozen=True):
    """A whole line. ``overlong`` where something of it is missing, so that it must not run."""

    text: str
    overlong: bool = False


class Left(msgspec.Struct, frozen=True):
    """Ctrl-D on an empty line: the end of the shell."""


class Completing(msgspec.Struct, frozen=True):
    """The names that begin like ``word`` are wanted. ``first`` where it is a program's name."""

    word: str
    first: bool


Outcome = Entered | Left | Completing


class Editor:
    """One line after another. ``unfinished`` tells whether a shell would wait for more of a text."""

    def __init__(self, columns: int, rows: int, unfinished: Callable[[str], bool]) -> None:
        self._screen: Final = Screen(columns, rows)
        self._unfinished = unfinished
        self._history: Final = History()
        self._line = Line()
        self._prompt = ""
        self._next = ""
        self._cut = ""
        self._overlong = False
        self._sought: tuple[str, int | None, str] | None = None
        """While something is looked for in the history: the words, where they were found, and the line before."""
        self._said = bytearray()
        self._open = False
        """A line is being edited."""
        self._moves: dict[str, Callable[[], object]] = {}

    def begin(self, prompt: str) -> None:
        """Show ``prompt`` and begin a line, at the beginning of a row of the terminal."""
        self._prompt = prompt
        self._cut = self._line.cut or self._cut
        self._line = Line(self._next)
        self._line.cut = self._cut
        self._next, self._overlong, self._sought, self._open = "", False, None, True
        self._bind()
        self._history.begin()
        self._said += PASTE_ON

    def draw(self) -> bytes:
        """Return what brings the screen up to date."""
        line = self._line
        if not self._open:
            drawn = b""
        elif self._sought is None:
            drawn = self._screen.draw(self._prompt, line.text, line.cursor)
        else:
            words, at, _ = self._sought
            failed = "failed " if words and at is None else ""
            drawn = self._screen.draw(f"({failed}reverse-i-search)`{words}': ", line.text, line.cursor)
        said, self._said = bytes(self._said), bytearray()
        # What was said comes first, but for the bell.
        bell = _BELL if _BELL in said else b""
        return said.replace(_BELL, b"") + drawn + bell

    def hide(self) -> bytes:
        """Return what takes the line off the screen, until it is drawn again."""
        return self._screen.hide()

    def resize(self, columns: int, rows: int) -> bytes:
        """The terminal has another size."""
        return self._screen.resize(columns, rows)

    def press(self, key: Key) -> Outcome | None:
        """Take a key. Returns what has come of it, if the line is over or somebody else must help with it."""
        if self._sought is not None and self._seeks(key):
            return None
        name = key.name
        if name in ("text", "paste"):
            self._insert(key)
        elif name == "overlong":
            self._overlong = True
            self._said += _BELL
        elif name in ("enter", "ctrl-o"):
            return self._enter(again=name == "ctrl-o")
        elif name == "tab":
            return self._completing()
        elif name == "ctrl-d" and not self._line.text and not self._overlong:
            return self.leave()
        elif name == "ctrl-c":
            self._drop()
        elif name == "ctrl-l":
            self._said += self._screen.clear()
        elif name == "ctrl-r":
            self._sought = ("", None, self._line.text)
        elif (move := self._moves.get(name)) is None or move() is False:
            self._said += _BELL
        return None

    @property
    def weight(self) -> int:
        """Characters that one more key may have looked at."""
        sought = self._history.size if self._sought is not None else 0
        return 16 + len(self._line.text) + len(self._line.cut) + sought // 16

    def leave(self) -> Left:
        """End the line that is edited, and the shell."""
        self._finish()
        return Left()

    def complete(self, word: str, names: list[str]) -> None:
        """Put in what all of ``names`` begin with, in the place of ``word``; show them where that is no more than was there."""
        line = self._line
        if not names or not line.text[: line.cursor].endswith(word):
            self._said += _BELL
            return
        common = _common(names)
        if len(common) > len(word):
            more = common[len(word) :] + (" " if len(names) == 1 and not common.endswith("/") else "")
            self._said += b"" if line.insert(more) else _BELL
            return
        listed = "  ".join("".join(map(shown, name)) for name in names[:100]) + ("  …" if len(names) > 100 else "")
        self._said += self._screen.finish() + listed.encode() + b"\r\n"

    # -- in between ----------------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        line = self._line
        self._moves = {
            "left": line.left, "ctrl-b": line.left, "right": line.right, "ctrl-f": line.right,
            "word-left": line.word_left, "alt-b": line.word_left, "word-right": line.word_right, "alt-f": line.word_right,
            "home": line.home, "ctrl-a": line.home, "end": line.end, "ctrl-e": line.end,
            "backspace": line.backspace, "delete": line.delete, "ctrl-d": line.delete, "ctrl-t": line.transpose,
            "ctrl-k": line.cut_end, "ctrl-u": line.cut_start, "ctrl-w": line.cut_blank,
            "alt-backspace": line.cut_word_left, "alt-d": line.cut_word_right, "ctrl-y": line.yank, "ctrl-_": line.undo,
            "up": self._up, "down": self._down, "ctrl-p": self._older, "ctrl-n": self._newer,
            "alt-.": lambda: line.insert(self._history.last_word()), "ctrl-\x7f": line.undo,
        }  # fmt: skip

    def _insert(self, key: Key) -> None:
        text = key.text
        if key.name == "paste":
            text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
            text = "".join(char for char in text if char in "\n\t" or (char >= " " and char != "\x7f"))
        if self._overlong or not (self._line.type(text) if key.name == "text" else self._line.insert(text)):
            self._overlong = True
            self._said += _BELL

    def _enter(self, *, again: bool) -> Entered | None:
        line = self._line
        if not self._overlong and self._unfinished(line.text):
            line.cursor = len(line.text)
            line.insert("\n")
            return None
        if again:
            self._next = self._history.following(line.text)
        entered = Entered(line.text, self._overlong)
        self._finish()
        self._history.add(line.text)
        return entered

    def _finish(self) -> None:
        drawn = self.draw()
        self._said += drawn + self._screen.finish() + PASTE_OFF
        self._open = False

    def _drop(self) -> None:
        """Begin the line anew, and leave what was typed where it stands."""
        drawn = self.draw()
        self._said += drawn + self._screen.finish(b"^C")
        self._sought, self._overlong = None, False
        self._line.replace("")
        self._history.begin()

    def _completing(self) -> Completing | None:
        before = self._line.text[: self._line.cursor]
        word = before[max(before.rfind(each) for each in " \t\n;&|<>(=") + 1 :]
        if not word.isprintable() or any(each in word for each in "'\"\\$`*?["):
            self._said += _BELL
            return None
        lead = before[: len(before) - len(word)].rstrip(" \t")
        first = (not lead or lead[-1] in ";&|(\n") and "/" not in word
        if first and not word:
            self._said += _BELL
            return None
        return Completing(word, first)

    def _up(self) -> bool:
        return self._line.up() or self._older()

    def _down(self) -> bool:
        return self._line.down() or self._newer()

    def _older(self) -> bool:
        return self._recall(self._history.older(self._line.text))

    def _newer(self) -> bool:
        return self._recall(self._history.newer())

    def _recall(self, text: str | None) -> bool:
        if text is not None:
            self._line.replace(text)
        return text is not None

    def _seeks(self, key: Key) -> bool:
        """Take a key while something is looked for. False where the key means what it always means."""
        assert self._sought is not None
        words, at, before = self._sought
        if key.name == "ctrl-g":
            self._sought = None
            self._line.replace(before)
            return True
        if key.name == "text":
            words, found = words + key.text, self._history.find(words + key.text)
        elif key.name == "backspace":
            words = words[:-1]
            found = self._history.find(words) if words else None
        elif key.name == "ctrl-r":
            found = self._history.find(words, at) if words else None
            if found is None:
                self._said += _BELL
                return True
        else:
            self._sought = None
            return key.name == "escape"
        self._sought = (words, None if found is None else found[0], before)
        if found is not None:
            self._line.replace(found[1])
            self._line.cursor = found[1].find(words)
        return True


def _common(names: list[str]) -> str:
    first, last = min(names), max(names)
    for at, char in enumerate(first):
        if at >= len(last) or last[at] != char:
            return first[:at]
    return first
