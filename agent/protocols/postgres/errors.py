"""Errors and notices of statements that reach what is hidden: which of their words were written, and not stored. Pure.

A message of PostgreSQL's own quotes what it is about: a name that the client wrote, or a value that the statement read
(``SELECT name::regclass``). A message that a function raises is made of the words of that function, and of whatever it puts
between them. So a word stays that stands in the statement, in the text of a function or a view, or that names something of the
catalogue; any other is taken for a value. Numbers count as written where they stand in the statement itself.

What is PostgreSQL's own is known by its English words. A server that speaks another language has all of its words held to what
was written; its SQLSTATE says what went wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agent.core.masking.text import TextScrubber, Written
from agent.core.sql.catalogue import Catalogue

#: Message, detail, hint, internal query, context (documentation, §55.8).
_TEXTS: Final = frozenset("MDHqW")
#: Schema, table, column, type and constraint: names, where PostgreSQL itself says them.
_NAMES: Final = frozenset("stcdn")
#: What a function chooses of an error that it raises.
_CHOSEN: Final = frozenset("MDH") | _NAMES
#: Routines and files of the server in which the words of an error are a function's own.
_RAISE: Final = frozenset({"exec_stmt_raise", "exec_stmt_assert"})
_LANGUAGES: Final = ("plpy_", "plperl.c", "Util.c", "pltcl.c")
_WORD: Final = re.compile(rb"[^\x00-/:-@\[-^`{-\x7f]+")
#: Bytes of functions and views that are read for their words, some 10 ms of them; what stands behind them counts as not written.
_MOST: Final = 512 << 10


def vocabulary(catalogue: Catalogue) -> frozenset[bytes]:
    """Return the words of everything that ``catalogue`` holds, in small letters, but for numbers."""
    words: set[bytes] = set()
    room = _MOST
    for text in _texts(catalogue):
        data = text.encode(errors="replace")[:room]
        room -= len(data)
        words.update(_WORD.findall(data.lower()))
        if not room:
            break
    return frozenset(word for word in words if not word[:1].isdigit())


def _texts(catalogue: Catalogue) -> Iterator[str]:
    for relation in catalogue.relations.values():
        yield relation.qualified
        yield " ".join(column.name for column in relation.columns)
    for overloads in catalogue.functions.values():
        for function in overloads:
            yield f"{function.qualified} {function.body} {function.definition}"
    for relation in catalogue.relations.values():
        yield relation.definition or ""


def written(known: frozenset[bytes], asked: str) -> Written:
    """Return what tells whether a word is ``known`` or stands in the text that was ``asked``."""
    said = frozenset(_WORD.findall(asked.encode(errors="replace").lower()))

    def tell(word: bytes) -> bool:
        small = word.lower()
        return small in said or small in known

    return tell


def all_written(text: bytes, told: Written) -> bool:
    """Return True where ``told`` knows every word of ``text``."""
    return all(map(told, _WORD.findall(text)))


def scrubbed(fields: dict[str, str], scrubber: TextScrubber, told: Written | None, *, english: bool = True) -> dict[str, str]:
    """Return ``fields`` as the client may see them. Without ``told`` nothing that is hidden can be in them.

    Where the server's own words are not ``english``, they cannot be told from a function's.
    """
    if told is None:
        return {code: _text(words, scrubber, quoted=False) if code in _TEXTS else words for code, words in fields.items()}
    raised = fields.get("R") in _RAISE or fields.get("F", "").startswith(_LANGUAGES)
    names = frozenset() if raised else frozenset(fields[code].lower().encode(errors="replace") for code in _NAMES & fields.keys())

    def known(word: bytes) -> bool:
        return told(word) or word.lower() in names

    shown: dict[str, str] = {}
    for code, words in fields.items():
        if code == "q" or (raised and code in _CHOSEN) or (not english and code in _TEXTS):
            shown[code] = scrubber.raised(words.encode(errors="replace"), known).decode(errors="replace")
        elif code in _TEXTS:
            data = scrubber.scrub(words.encode(errors="replace"), written=known, numbers=code in "MH")
            shown[code] = data.decode(errors="replace")
        else:
            shown[code] = words
    return shown


def _text(words: str, scrubber: TextScrubber, *, quoted: bool) -> str:
    return scrubber.scrub(words.encode(errors="replace"), quoted=quoted).decode(errors="replace")
