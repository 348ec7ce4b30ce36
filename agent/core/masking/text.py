"""Errors, notices and their details: the other road back to the client.

PostgreSQL quotes data in messages of known shapes (``src/backend``: constraint violations, casts, COPY context). Where the shape
names its columns, a tag decides each value; where it does not, every quoted value goes. In all other quotes, and in what a
function on the target raises itself, only words stay that somebody wrote rather than stored (``Written``): they stand in the
statement, in the text of a function, or name a thing of the catalogue. What is left is scrubbed by the detectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.core.masking.classes import Report, Tally, data_class
from agent.core.masking.detectors import Detectors
from agent.core.masking.patterns import bytewise

_SOMETHING: Final = b"***"
_NAME: Final = "value"

_KEYED: Final = bytewise(rb"(?s)(?:Key|key) \(")
_AFTER_NAMES: Final = b")=("
_KEY_ENDS: Final = (
    b") already exists",
    b") is not present in table",
    b") is still referenced from table",
    b") conflicts with existing key (",
    b") conflicts with key (",
    b") is duplicated",
)
_ROW: Final = bytewise(rb"(?:Failing|failing) row contains \(")
#: Quoted input: ``invalid input syntax for type integer: "x"``, ``value "x" is out of range``, COPY's context, JSON's context.
_QUOTED: Final = bytewise(
    rb"(?s)(?:invalid input (?:syntax|value) for (?:type|enum|numeric)[^:\n]{0,200}: |"
    rb"malformed (?:array|record|range|multirange) literal: |"
    rb"invalid (?:value|hexadecimal data|hexadecimal digit|symbol)[^\n\"]{0,80}: |"
    rb"(?:date/time field value|interval field value) out of range: |time zone (?:displacement out of range: )?|"
    rb"value |column [^\s:]{1,130}: |COPY [^\n\"]{1,300}: |Token |String |unrecognized (?:value|key word): |"
    rb"invalid [a-z ]{1,60}: )\""
)
_WORD: Final = re.compile(rb"[^\x00-/:-@\[-^`{-\x7f]+")
#: What PostgreSQL itself says between two names in quotes. A value may hold quotes, so nothing else is believed to be its own.
_BETWEEN: Final = frozenset(
    b"a and cannot check column constraint database delete does exclusion exist for foreign from function in is key not null of "
    b"on or relation role schema table to type unique update view violates".split()
)
_GONE: Final = re.compile(rb"\*\*\*(?:[ .,;:'_/+-]*\*\*\*)+")
#: A number of a message, but for one that belongs to a type: ``character varying(10)``.
_NUMBER: Final = re.compile(rb"(?<![(\w])(?<!\(\d)(?<!\(\d\d)(?<!\(\d\d\d)\d+(?!\w)")
_LINE: Final = bytewise(rb"(?s)(?:JSON data, line \d+: |COPY [^\n]{1,300}, line \d+: \")")


#: Tells of a word whether somebody wrote it.
Written = Callable[[bytes], bool]


class TextScrubber:
    """Scrubs the text fields of errors and notices. ``tags`` are the classes of the target's columns, by column name."""

    def __init__(
        self, detectors: Detectors, reveal: frozenset[str] = frozenset(), *, tags: Mapping[str, str] | None = None
    ) -> None:
        self._detectors = detectors
        self._reveal = reveal
        self._tags = {name.encode(): name_of for name, name_of in (tags or {}).items()}
        self._tally = Tally()

    def report(self) -> Report:
        """Return how many values of each class were replaced; a value of no known class counts as ``value``."""
        return self._tally.take()

    def scrub(self, text: bytes, *, quoted: bool = True, written: Written | None = None, numbers: bool = False) -> bytes:
        """Return the text of one field (message, detail, hint, context, …) as the client may see it.

        Without ``quoted``, the values that PostgreSQL quotes are known not to come from a tagged column: only detectors count.
        With ``written``, whatever stands in quotes that is of no known shape is held to it too, and so are ``numbers`` outside.
        """
        if not quoted:
            return self._detectors.scrub(text, self._reveal, self._tally)
        for shape, rewrite in ((_KEYED, self._key), (_ROW, self._row), (_QUOTED, self._quoted), (_LINE, self._rest)):
            text = _rewritten(text, shape, rewrite)
        if written is not None:
            begin, end = text.find(b'"'), text.rfind(b'"') + 1
            outside = text[:begin], text[end:]
            if begin < 0:
                outside = text, b""
            inside = self._words(text[begin:end], lambda word: word in _BETWEEN or written(word)) if end else b""
            if numbers:
                outside = self._numbers(outside[0], written), self._numbers(outside[1], written)
            text = outside[0] + inside + outside[1]
        return self._detectors.scrub(text, self._reveal, self._tally)

    def raised(self, text: bytes, written: Written) -> bytes:
        """Return what a function of the target has raised: the words that were written somewhere, and no others."""
        return self._detectors.scrub(self._words(text, written), self._reveal, self._tally)

    def _words(self, text: bytes, written: Written) -> bytes:
        return _GONE.sub(_SOMETHING, _WORD.sub(lambda found: found[0] if written(found[0]) else self._gone(), text))

    def _numbers(self, text: bytes, written: Written) -> bytes:
        shown = _NUMBER.sub(lambda found: found[0] if written(found[0]) else self._gone(), text)
        return _GONE.sub(_SOMETHING, shown) if shown != text else text

    def _gone(self) -> bytes:
        self._tally.add(_NAME)
        return _SOMETHING

    def _key(self, text: bytes, at: int) -> tuple[bytes, int]:
        """``Key (a, b)=(1, x)``: with one column its tag decides; the commas of several cannot be trusted, so all values go."""
        names_end = text.find(_AFTER_NAMES, at)
        if names_end < 0:
            return b"", at
        start = names_end + len(_AFTER_NAMES)
        ends = [end for end in (text.rfind(mark) for mark in _KEY_ENDS) if end >= start]
        end = max(ends) if ends else len(text) - text.endswith((b")", b").")) - text.endswith(b").")
        end = max(end, start)
        names = text[at:names_end]
        value = text[start:end]
        tag = self._tags.get(names.strip(b'"'))
        if tag is not None and tag in self._reveal:
            return text[at:end], end
        if tag is not None:
            self._tally.add(tag)
            return text[at:start] + data_class(tag).replace(value), end
        return text[at:start] + self._gone(), end

    def _row(self, text: bytes, at: int) -> tuple[bytes, int]:
        """``Failing row contains (1, x, null).``: columns are not named and values may hold anything, so all of it goes."""
        end = text.rfind(b")", at)
        return self._gone(), end if end >= at else len(text)

    def _quoted(self, text: bytes, at: int) -> tuple[bytes, int]:
        """A value in double quotes, which PostgreSQL does not escape: it ends at the last quote of its line."""
        line = text.find(b"\n", at)
        end = text.rfind(b'"', at, len(text) if line < 0 else line)
        return self._gone(), end if end >= at else len(text)

    def _rest(self, text: bytes, at: int) -> tuple[bytes, int]:
        line = text.find(b"\n", at)
        return self._gone(), len(text) if line < 0 else line


def _rewritten(text: bytes, shape: Any, rewrite: Any) -> bytes:
    """Replace what follows each match of ``shape``; ``rewrite`` says by what, and where the text goes on."""
    out: list[bytes] = []
    at = 0
    while (match := shape.search(text, at)) is not None:
        shown, following = rewrite(text, match.end())
        out += (text[at : match.end()], shown)
        at = max(following, match.end())
    return b"".join([*out, text[at:]]) if out else text
