"""A shell word, and how its pieces are read: quote removal, escapes, and what is left for the shell to expand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SIMPLE_ESCAPES = {
    "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_ANSI = re.compile(
    r"\\(?:(?P<simple>[abeEfnrtv\\'\"?])|(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9A-Fa-f]{1,2})"
    r"|u(?P<u4>[0-9A-Fa-f]{1,4})|U(?P<u8>[0-9A-Fa-f]{1,8})|(?P<other>.))",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_LIVE = re.compile(r"`|\$[({\[A-Za-z_0-9@*#?!$-]|<\(|>\(")
_LIVE_QUOTED = re.compile(r"`|\$[({\[A-Za-z_0-9@*#?!$-]")


@dataclass(slots=True)
class Word:
    """`text` is the value after quote removal, or None when the shell must run to know it.

    prefix: the literal beginning, known even when text is not.
    splits: may become no word or several.
    inert: the unknown part is made of plain characters only (a date, a number), so it cannot turn into an option.
    of: the variable whose value it is, where it is nothing else.
    known: what is literal in it, wherever that stands, when text is not.
    """

    text: str | None
    prefix: str = ""
    splits: bool = False
    glob: bool = False
    quoted: bool = False
    inert: bool = False
    of: str = ""
    known: str = ""

    @property
    def may_be_option(self) -> bool:
        """True if the shell could turn this word into one that begins with a dash, or into several words."""
        if self.text is not None:
            return self.text.startswith("-") or (self.glob and self.text[:1] in "*?[")
        return self.splits or not self.prefix or self.prefix.startswith("-")


UNKNOWN = Word(None, splits=True)


def literal(text: str) -> Word:
    """A word that is exactly `text`."""
    return Word(text, prefix=text, quoted=True)


@dataclass(slots=True)
class Pieces:
    """Collects the pieces of one word, in order."""

    known: list[str] = field(default_factory=list)
    prefix: str | None = None
    splits: bool = False
    glob: bool = False
    quoted: bool = False
    only_inert: bool = True
    brace: bool = False
    of: list[str] = field(default_factory=list)
    """Whose values its unknown pieces are; empty names for what is no variable."""

    def literal(self, text: str, *, quoted: bool) -> None:
        """Add known text."""
        self.quoted = self.quoted or quoted
        self.known.append(text)

    def unknown(self, *, splits: bool, inert: bool = False, of: str = "") -> None:
        """Add a piece that is only known at run time, and may be the value of a variable."""
        self.of.append(of)
        if self.prefix is None:
            self.prefix = "".join(self.known)
        self.splits = self.splits or (splits and not inert)
        self.only_inert = self.only_inert and inert

    def word(self) -> Word:
        """The finished word."""
        text = "".join(self.known)
        if self.brace:
            return Word(None, prefix=text.split("{")[0], splits=True, glob=self.glob, quoted=self.quoted)
        if self.prefix is None:
            return Word(text, text, glob=self.glob, quoted=self.quoted)
        of = self.of[0] if len(self.of) == 1 and not text else ""
        return Word(None, self.prefix, self.splits, self.glob, self.quoted, inert=self.only_inert, of=of, known=text)


def unescape_unquoted(raw: str) -> str:
    """Quote removal for unquoted text: a backslash keeps the next character, backslash-newline vanishes."""
    if "\\" not in raw:
        return raw
    return _ESCAPED.sub(lambda match: "" if match.group() == "\\\n" else match.group()[1], raw)


def unescape_double(raw: str) -> str:
    """Quote removal inside double quotes (POSIX 2.2.3): only $ ` " \\ and newline can be escaped."""
    if "\\" not in raw:
        return raw
    return re.sub(r"\\([$`\"\\\n])", lambda match: "" if match.group(1) == "\n" else match.group(1), raw)


def unescape_backquoted(raw: str, *, in_double: bool) -> str:
    """The code inside backquotes: \\$ \\` \\\\ lose their backslash before it is parsed (POSIX 2.6.3)."""
    return re.sub(r'\\([$`\\"])' if in_double else r"\\([$`\\])", r"\1", raw)


def decode_ansi(raw: str) -> str | None:
    """The value of `$'…'` given the text between the quotes; None when it has bytes or NULs we do not model."""
    unsure = False

    def one(match: re.Match[str]) -> str:
        nonlocal unsure
        if match["simple"]:
            return _SIMPLE_ESCAPES[match["simple"]]
        digits, base = (match["octal"], 8) if match["octal"] else (match["hex"] or match["u4"] or match["u8"], 16)
        if not digits:
            unsure = unsure or match["other"] == "c"
            return match.group()
        code = int(digits, base)
        narrow = match["octal"] or match["hex"]
        if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF or (narrow and code > 0x7F):
            unsure = True
            return ""
        return chr(code)

    text = _ANSI.sub(one, raw)
    return None if unsure else text


def unescaped(raw: str) -> str:
    """The text without its backslash pairs, for looking at what is still special."""
    return _ESCAPED.sub("", raw) if "\\" in raw else raw


def sleeps(text: str, opener: str = "[") -> bool:
    """True if text that is data now holds a substitution after `opener`, where bash may evaluate it later."""
    start = text.find(opener)
    return start >= 0 and any(text.find(mark, start) >= 0 for mark in ("`", "$(", "${", "$["))


def is_live(raw: str, *, quoted: bool) -> bool:
    """True if text that the parser calls literal still holds something the shell would expand."""
    if "$" not in raw and "`" not in raw and "(" not in raw:
        return False
    return bool((_LIVE_QUOTED if quoted else _LIVE).search(unescaped(raw)))
