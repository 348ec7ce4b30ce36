"""fish's blocks and commands, written for a POSIX shell.

The grammar is that of fish's own ``ast.h``: a job list of jobs, each a pipeline of statements. Keywords in quotes are keywords
too; such a line is not read. A block becomes ``{ … }`` around all that may run in it, conditions first, because what a branch
means does not depend on whether it is taken; the words of ``for`` and ``switch`` become those of an array.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from agent.core.shell.fish.words import Text, UnreadableError, Words
from agent.core.shell.options import names

KEYWORDS: Final = names("and or not ! begin if else while for switch case function end time")

_KEYWORD: Final = re.compile(r"(?:and|or|not|!|begin|if|else|while|for|switch|case|function|end)(?=[ \t\n;&|<>)]|\Z)")
_TIME: Final = re.compile(r"time(?=[ \t]+[^ \t\n;&|<>)#-])")
_HELP: Final = re.compile(r"[ \t]+['\"\\]*-")
_IN: Final = re.compile(r"in(?=[ \t\n;]|\Z)")
_ASSIGNS: Final = re.compile(r"(\w+)(?:\[[^\]]*\])?=")
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PIPE: Final = re.compile(r"&\||[0-9]*>\||\|(?![|&])")
_REDIRECT: Final = re.compile(r"(&>>?\??)|([0-9]*)(>>\?|>>|>\?|>&|>|<&|<)(?![<>&|?])")
_DESCRIPTOR: Final = re.compile(r"[0-9]+|-")


class Rendered(msgspec.Struct, frozen=True):
    """A line of fish for the classifier."""

    text: str
    """The same for a POSIX shell; empty where nothing runs."""
    flags: frozenset[str]
    """What the text does not say."""
    functions: tuple[str | None, ...]
    """Functions that are defined. None is a name that only the shell knows."""


def render(line: str) -> Rendered:
    """Return ``line`` for a POSIX shell. Raises `UnreadableError`."""
    return _Statements(line).line()


class _Statements:
    def __init__(self, line: str) -> None:
        self._words = Words(line, lambda: "\n".join(self._list()))
        self._flags: set[str] = set()
        self._functions: list[str | None] = []

    def line(self) -> Rendered:
        lines = self._list()
        if self._words.at < len(self._words.text):
            raise UnreadableError
        text = f"{{ {_NEWLINE.join(lines)}\n}}" if lines else ""
        flags = self._flags | ({"comment"} if self._words.comment else set())
        return Rendered(text, frozenset(flags), tuple(self._functions))

    # -- lists and jobs --------------------------------------------------------------------------------------------

    def _keyword(self) -> str:
        """The keyword that comes next, or nothing. It stays where it is."""
        found = _KEYWORD.match(self._words.text, self._words.at)
        return found.group() if found is not None else ""

    def _take(self, keyword: str) -> None:
        self._words.at += len(keyword)
        # `if --help` is a command, and `case --help` is not.
        if keyword != "case" and _HELP.match(self._words.text, self._words.at):
            raise UnreadableError
        self._words.blanks()

    def _separators(self, also: str = "") -> None:
        while True:
            self._words.blanks()
            if not self._words.sees("\n") and not (also and self._words.sees(also)):
                return
            self._words.at += 1

    def _list(self, ends: frozenset[str] = frozenset()) -> list[str]:
        """Commands as far as a keyword of ``ends`` or, without them, the end or a bracket that closes."""
        lines: list[str] = []
        while True:
            self._separators(";")
            words = self._words
            if words.at >= len(words.text) or (words.inside and words.sees(")")):
                if ends:
                    raise UnreadableError
                return lines
            if ends and self._keyword() in ends:
                return lines
            lines += self._conjunction()

    def _conjunction(self) -> list[str]:
        words = self._words
        if self._keyword() in {"and", "or"}:
            self._take(self._keyword())
        jobs = [self._job()]
        while words.sees("&&") or words.sees("||"):
            words.at += 2
            self._separators()
            jobs.append(self._job())
        if not words.over() or words.sees("|") or words.sees("<") or words.sees(">"):
            raise UnreadableError
        if words.sees("&"):
            words.at += 1
            words.blanks()
            if not words.over() or words.sees("&") or words.sees("|"):
                raise UnreadableError
            jobs[-1] += " &" if jobs[-1] else ""
            self._flags.add("background")
        return [job for job in jobs if job]

    def _job(self) -> str:
        """A pipeline. Nothing where it runs nothing."""
        words = self._words
        statements = [self._statement()]
        while True:
            found = _PIPE.match(words.text, words.at)
            if found is None:
                break
            words.at = found.end()
            self._separators()
            statements.append(self._statement())
        if len(statements) > 1 and not all(statements):
            raise UnreadableError
        return " | ".join(statements)

    # -- statements ------------------------------------------------------------------------------------------------

    def _statement(self) -> str:
        words = self._words
        words.enter()
        try:
            return self._one()
        finally:
            words.leave()

    def _one(self) -> str:
        words = self._words
        if _TIME.match(words.text, words.at):
            self._take("time")
            return self._statement()
        assigned = self._assignments()
        keyword = self._keyword()
        if keyword in {"not", "!"}:
            self._take(keyword)
            rendered = self._statement()
            return _group([*assigned, rendered]) if assigned else rendered
        if keyword:
            block = _BLOCKS.get(keyword)
            if block is None:
                raise UnreadableError
            self._take(keyword)
            return self._redirected([*assigned, *block(self)])
        return " ".join([*assigned, self._command()])

    def _assignments(self) -> list[str]:
        """``A=1 B=(c)`` before a command."""
        words = self._words
        found: list[str] = []
        while True:
            match = _ASSIGNS.match(words.text, words.at)
            if match is None:
                return found
            if not _NAME.fullmatch(match.group()[:-1]):
                raise UnreadableError
            words.at = match.end()
            found.append(f"{match[1]}={words.word(value=True).rendered}")
            words.blanks()
            if words.over():
                raise UnreadableError
            self._names(match[1])

    def _names(self, variable: str) -> None:
        """What a variable is called that gets a value."""
        if variable == "argv":
            self._flags.add("tamper")

    def _command(self) -> str:
        words = self._words
        name = words.word()
        if name.literal in KEYWORDS - {"time"}:
            raise UnreadableError  # in quotes
        parts = [name.rendered]
        while True:
            words.blanks()
            redirection = self._redirection()
            if redirection:
                parts.append(redirection)
            elif words.over() or _PIPE.match(words.text, words.at):
                return " ".join(parts)
            else:
                parts.append(words.word().rendered)

    def _redirection(self) -> str:
        """A redirection, or nothing."""
        words = self._words
        found = _REDIRECT.match(words.text, words.at)
        if found is None or _PIPE.match(words.text, words.at):
            return ""
        words.at = found.end()
        words.blanks()
        target = words.word()
        both, descriptor, operator = found.groups()
        if both:
            return f"{both.rstrip('?')[1:]} {target.rendered} 2>&1"
        if operator.endswith("&"):
            if target.literal is None or not _DESCRIPTOR.fullmatch(target.literal):
                raise UnreadableError
            return f"{descriptor}{operator}{target.literal}"
        return f"{descriptor}{operator.rstrip('?')} {target.rendered}"

    def _arguments(self) -> list[Text]:
        """The words behind a keyword, as far as the end of the command."""
        words = self._words
        found: list[Text] = []
        while True:
            words.blanks()
            if words.over():
                if not words.sees("\n") and not words.sees(";"):
                    raise UnreadableError
                return found
            if _REDIRECT.match(words.text, words.at):
                raise UnreadableError
            found.append(words.word())

    # -- blocks ----------------------------------------------------------------------------------------------------

    def _redirected(self, lines: list[str]) -> str:
        """A block's end, and what stands behind it."""
        self._take("end")
        redirections = []
        while found := self._redirection():
            redirections.append(found)
            self._words.blanks()
        if not self._words.over():
            raise UnreadableError
        group = _group(lines)
        if redirections and not group:
            raise UnreadableError
        return " ".join([group, *redirections])

    def _begin(self) -> list[str]:
        return self._list(frozenset({"end"}))

    def _if(self) -> list[str]:
        lines = self._list(frozenset({"else", "end"}))
        while self._keyword() == "else":
            self._take("else")
            branches = frozenset({"end"})
            if self._keyword() == "if":
                self._take("if")
                branches = frozenset({"else", "end"})
            lines += self._list(branches)
        return lines

    def _for(self) -> list[str]:
        variable = self._words.word().literal
        self._words.blanks()
        if variable is None or not _NAME.fullmatch(variable) or not _IN.match(self._words.text, self._words.at):
            raise UnreadableError
        self._words.at += len("in")
        self._names(variable)
        return [_array(variable, self._arguments()), *self._list(frozenset({"end"}))]

    def _switch(self) -> list[str]:
        lines = [_array("words", self._arguments())]
        self._separators(";")
        while self._keyword() == "case":
            self._take("case")
            lines.append(_array("words", self._arguments()))
            lines += self._list(frozenset({"case", "end"}))
        if self._keyword() != "end":
            raise UnreadableError
        return lines

    def _function(self) -> list[str]:
        words = self._arguments()
        if not words:
            raise UnreadableError
        self._functions.append(words[0].literal)
        return [_array("words", words), *self._list(frozenset({"end"}))]


_NEWLINE: Final = "\n"
_BLOCKS: Final = {
    "begin": _Statements._begin, "if": _Statements._if, "while": _Statements._begin, "for": _Statements._for,
    "switch": _Statements._switch, "function": _Statements._function,
}  # fmt: skip


def _group(lines: list[str]) -> str:
    lines = [line for line in lines if line]
    return f"{{ {_NEWLINE.join(lines)}\n}}" if lines else ""


def _array(name: str, words: list[Text]) -> str:
    return f"{name}=({' '.join(word.rendered for word in words)})"
