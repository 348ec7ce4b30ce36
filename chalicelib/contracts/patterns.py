"""Patterns of an administrator, ``class=pattern`` in RE2 syntax: read here by both planes, so that what ``plan`` accepts is what
agents look for.

A match never crosses a line. It is never empty, for what matches everywhere hides what other patterns would find. Where output is
a stream, what may become a match is held back, so a match has a bound there, and nothing can be asked of where a text begins.
"""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from chalicelib.contracts import pattern_syntax

#: The form of an option that holds such patterns, as agents announce it.
FORM: Final = "class=pattern"
MOST: Final = 64
LONGEST_PATTERN: Final = 1_000
#: Steps of RE2's program.
MOST_PROGRAM: Final = 20_000
_LINE: Final = re.compile(r"(?s)(?P<data_class>[a-z][a-z0-9_-]{0,31})=(?P<pattern>.+)")


class Custom(msgspec.Struct, frozen=True):
    """A detector from configuration: a class name and an RE2 pattern over UTF-8 text."""

    data_class: str
    pattern: str


def read_line(line: str, longest: int = 0) -> Custom:
    """Read one ``class=pattern``, whose matches have ``longest`` bytes at most, or any number where that is 0.

    Raises ValueError with what is wrong, as half a sentence: not of the form, or what :func:`check` says.
    """
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"must read like {FORM}, not {line[:80]!r}")
    found = Custom(match["data_class"], match["pattern"])
    check(found, longest)
    return found


def check(own: Custom, longest: int = 0) -> None:
    """Raise ValueError where ``own`` is not syntax, is too large, matches nothing, or more than ``longest`` bytes (0: any)."""
    if not own.data_class or not own.data_class.isascii() or len(own.data_class) > 64:
        raise ValueError("a custom detector needs a class name of 1 to 64 ASCII characters")
    if not 0 < len(own.pattern) <= LONGEST_PATTERN:
        raise ValueError(f"the pattern of {own.data_class} must have 1 to {LONGEST_PATTERN} characters")
    try:
        own.pattern.encode()
        reading = pattern_syntax.read(own.pattern)
    except UnicodeEncodeError:
        raise ValueError(f"the pattern of {own.data_class} is not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"the pattern of {own.data_class} is not RE2 syntax: {error}") from None
    if complaint := _misfit(reading, longest):
        raise ValueError(f"the pattern of {own.data_class} {complaint}")


def _misfit(reading: pattern_syntax.Pattern, longest: int) -> str:
    if reading.cost > MOST_PROGRAM:
        return "is too large"
    if reading.least == 0:
        return "matches empty text"
    if reading.newline:
        return r"asks for a line's end (\n), which no match reaches"
    if not longest:
        return ""
    if reading.anchored:
        return r"asks where a text or line begins or ends (^, $, \A, \z), which a stream does not know; \b is known"
    if reading.most > longest:
        size = "without end" if math.isinf(reading.most) else f"up to {reading.most:.0f} bytes"
        return f"may match {size}; a stream can hold back {longest}, so say how many at the most, as in {{1,40}}"
    return ""
