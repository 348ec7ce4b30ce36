"""The commands of replication connections: what each asks for, in policy's terms (PostgreSQL documentation, §55.4). Pure.

A server looks at the first word of a text. One that begins a replication command is read by a small grammar of its own
(``repl_gram.y``), and anything else is SQL. So it is here, with the same words in the same case: what begins with one of them
and does not read to its end is refused, and never taken for SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from chalicelib.contracts.operation import ADMIN, READ, WRITE, Operation

_SPACE: Final = r"[ \t\n\r\f\v]"
_WORD: Final = r"[A-Za-z_\x80-\U0010ffff][A-Za-z_\x80-\U0010ffff0-9$]*"
_FIRST: Final = re.compile(rf"{_SPACE}*({_WORD})")
_TOKEN: Final = re.compile(
    rf"{_SPACE}*(?:(?P<place>[0-9A-Fa-f]+/[0-9A-Fa-f]+)|(?P<number>[0-9]+)(?![A-Za-z_\x80-\U0010ffff$])|(?P<word>{_WORD})"
    r"|'(?P<text>(?:[^']|'')*)'|\"(?P<quoted>(?:[^\"]|\"\")+)\"|(?P<mark>[,;().]))"
)
#: More words than any command has.
_MOST_TOKENS: Final = 1_000
#: One name of a list such as that of publications, which is written as SQL's identifiers are.
_LISTED: Final = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\s",]+))\s*')

#: Words that no name without quotes can be.
_KEYWORDS: Final = frozenset(
    "BASE_BACKUP FAST IDENTIFY_SYSTEM READ_REPLICATION_SLOT SHOW LABEL NOWAIT PROGRESS MAX_RATE WAL TABLESPACE_MAP "
    "NOVERIFY_CHECKSUMS MANIFEST MANIFEST_CHECKSUMS START_REPLICATION CREATE_REPLICATION_SLOT DROP_REPLICATION_SLOT "
    "ALTER_REPLICATION_SLOT TIMELINE_HISTORY PHYSICAL RESERVE_WAL LOGICAL SLOT TEMPORARY TWO_PHASE EXPORT_SNAPSHOT "
    "NOEXPORT_SNAPSHOT USE_SNAPSHOT WAIT UPLOAD_MANIFEST TIMELINE".split()
)
#: What may follow a CREATE_REPLICATION_SLOT or a BASE_BACKUP without brackets, as servers before 15 want it.
_SLOT_WORDS: Final = frozenset({"EXPORT_SNAPSHOT", "NOEXPORT_SNAPSHOT", "USE_SNAPSHOT", "RESERVE_WAL", "TWO_PHASE"})
_BACKUP_WORDS: Final = frozenset({"PROGRESS", "FAST", "WAL", "NOWAIT", "TABLESPACE_MAP", "NOVERIFY_CHECKSUMS"})
_BACKUP_TEXTS: Final = frozenset({"LABEL", "MANIFEST", "MANIFEST_CHECKSUMS"})

#: Of every command, of what a command is about, and of those that send what nothing masks.
REPLICATION, PHYSICAL, LOGICAL, RAW = "replication", "physical", "logical", "raw"
_FILES: Final = "file_access"


class NotUnderstood(Exception):  # noqa: N818 - a verdict on a text
    """A text begins like a replication command and does not go on like one."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One replication command."""

    verb: str
    effects: frozenset[str]
    objects: frozenset[str] = frozenset()
    """``slot:…``, ``plugin:…``, ``publication:…``, ``timeline:…``, ``setting:…``."""
    flags: frozenset[str] = frozenset({REPLICATION})
    streams: Literal["", "both", "out", "in"] = ""
    """What opens behind it: a stream both ways, a COPY to the client, or one from it."""

    def operation(self, text: str) -> Operation:
        """Return what policy is asked."""
        return Operation(
            action="replicate",
            kind="replication",
            text=text,
            effects=self.effects,
            verbs=frozenset({self.verb}),
            objects=self.objects,
            flags=self.flags,
        )


def connection(mode: Literal["true", "database"]) -> Operation:
    """Return what policy is asked before a replication connection is opened at all."""
    return Operation(
        action="replicate",
        kind="connection",
        text=f"replication={mode}",
        effects=frozenset({READ}),
        verbs=frozenset({"CONNECT"}),
        flags=frozenset({REPLICATION}),
    )


def read(text: str) -> Command | None:
    """Return the command that ``text`` is, or None where a server would take it for SQL. Raises NotUnderstood."""
    first = _FIRST.match(text)
    reader = _COMMANDS.get(first[1]) if first is not None else None
    if first is None or reader is None:
        return None
    tokens = _Tokens(text)
    tokens.take("word")
    command = reader(tokens)
    tokens.end()
    return command


class _Tokens:
    """The words of one text, from its first."""

    def __init__(self, text: str) -> None:
        self._found: list[tuple[str, str]] = []
        at, end = 0, len(text.rstrip(" \t\n\r\f\v"))
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None or len(self._found) >= _MOST_TOKENS:
                raise NotUnderstood
            kind = str(match.lastgroup)
            value = match[kind]
            if kind == "text":
                value = value.replace("''", "'")
            elif kind == "quoted":
                kind, value = "name", value.replace('""', '"')
            elif kind == "word" and value not in _KEYWORDS:
                # Only ASCII is folded, as PostgreSQL does in UTF-8.
                kind, value = "name", re.sub("[A-Z]+", lambda found: found[0].lower(), value)
            self._found.append((kind, value))
            at = match.end()
        self._at = 0

    @property
    def next(self) -> tuple[str, str]:
        """The next word and what it is; nothing at the end."""
        return self._found[self._at] if self._at < len(self._found) else ("", "")

    def take(self, kind: str, value: str = "") -> str:
        """Take the next word, which has to be this."""
        found, word = self.next
        if found != kind or (value and word != value):
            raise NotUnderstood
        self._at += 1
        return word

    def has(self, kind: str, value: str = "") -> bool:
        """Take the next word where it is this."""
        found, word = self.next
        if found != kind or (value and word != value):
            return False
        self._at += 1
        return True

    def end(self) -> None:
        """Nothing follows but one semicolon."""
        self.has("mark", ";")
        if self.next != ("", ""):
            raise NotUnderstood

    def options(self) -> dict[str, str]:
        """Take options in brackets. One that stands there twice means nothing that can be relied on."""
        found: dict[str, str] = {}
        self.take("mark", "(")
        while True:
            kind, name = self.next
            if kind not in ("word", "name") or name.lower() in found:
                raise NotUnderstood
            self._at += 1
            kind, value = self.next
            if kind in ("name", "text", "number"):
                self._at += 1
            found[name.lower()] = value if kind in ("name", "text", "number") else ""
            if not self.has("mark", ","):
                self.take("mark", ")")
                return found


def _reads(verb: str, flags: frozenset[str], effects: frozenset[str], *objects: str) -> Command:
    return Command(verb=verb, effects=effects, objects=frozenset(objects), flags=flags | {REPLICATION})


_NONE: Final = frozenset[str]()
_READS: Final = frozenset({READ})
_CHANGES: Final = frozenset({ADMIN, WRITE})


def _identify(tokens: _Tokens) -> Command:
    return _reads("IDENTIFY_SYSTEM", _NONE, _READS)


def _show(tokens: _Tokens) -> Command:
    parts = [tokens.take("name")]
    while tokens.has("mark", "."):
        parts.append(tokens.take("name"))
    return _reads("SHOW", _NONE, _READS, f"setting:{'.'.join(parts)}")


def _read_slot(tokens: _Tokens) -> Command:
    parts = [tokens.take("name")]
    while tokens.has("mark", "."):
        parts.append(tokens.take("name"))
    return _reads("READ_REPLICATION_SLOT", _NONE, _READS, f"slot:{'.'.join(parts)}")


def _history(tokens: _Tokens) -> Command:
    return _reads("TIMELINE_HISTORY", frozenset({PHYSICAL}), _READS, f"timeline:{tokens.take('number')}")


def _create(tokens: _Tokens) -> Command:
    objects = [f"slot:{tokens.take('name')}"]
    tokens.has("word", "TEMPORARY")
    if tokens.has("word", "PHYSICAL"):
        kind = PHYSICAL
    else:
        tokens.take("word", "LOGICAL")
        kind = LOGICAL
        objects.append(f"plugin:{tokens.take('name')}")
    if tokens.next == ("mark", "("):
        tokens.options()
    while tokens.next[0] == "word":
        if tokens.take("word") not in _SLOT_WORDS:
            raise NotUnderstood
    return _reads("CREATE_REPLICATION_SLOT", frozenset({kind}), _CHANGES, *objects)


def _drop(tokens: _Tokens) -> Command:
    name = tokens.take("name")
    tokens.has("word", "WAIT")
    return _reads("DROP_REPLICATION_SLOT", _NONE, _CHANGES, f"slot:{name}")


def _alter(tokens: _Tokens) -> Command:
    name = tokens.take("name")
    tokens.options()
    return _reads("ALTER_REPLICATION_SLOT", _NONE, _CHANGES, f"slot:{name}")


def _start(tokens: _Tokens) -> Command:
    objects = [f"slot:{tokens.take('name')}"] if tokens.has("word", "SLOT") else []
    kind = PHYSICAL
    if objects and tokens.has("word", "LOGICAL"):
        kind = LOGICAL
        tokens.take("place")
        if tokens.next == ("mark", "("):
            objects += [f"publication:{name}" for name in _listed(tokens.options().get("publication_names", ""))]
    else:
        tokens.has("word", "PHYSICAL")
        tokens.take("place")
        if tokens.has("word", "TIMELINE"):
            objects.append(f"timeline:{tokens.take('number')}")
    return Command(
        verb="START_REPLICATION",
        # Rows of every table, past what the account may read of each.
        effects=frozenset({READ, ADMIN}),
        objects=frozenset(objects),
        flags=frozenset({REPLICATION, kind, RAW}),
        streams="both",
    )


def _listed(text: str) -> list[str]:
    names, at = [], 0
    while text.strip():
        match = _LISTED.match(text, at)
        if match is None:
            raise NotUnderstood
        names.append(match[1].replace('""', '"') if match[1] else match[2].lower())
        if match.end() == len(text):
            break
        if text[match.end()] != ",":
            raise NotUnderstood
        at = match.end() + 1
    return names


def _backup(tokens: _Tokens) -> Command:
    target = "client"
    if tokens.next == ("mark", "("):
        target = tokens.options().get("target", "client")
    else:
        _old_backup(tokens)
    # The server writes the backup where the command says, or nowhere.
    elsewhere = target != "client"
    return Command(
        verb="BASE_BACKUP",
        effects=frozenset({READ, ADMIN, WRITE} if elsewhere else {READ, ADMIN}),
        objects=frozenset({f"target:{target}"} if elsewhere else ()),
        flags=frozenset({REPLICATION, PHYSICAL, RAW} | ({_FILES} if elsewhere else set())),
        streams="out",
    )


def _old_backup(tokens: _Tokens) -> None:
    while tokens.next[0] == "word":
        word = tokens.take("word")
        if word in _BACKUP_TEXTS:
            tokens.take("text")
        elif word == "MAX_RATE":
            tokens.take("number")
        elif word not in _BACKUP_WORDS:
            raise NotUnderstood


def _upload(tokens: _Tokens) -> Command:
    flags = frozenset({REPLICATION, PHYSICAL})
    return Command(verb="UPLOAD_MANIFEST", effects=frozenset({WRITE}), flags=flags, streams="in")


_COMMANDS: Final[dict[str, Callable[[_Tokens], Command]]] = {
    "IDENTIFY_SYSTEM": _identify,
    "SHOW": _show,
    "READ_REPLICATION_SLOT": _read_slot,
    "TIMELINE_HISTORY": _history,
    "CREATE_REPLICATION_SLOT": _create,
    "DROP_REPLICATION_SLOT": _drop,
    "ALTER_REPLICATION_SLOT": _alter,
    "START_REPLICATION": _start,
    "BASE_BACKUP": _backup,
    "UPLOAD_MANIFEST": _upload,
}
