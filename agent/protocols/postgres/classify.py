"""What a text means for this protocol: the analysis of ``agent.core.sql``, and what the protocol itself must know. Pure.

The protocol's own questions are few: does the statement move data by COPY, and does it change how the *next* text would be read.
A statement that would (another client encoding, other string escapes) is refused whatever policy says: after it, the gateway and
the server could read the same bytes differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis, CopyForm, Session, Statement
from agent.core.sql.parsing import complaint
from agent.core.sql.shapes import shape
from agent.core.sql.tags import Tagged, tagged
from chalicelib.contracts.operation import UNKNOWN, Operation

#: Longest text, in bytes. Reading it takes the agent as long as reading every constant in it.
TEXT_LIMIT: Final = 4 * 1024 * 1024

_PARTS: Final = "The text has more parts than can be decided. Use COPY, or bound values, for data."
_LONG: Final = f"The text is longer than {TEXT_LIMIT >> 20} MiB, so it cannot be decided. Use COPY, or bound values, for data."
_COPY: Final = re.compile(r"(?is)\A(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/|\()*copy\b")
#: PostgreSQL takes STDIN and STDOUT for the same word: the direction says which is meant.
_FROM_STDIN: Final = re.compile(r"(?i)\bfrom\s+std(?:in|out)\b")
_TO_STDOUT: Final = re.compile(r"(?i)\bto\s+std(?:in|out)\b")
_PARSER: Final = re.compile(r"(?i)client_encoding|standard_conforming_strings|backslash_quote|\bset\s+names\b")
#: One of them is in every text that ``_PARSER`` is about.
_PARSER_WORDS: Final = ("client_encoding", "standard_conforming", "backslash_quote", "names")
_SHOWS: Final = re.compile(r"(?is)\A\s*show\s+\w+\s*;?\s*\Z")
#: What drivers send when they connect, and what changes nothing.
_HARMLESS: Final = re.compile(
    r"(?is)\A\s*(?:set\s+(?:session\s+)?(?:client_encoding|names)\s*(?:to|=|\s)\s*'?(?:utf-?8|unicode)'?"
    r"|set\s+(?:session\s+)?standard_conforming_strings\s*(?:to|=)\s*'?on'?)\s*;?\s*\Z"
)

Analyse = Callable[[str, Catalogue, Session], Analysis]


class Meaning(msgspec.Struct, frozen=True, kw_only=True):
    """One statement."""

    text: str
    kind: str
    effects: frozenset[str]
    verbs: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    tagged: Tagged
    """The statement in terms of data classes."""
    copy: str = ""
    """``in`` or ``out`` where the statement moves data through this connection."""
    form: CopyForm | None = None
    """How the rows of that COPY look."""

    def operations(self, kind: str, arguments: tuple[str, ...] = ()) -> list[Operation]:
        """Return what policy is asked: to run it, and for a COPY through the connection to transfer as well."""
        objects = self.tables | {f"{name}()" for name in self.functions}
        one = Operation(
            kind=kind,
            text=self.text,
            effects=self.effects or frozenset({UNKNOWN}),
            verbs=self.verbs,
            objects=objects,
            flags=self.flags,
            arguments=arguments,
        )
        return [one, msgspec.structs.replace(one, action="transfer", kind="copy")] if self.copy else [one]


class Reading(msgspec.Struct, frozen=True):
    """A whole text: its statements, and what they leave behind for the next ones."""

    statements: tuple[Meaning, ...]
    session: Session
    kinds: frozenset[str] = frozenset()
    """The kinds of its statements."""


class Unreadable(Exception):  # noqa: N818 - a verdict on a text
    """The gateway will not let this text through, whatever policy says. ``code`` is a fault's, ``state`` an SQLSTATE."""

    def __init__(self, code: str, state: str, message: str, *, complaint: str = "", position: int = 0) -> None:
        """``complaint``, at ``position``, is what PostgreSQL itself would say: the client reads that and no other words."""
        self.code, self.state, self.message = code, state, message
        self.complaint, self.position = complaint, position
        super().__init__(message)


class Classifier:
    """Reads texts under one catalogue. Keeps the last readings, because clients repeat themselves, and of texts that are one but
    for their constants (``shapes``) what they mean."""

    _KEPT: Final = 512

    def __init__(
        self,
        analyse: Analyse,
        catalogue: Catalogue,
        tags: Mapping[str, str] = {},
        complain: Callable[[str], tuple[str, int]] = complaint,
    ) -> None:
        self._analyse = analyse
        self._complain = complain
        self._tags = tags
        self.catalogue = catalogue
        self.generation = 0
        """Counts what was adopted: readings of an earlier one no longer hold."""
        self._cache: dict[tuple[bytes, int], tuple[Session, Reading]] = {}
        self._shapes: dict[tuple[str, int], tuple[Session, Reading, int]] = {}

    def adopt(self, catalogue: Catalogue) -> None:
        """Read against a newer catalogue from now on."""
        self.catalogue = catalogue
        self.generation += 1
        self._cache.clear()
        self._shapes.clear()

    def read(self, data: bytes, session: Session) -> Reading:
        """Return what ``data`` means after ``session``. Raises Unreadable."""
        found = self._cache.get((data, id(session)))
        if found is not None and found[0] is session:
            return found[1]
        text = _decoded(data)
        kind = shape(text)
        reading = self._alike(kind, text, session) if kind is not None else None
        if reading is not None:
            return reading
        reading = self._read(text, session)
        if kind is not None and _repeats(reading, session, text):
            keep(self._shapes, (kind, id(session)), (session, reading, len(text) - len(reading.statements[0].text)), self._KEPT)
        elif len(data) <= 4_096:
            keep(self._cache, (data, id(session)), (session, reading), self._KEPT)
        return reading

    def _alike(self, kind: str, text: str, session: Session) -> Reading | None:
        """Return what ``text`` means, where one of its shape was read before."""
        known = self._shapes.get((kind, id(session)))
        if known is None or known[0] is not session:
            return None
        _, reading, behind = known
        meaning = msgspec.structs.replace(reading.statements[0], text=text[: len(text) - behind])
        return msgspec.structs.replace(reading, statements=(meaning,))

    def _read(self, text: str, session: Session) -> Reading:
        analysis = self._analyse(text, self.catalogue, session)
        if "too_long" in analysis.flags:
            raise Unreadable("too_large", "54000", _PARTS)
        if "parse_error" in analysis.flags:
            message = "This is not SQL that the gateway can read, so it was not run."
            words, position = self._complain(text)
            raise Unreadable("bad_request", "42601", message, complaint=words, position=position)
        classes = tagged(analysis, self._tags)
        meanings = tuple(_meaning(*both) for both in zip(analysis.statements, classes, strict=True))
        if "empty" in analysis.flags and not any(each.text.strip() for each in meanings):
            meanings = ()
        return Reading(meanings, analysis.session, frozenset(each.kind for each in meanings))


_K = TypeVar("_K")
_V = TypeVar("_V")


def keep(cache: dict[_K, _V], key: _K, value: _V, most: int) -> None:
    """Put ``value`` into ``cache``, and forget the oldest where it holds ``most``."""
    if len(cache) >= most:
        cache.pop(next(iter(cache)))
    cache[key] = value


def _repeats(reading: Reading, session: Session, text: str) -> bool:
    """True where the reading holds for every text of its shape: one statement, understood, that leaves nothing behind."""
    if len(reading.statements) != 1 or reading.session != session:
        return False
    (one,) = reading.statements
    plain = one.kind in ("select", "insert", "update", "delete") and UNKNOWN not in one.effects and not one.copy
    return plain and text.startswith(one.text) and not text[len(one.text) :].strip("; \t\r\n")


def _mentions_parser(text: str) -> bool:
    """What ``_PARSER`` says, after a look that costs a tenth of it."""
    folded = text.lower() if text.isascii() else text.casefold()
    return any(map(folded.__contains__, _PARSER_WORDS)) and _PARSER.search(text) is not None


def _decoded(data: bytes) -> str:
    if len(data) > TEXT_LIMIT:
        words = _LONG
        raise Unreadable("too_large", "54000", words)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Unreadable("bad_request", "22021", "The text is not valid UTF-8, so it was not run.") from None
    if _mentions_parser(text) and not _HARMLESS.match(text) and not _SHOWS.match(text):
        words = "The client encoding and the escapes of strings are fixed behind the gateway, so that both read the same text."
        raise Unreadable("not_supported", "0A000", words)
    return text


def _meaning(statement: Statement, tagged: Tagged) -> Meaning:
    flags = statement.flags
    if tagged.probed:
        flags |= {"probes_tagged"}
    effects = statement.effects
    if tagged.stored:
        # Whoever reads the copy sees what nobody has tagged, so where it ends up is as good as unknown.
        flags |= {"stores_tagged"}
        effects |= {UNKNOWN}
    return Meaning(
        text=statement.text,
        kind=statement.kind,
        effects=effects,
        verbs=statement.verbs,
        tables=statement.tables,
        functions=statement.functions,
        flags=flags,
        tagged=tagged,
        copy=_copy(statement),
        form=statement.copy,
    )


def _copy(statement: Statement) -> str:
    """Which way a COPY goes. Errs towards a transfer: the word is looked for in the whole text, strings and comments included."""
    if statement.copy is not None:
        return statement.copy.through
    if "COPY" not in statement.verbs and not _COPY.match(statement.text):
        return ""
    if _FROM_STDIN.search(statement.text):
        return "in"
    return "out" if _TO_STDOUT.search(statement.text) else ""
