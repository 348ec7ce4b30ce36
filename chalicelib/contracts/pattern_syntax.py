"""The syntax of patterns: a part of RE2's (github.com/google/re2/wiki/Syntax), and what can be read from a pattern.

RE2 itself is not in the Lambda package: there is no wheel for every runtime that it can have. So a pattern is read here first,
by both planes, and RE2 has to accept whatever is accepted here; a test holds both against each other. What is left out is rare:
octal numbers, most names of scripts, repeats of repeats. What RE2 does not tell is read as well: how long a match can be. Where
that cannot be exact it errs on the safe side: ``least`` is never too much, and ``most`` and ``cost`` are never too little.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple, NoReturn

#: RE2's own bound on repeats, all that stand inside each other multiplied.
_MOST_REPEATS: Final = 1_000
_MOST_NESTED: Final = 50
#: No character of UTF-8 has more bytes.
_CHARACTER: Final = 4
_REPEAT: Final = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<low>[0-9]{1,4})(?:(?P<comma>,)(?P<high>[0-9]{0,4}))?\})\??")
_QUOTED: Final = re.compile(r"(?s)\\Q(?P<text>.*?)(?:\\E|\Z)|\\.")
_FLAGS: Final = re.compile(r"\(\?[imsU]+(?:-[imsU]+)?\)")
_OPENS: Final = re.compile(r"\((?:\?(?:P?<(?P<name>[A-Za-z0-9_]+)>|(?:[imsU]+(?:-[imsU]+)?)?:)|(?!\?))")
_FOLDS: Final = re.compile(r"\(\?[msU]*i")
_CATEGORIES: Final = (
    "C Cc Cf Co L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs"
    " Latin Greek Cyrillic Han Hiragana Katakana Arabic Hebrew Thai Hangul Devanagari"
)
_UNICODE: Final = r"[pP](?:[CLMNPSZ]|\{(?:" + _CATEGORIES.replace(" ", "|") + r")\})"
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<unicode>" + _UNICODE + r")|(?P<others>[DSW])|(?P<digits>[dsw])"
    r"|x(?:\{(?P<code>[0-9A-Fa-f]{1,6})\}|(?P<byte>[0-9A-Fa-f]{2}))|(?P<control>[afnrtv])|(?P<sign>[!-/:-@\[-`{-~]))"
)
_EDGE: Final = re.compile(r"\\[AzbB]")
_POSIX: Final = re.compile(
    r"\[:(?P<others>\^?)(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]"
)
#: Letters of ASCII whose other cases are longer: the Kelvin sign, the long s.
_FOLDED: Final = {"k": 3, "s": 2}
_CONTROLS: Final = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
#: Steps of RE2's program: more than any of these has been seen to take.
_UNICODE_COST, _WIDE_COST, _FAR_COST, _NEAR_COST = 1_400, 45, 25, 5


class Reading(NamedTuple):
    """What a part of a pattern says: bytes that a match has (``most`` may be infinite), repeats inside, and RE2's steps."""

    least: int
    most: float
    repeats: int = 1
    cost: int = 0


class Pattern(NamedTuple):
    """What a pattern says."""

    least: int
    """Bytes of the shortest match."""
    most: float
    """Bytes of the longest match; infinite where there is no bound."""
    cost: int
    """The steps that RE2 makes of it, at the most."""
    anchored: bool
    """It asks for the beginning or end of a text, or of a line."""
    newline: bool
    r"""It asks for a line's end: ``\n``."""


def read(pattern: str) -> Pattern:
    """Return what ``pattern`` says. Raises ValueError for one that RE2 may refuse, with the place, as half a sentence."""
    plain = _QUOTED.sub(lambda quoted: quoted[0] if quoted["text"] is None else _escaped(quoted["text"]), pattern)
    reader = _Reader(plain)
    whole = reader.alternatives()
    if reader.at < len(plain):
        reader.refuse("a bracket closes what none has opened")
    return Pattern(whole.least, whole.most, whole.cost + _FAR_COST, reader.anchored, reader.newline)


def _escaped(text: str) -> str:
    return "".join(f"\\{each}" if _ESCAPE.fullmatch(f"\\{each}") and not each.isalpha() else each for each in text)


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0
        self._depth = 0
        self.anchored = self.newline = False
        # Wherever it is said: the other cases of some letters have more bytes.
        self._folds = _FOLDS.search(pattern) is not None
        self._names: set[str] = set()

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{why} (character {self.at + 1})")

    def alternatives(self) -> Reading:
        found = [self._sequence()]
        while self._next() == "|":
            self.at += 1
            found.append(self._sequence())
        return Reading(
            min(each.least for each in found),
            max(each.most for each in found),
            max(each.repeats for each in found),
            sum(each.cost + 1 for each in found),
        )

    def _next(self) -> str:
        return self._pattern[self.at : self.at + 1]

    def _taken(self, form: re.Pattern[str]) -> re.Match[str] | None:
        match = form.match(self._pattern, self.at)
        if match is not None:
            self.at = match.end()
        return match

    def _sequence(self) -> Reading:
        parts: list[Reading] = []
        while self._next() not in ("", "|", ")"):
            if self._taken(_FLAGS):
                self._not_repeated()
            else:
                parts.append(self._repeated(self._one()))
        return Reading(
            sum(part.least for part in parts),
            sum(part.most for part in parts),
            max((part.repeats for part in parts), default=1),
            sum(part.cost for part in parts) + 1,
        )

    def _not_repeated(self) -> None:
        if _REPEAT.match(self._pattern, self.at):
            self.refuse("nothing stands there that can be repeated")

    def _repeated(self, one: Reading) -> Reading:
        repeat = self._taken(_REPEAT)
        if repeat is None:
            return one
        self._not_repeated()
        if sign := repeat["sign"]:
            low, high = (1 if sign == "+" else 0), (1.0 if sign == "?" else math.inf)
        else:
            low = int(repeat["low"])
            high = math.inf if repeat["comma"] and not repeat["high"] else int(repeat["high"] or low)
        times = max(1, low if math.isinf(high) else int(high))
        if high < low or one.repeats * times > _MOST_REPEATS:
            self.refuse(f"the repeat is turned round, or more than {_MOST_REPEATS}")
        copies = low + 1 if math.isinf(high) else times
        return Reading(
            one.least * low, one.most * high if one.most and high else 0, one.repeats * times, (one.cost + 2) * copies + 2
        )

    def _one(self) -> Reading:
        first = self._next()
        if first == "(":
            return self._group()
        if first == "[":
            return self._class()
        if self._taken(_EDGE):
            self.anchored = self.anchored or self._pattern[self.at - 1] in "Az"
            self._not_repeated()
            return Reading(0, 0, cost=2)
        if first == "\\":
            return self._width(*self._escape())
        self._not_repeated()
        self.at += 1
        if first == ".":
            return Reading(1, _CHARACTER, cost=_FAR_COST)
        if first in "^$":
            self.anchored = True
            self._not_repeated()
            return Reading(0, 0, cost=2)
        return self._width(ord(first), ord(first))

    def _width(self, low: int, high: int) -> Reading:
        """Return what one character between two says; ``high`` is negative where it may be any."""
        if low == high == 10:
            self.newline = True
        if 0 <= high < 0x80 and not self._folds:
            return Reading(1, 1, cost=_NEAR_COST if low == high else 2 * _NEAR_COST)
        if 0 <= high < 0x80:
            return Reading(1, _FOLDED.get(chr(low).lower(), 1) if low == high else max(_FOLDED.values()), cost=_WIDE_COST)
        if low == high and not self._folds:
            size = len(chr(low).encode())
            return Reading(size, size, cost=_FAR_COST)
        return Reading(1, _CHARACTER, cost=_UNICODE_COST if high < -1 else _WIDE_COST)

    def _escape(self) -> tuple[int, int]:
        """Return the first and last character that an escape stands for: -1 for others than those of ASCII, -2 for many."""
        begin = self.at
        escape = self._taken(_ESCAPE)
        if escape is None:
            self.refuse("a backslash before what needs none, or what is not known")
        if escape["unicode"]:
            return 0, -2
        if escape["others"]:
            return 0, -1
        if escape["digits"]:
            return 0, 0x7F
        if escape["control"]:
            code = _CONTROLS[escape["control"]]
        elif escape["sign"]:
            code = ord(escape["sign"])
        else:
            code = int(escape["code"] or escape["byte"], 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            self.at = begin
            self.refuse("there is no such character")
        return code, code

    def _group(self) -> Reading:
        opens = self._taken(_OPENS)
        if opens is None:
            self.refuse("a group of a kind that is not known")
        name = opens["name"]
        if name in self._names:
            self.refuse("a group has the name of another one")
        if name:
            self._names.add(name)
        self._depth += 1
        if self._depth > _MOST_NESTED:
            self.refuse("brackets are nested too deeply")
        inner = self.alternatives()
        if self._next() != ")":
            self.refuse("a bracket is not closed")
        self.at += 1
        self._depth -= 1
        return inner._replace(cost=inner.cost + 2)

    def _class(self) -> Reading:
        self.at += 1
        others = self._next() == "^"
        self.at += others
        narrow, cost, first = not others, _WIDE_COST if others or self._folds else _NEAR_COST, True
        while first or self._next() != "]":
            high = self._member(first=first)
            near = 0 <= high < 0x80
            narrow = narrow and near
            cost += 2 * _NEAR_COST if near else _UNICODE_COST if high < -1 else _WIDE_COST
            first = False
        self.at += 1
        most = _CHARACTER if not narrow else max(_FOLDED.values()) if self._folds else 1
        return Reading(1, most, cost=cost)

    def _member(self, *, first: bool) -> int:
        """Return the last character that a member of a class stands for, as :meth:`_escape` tells it."""
        posix = self._taken(_POSIX)
        if posix is not None:
            return -1 if posix["others"] else 0x7F
        low, high = self._character(first=first)
        rest = self._pattern[self.at : self.at + 2]
        if rest[:1] != "-" or rest == "-]":
            return high
        self.at += 1
        to, last = self._character(first=False)
        if low != high or to != last or last < low:
            self.refuse("a range goes from one character to a later one")
        return last

    def _character(self, *, first: bool) -> tuple[int, int]:
        here = self._next()
        if not here:
            self.refuse("a class of characters is not closed")
        if here == "\\":
            return self._escape()
        if here == "[" or (here == "-" and not first and self._pattern[self.at + 1 : self.at + 2] != "]"):
            self.refuse(f"inside a class of characters, write \\{here}")
        self.at += 1
        return ord(here), ord(here)
