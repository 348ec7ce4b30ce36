r"""fish's words, written for a POSIX shell.

fish, "Quotes", "Escaping characters", "Parameter expansion": ``(cmd)`` is ``$(cmd)``, ``\x2d`` a dash, ``$x[1]`` an element,
``[a]`` no pattern and ``{a,b}`` two words. What fish takes for one word that holds blanks (``{a, b}``, ``a[b c]``) is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from agent.core.shell.options import names

#: What ends a word that is not quoted, `&` with conditions.
ENDS: Final = " \t\n;|<>"
#: How deep blocks and substitutions may stand in each other.
DEPTH_LIMIT: Final = 24

_PLAIN: Final = re.compile(r"[\w./:@%+,-]+", re.ASCII)
_LETTERS: Final = re.compile(r"[^\s'\"\\$(){}\[\]*?&;|<>~]+")
_VARIABLE: Final = re.compile(r"\$+(\w+)")
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
#: Brackets in a word that stand for themselves.
_BRACKETS: Final = re.compile(r"\[[\w.,:^-]*\]", re.ASCII)
_BRACES: Final = re.compile(r"\{[\w.:@%+-]*\}", re.ASCII)
_POSITIONS: Final = re.compile(r"[\d. \t-]+")
_CODED: Final = re.compile(r"x([0-9A-Fa-f]{1,2})|X([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})")
#: Words that POSIX shells read in another way than others where a command begins.
_RESERVED: Final = names("""
    if then elif else fi for while until do done case esac in function select time coproc
    export declare typeset local readonly unset unsetenv
""")
#: Letters that stand for control characters behind a backslash; of these a line may hold two.
_CONTROLS: Final = frozenset("abcefrvxXuU")
_NEW: Final = {"n": "\n", "t": "\t"}
#: Variables that are numbers.
_NUMBERS: Final = {"status": "$?", "fish_pid": "$$"}
#: Any number of words of which nothing is known.
_ANYTHING: Final = "${words}"


class UnreadableError(Exception):
    """fish refuses this text, or may read it in another way than it would be read here."""


class Text(msgspec.Struct, frozen=True):
    """One word."""

    rendered: str
    """The word for a POSIX shell."""
    literal: str | None
    """What it is, where nothing in it is expanded."""


def quoted(text: str) -> str:
    """Return ``text`` as one word of a POSIX shell. No string in it ends in a backslash, which not every shell reads alike."""
    if _PLAIN.fullmatch(text) and text not in _RESERVED:
        return text
    return "".join(f"\\{part}" if part in {"'", "\\"} else f"'{part}'" for part in re.split(r"(['\\])", text) if part) or "''"


class Words:
    """A place in a line of fish, and how to read the word that begins there."""

    def __init__(self, text: str, commands: Callable[[], str]) -> None:
        self.text = text
        self.at = 0
        self.inside = 0
        """In how many substitutions."""
        self.comment = False
        self._depth = 0
        self._commands = commands
        """Reads commands, as far as the bracket that closes a substitution."""
        self._parts: list[str] = []
        self._letters: list[str] = []
        self._known = True

    def enter(self) -> None:
        """Go one level deeper. Pair it with `leave`."""
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise UnreadableError

    def leave(self) -> None:
        """Undo `enter`."""
        self._depth -= 1

    def sees(self, text: str) -> bool:
        """True where ``text`` comes next."""
        return self.text.startswith(text, self.at)

    def blanks(self) -> None:
        """Go to where the next word, or what ends a command, begins: past blanks, joined lines and a comment."""
        while self.at < len(self.text):
            if self.text[self.at] in " \t":
                self.at += 1
            elif self.sees("\\\n"):
                self.at += 2
            elif self.sees("#"):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                # Not every fish looks for comments when it looks for the end of a substitution.
                if self.inside and re.search(r"[()'\"\\\[\]{}]", self.text[self.at : end]):
                    raise UnreadableError
                self.at, self.comment = end, True
            else:
                return

    def over(self) -> bool:
        """True where no character of a word comes next."""
        if self.at >= len(self.text):
            return True
        char = self.text[self.at]
        if char == ")" and not self.inside:
            raise UnreadableError
        if char == "&" and self.text[self.at + 1 : self.at + 2] not in {"", "&", ")", *ENDS}:
            raise UnreadableError  # in the middle of a word, it is a letter to some versions
        return char in ENDS or char in {"&", ")"}

    def word(self, *, value: bool = False) -> Text:
        """Read one word. With ``value``, it is what stands behind ``name=``, and may be empty."""
        outer = self._parts, self._letters, self._known
        self._parts, self._letters, self._known = [], [], True
        start = self.at
        if self.sees("^") or self.sees("%self"):
            raise UnreadableError  # writes to a file, to older versions; the shell's number
        if self.sees("~"):
            self._parts.append("~")
            self.at += 1
        whole: list[str] = ["~"] if self.at > start else []
        while not self.over():
            self._piece(first=self.at == start and not value)
        if self.at == start and not value:
            raise UnreadableError
        self._flush(whole)
        rendered, known = "".join(self._parts), self._known
        self._parts, self._letters, self._known = outer
        return Text(rendered or "''", "".join(whole) if known else None)

    def _flush(self, whole: list[str] | None = None) -> None:
        """Put the letters so far into the word. Of a ``whole`` that is known, these are all."""
        letters = "".join(self._letters)
        if letters:
            self._parts.append(quoted(letters))
        if whole is not None:
            whole.append(letters)
        self._letters = []

    def _unknown(self, part: str) -> None:
        self._flush()
        self._parts.append(part)
        self._known = False

    def _piece(self, *, first: bool) -> None:
        char = self.text[self.at]
        if char == "'":
            self._single()
        elif char == '"':
            self._double()
        elif char == "\\":
            self._escape()
        elif char == "$":
            self._dollar(quote="")
        elif char == "(":
            self._substitution(quote="")
        elif char == "{":
            self._brace()
        elif char == "[" and not first:
            self._match(_BRACKETS)
        elif char in "*?":
            self._unknown(char)
            self.at += 1
        elif char in "[]~":
            self._letters.append(char)
            self.at += 1
        else:
            self._match(_LETTERS)

    def _match(self, pattern: re.Pattern[str]) -> None:
        """Letters that stand for themselves."""
        found = pattern.match(self.text, self.at)
        if found is None:
            raise UnreadableError
        self._letters.append(found.group())
        self.at = found.end()

    def _single(self) -> None:
        self.at += 1
        while True:
            char, following = self.text[self.at : self.at + 1], self.text[self.at + 1 : self.at + 2]
            if not char:
                raise UnreadableError
            if char == "\\" and following in {"'", "\\"}:
                char = following
                self.at += 1
            elif char == "'":
                self.at += 1
                return
            self._letters.append(char)
            self.at += 1

    def _double(self) -> None:
        self.at += 1
        while not self.sees('"'):
            char, following = self.text[self.at : self.at + 1], self.text[self.at + 1 : self.at + 2]
            if not char or (char == "\\" and following == "\n"):
                raise UnreadableError
            if char == "$":
                self._dollar(quote='"')
                continue
            if char == "\\" and following in {'"', "\\", "$"}:
                char = following
                self.at += 1
            self._letters.append(char)
            self.at += 1
        self.at += 1

    def _escape(self) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        found = _CODED.match(self.text, self.at + 1)
        if found is not None:
            digits = next(group for group in found.groups() if group)
            code = int(digits, 8 if found[5] else 16)
            if not 0x20 <= code < 0x7F:
                raise UnreadableError
            self._letters.append(chr(code))
            self.at = found.end()
        elif following in {"", "\n"} or following in _CONTROLS or following.isdigit():
            raise UnreadableError
        else:
            self._letters.append(_NEW.get(following, following))
            self.at += 2

    def _dollar(self, *, quote: str) -> None:
        if self.sees("$("):
            self.at += 1
            self._substitution(quote=quote)
            return
        found = _VARIABLE.match(self.text, self.at)
        if found is None or not _NAME.fullmatch(found[1]):
            raise UnreadableError
        self.at = found.end()
        number = _NUMBERS.get(found[1]) if found.group() == f"${found[1]}" else None
        self._unknown(f"{quote}{number or f'${{{found[1]}}}'}{quote}")
        self._positions()

    def _substitution(self, *, quote: str) -> None:
        self.at += 1
        self.inside += 1
        self.enter()
        commands = self._commands()
        if not self.sees(")"):
            raise UnreadableError
        self.leave()
        self.inside -= 1
        self.at += 1
        self._unknown(f"{quote}$( {commands}){quote}" if commands else _ANYTHING)
        self._positions()

    def _positions(self) -> None:
        """``$x[1]``, ``(cmd)[$i..-1]``: which elements."""
        while self.sees("["):
            self.at += 1
            while not self.sees("]"):
                found = _POSITIONS.match(self.text, self.at)
                if found is not None:
                    self.at = found.end()
                elif self.sees("$"):
                    self._dollar(quote="")
                elif self.sees("("):
                    self._substitution(quote="")
                else:
                    raise UnreadableError
            self.at += 1

    def _brace(self) -> None:
        """``{a,$x}``: any words. ``{}`` and ``@{1}`` are letters."""
        if _BRACES.match(self.text, self.at):
            self._match(_BRACES)
            return
        self._unknown(_ANYTHING)
        self.enter()
        self.at += 1
        while not self.sees("}"):
            if self.over():
                raise UnreadableError
            # Letters in it are those of one of the words, and what runs in it runs.
            before = len(self._parts)
            if self.sees("^") or self.sees("~"):
                self.at += 1
            else:
                self._piece(first=False)
            self._letters = []
            self._parts[before:] = [part for part in self._parts[before:] if "$" in part and not part.startswith("'")]
        self.leave()
        self.at += 1
