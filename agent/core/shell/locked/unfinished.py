"""Whether a shell would wait for more of a text: an open quote, here-document, bracket or compound, or a line that goes on.

Nothing is decided by this. A text that is called finished too early earns a syntax error of the shell, one that is called
unfinished too long another ``> `` and a Ctrl-C; what runs is the text that was decided either way.
"""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = re.compile(r"[^\s;&|<>()'\"\\`$#{}]+")
_HERE: Final = re.compile(r"<<(-?)[ \t]*((?:'[^'\n]*'|\"[^\"\n]*\"|\\.|[^\s;&|<>()'\"\\])+)")
#: What a word opens where a command may stand, by what closes it.
_OPENS: Final = {"if": "fi", "case": "esac", "while": "done", "until": "done", "for": "done", "select": "done"}
_CLOSES: Final = frozenset({"fi", "esac", "done"})
#: Words behind which a command may stand.
_GOES_ON: Final = frozenset({"then", "else", "elif", "do", "if", "while", "until", "!", "time"})
#: Contexts in which nothing but their own end counts, and substitutions.
_QUOTING: Final = frozenset({'"', "}$", "))"})


#: Characters that are looked at. A longer text is finished: it is asked about again at each Enter.
LIMIT: Final = 16 * 1024


def unfinished(text: str) -> bool:
    """Tell whether ``text`` is the beginning of something."""
    return len(text) <= LIMIT and _Scan(text).waits()


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[str] = []
        """What closes what is open, innermost last."""
        self._here: list[tuple[str, bool]] = []
        self._command = True
        """A command may begin here."""
        self._hanging = False
        """The last thing was an operator that wants something behind it."""

    def waits(self) -> bool:
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char == "\\":
                if self._at + 1 >= len(text):
                    return True
                self._word(2)
            elif self._open and self._open[-1] in _QUOTING:
                self._quoted(char)
            elif char == "'":
                end = text.find("'", self._at + 1)
                if end < 0:
                    return True
                self._word(end + 1 - self._at)
            elif not self._plain(char):
                return True
        return bool(self._open or self._here or self._hanging)

    def _word(self, size: int) -> None:
        self._at += size
        self._command = self._hanging = False

    def _push(self, closes: str, size: int) -> None:
        self._open.append(closes)
        self._at += size
        self._command, self._hanging = closes in (")", "}", "`"), False

    def _quoted(self, char: str) -> None:
        closes = self._open[-1]
        if closes == "))" and self._text.startswith("))", self._at):
            self._open.pop()
            self._word(2)
        elif char == closes[0] and closes != "))":
            self._open.pop()
            self._word(1)
        elif char == '"':
            self._push('"', 1)
        elif char == "'" and closes == "))":
            self._word(1)
        elif not self._substitution(char):
            self._at += 1

    def _substitution(self, char: str) -> bool:
        """Take the beginning or end of a substitution."""
        if char == "`":
            if "`" in self._open:
                while self._open.pop() != "`":
                    pass
                self._word(1)
            else:
                self._push("`", 1)
            return True
        for begins, closes in (("$((", "))"), ("$(", ")"), ("${", "}$")):
            if self._text.startswith(begins, self._at):
                self._push(closes, len(begins))
                return True
        return False

    def _plain(self, char: str) -> bool:
        """Take what stands outside of quotes. False where a here-document is open."""
        if char == "\n":
            self._at += 1
            self._command = True
            return self._documents()
        if char in " \t\r":
            self._at += 1
        elif char == '"':
            self._push('"', 1)
        elif char == "#" and (self._at == 0 or self._text[self._at - 1] in " \t\n;&|()"):
            end = self._text.find("\n", self._at)
            self._at = end if end >= 0 else len(self._text)
        elif char in ";&|<>()":
            self._operator(char)
        elif not self._substitution(char):
            self._name(char)
        return True

    def _name(self, char: str) -> None:
        found = _WORD.match(self._text, self._at)
        word = found.group() if found else char
        commands = self._command
        self._word(len(word))
        if not commands:
            return
        if word == "{":
            self._push("}", 0)
        elif word in _OPENS:
            self._push(_OPENS[word], 0)
        elif self._open and word == self._open[-1] and (word in _CLOSES or word == "}"):
            self._open.pop()
        self._command = word in _GOES_ON or word == "{"

    def _operator(self, char: str) -> None:
        text = self._text
        if char == "(" and self._command and text.startswith("((", self._at):
            self._push("))", 2)
        elif char == "(":
            self._push(")", 1)
        elif char == ")":
            defines = text[: self._at].rstrip(" \t").endswith("(")
            self._at += 1
            if self._open and self._open[-1] == ")":
                self._open.pop()
                self._command, self._hanging = defines, False
            else:
                self._command = True  # behind the pattern of a case
        elif text.startswith("<<<", self._at):
            self._word(3)
        elif (here := _HERE.match(text, self._at)) is not None:
            self._here.append((re.sub(r"['\"\\]", "", here[2]), bool(here[1])))
            self._word(len(here.group()))
        elif char in "<>":
            self._at += 1
        else:
            self._hanging = char == "|" or text.startswith("&&", self._at)
            self._at += 2 if text.startswith(char * 2, self._at) else 1
            self._command = True

    def _documents(self) -> bool:
        """Behind a line feed: skip the here-documents that begin. False where one does not end."""
        for delimiter, tabs in self._here:
            while True:
                end = self._text.find("\n", self._at)
                line = self._text[self._at : end if end >= 0 else len(self._text)]
                self._at = end + 1 if end >= 0 else len(self._text)
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    break
                if end < 0:
                    return False
        self._here = []
        return True
