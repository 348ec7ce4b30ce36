"""What an analysis says, and the closed set of flags it may use.

Everything here is data. An `Analysis` has one `Statement` per SQL statement; each says what kind of statement it is, what
kind of change it can make (`effects`, design §5), which relations, columns and functions it touches, and for every output
column which base columns its values may come from. The name of a base column is ``schema.table.column``.
"""

from __future__ import annotations

import msgspec

READ, WRITE, ADMIN, EXECUTE, UNKNOWN = "read", "write", "admin", "execute", "unknown"
EFFECTS = frozenset({READ, WRITE, ADMIN, EXECUTE, UNKNOWN})

FLAGS: dict[str, str] = {
    # What could not be understood. Each of these adds the effect `unknown`.
    "parse_error": "the text is not PostgreSQL's grammar, or holds a NUL or a lone surrogate",
    "too_long": "longer than the limit, or more statements than the limit",
    "too_deep": "nested deeper than the limit, or more work than the limit",
    "dynamic": "runs SQL that is text when it runs: DO, PL/pgSQL EXECUTE, query_to_xml, dblink and their kin",
    "opaque": "a construct, a prepared statement or a cursor whose content is not known",
    "unknown_function": "a function or operator that is neither built in nor in the catalogue, or that hides what it does",
    "unknown_relation": "a relation that is not in the catalogue, or that this session has changed since it was read",
    "unknown_column": "a column that no relation in sight is known to have",
    "parser_setting": "a setting that changes how later texts are read (standard_conforming_strings, client_encoding, …)",
    "stores_tagged": "copies what is tagged to where its tag does not follow: another table, a setting, a notification, a file",
    # What is understood, and which policies like to ask about. These add nothing to the effects by themselves.
    "no_where": "UPDATE or DELETE without WHERE, or a MERGE that changes every row, wherever it stands",
    "no_limit": "a query that returns rows of a table without LIMIT and without WHERE",
    "probes": "a predicate, join, sort, cast, function call, constraint or index tests a column",
    "probes_tagged": "the same of a column that is tagged: who asks often enough learns what is masked",
    "writes_in_cte": "a WITH query changes data",
    "select_into": "SELECT INTO, which creates a table",
    "copy_program": "COPY to or from a program on the server",
    "copy_file": "COPY to or from a file on the server",
    "large_object": "reads or changes large objects",
    "file_access": "reads, writes or lists files of the server",
    "sleeps": "waits on purpose",
    "lock": "takes locks on purpose: LOCK, FOR UPDATE, advisory locks",
    "temp": "makes a temporary relation",
    "superuser_setting": "changes a setting that only a superuser, or nobody in a session, should change",
    "system_catalogue": "names a relation of pg_catalog or information_schema",
    "replication": "slots, publications, subscriptions, origins",
    "network": "leaves the database: dblink, subscriptions, foreign relations",
    "sessions": "cancels, terminates or signals other sessions or the server",
    "role": "changes the current role",
    "multi": "more than one statement in the text",
    "empty": "no statement at all",
}

UNKNOWN_FLAGS = frozenset(
    {
        "parse_error", "too_long", "too_deep", "dynamic", "opaque", "unknown_function", "unknown_relation", "unknown_column",
        "parser_setting", "stores_tagged",
    }
)  # fmt: skip

#: Stands in a set of base columns for "any column of the database, for all we know".
TAINT = "?"
Carry = frozenset[str]
NOTHING: Carry = frozenset()
ANYTHING: Carry = frozenset({TAINT})


class Limits(msgspec.Struct, frozen=True):
    """Bounds on the work one text may cause. Beyond any of them the text is `unknown`, never an error."""

    max_bytes: int = 4 * 1024 * 1024
    """Longest text, in UTF-8 bytes."""
    max_statements: int = 1_000
    max_parts: int = 400_000
    """Commas and opening brackets, which bound what the parser makes of a text."""
    max_operators: int = 2_000
    """Operators, joins and set operations that may nest. The parser recurses per operator in C, without a bound of its own:
    some ten thousand of them end the process, so they are counted before it is called."""
    max_depth: int = 160
    """Nodes of the parse tree, one inside another."""
    max_expansions: int = 24
    """Views and functions, one inside another."""
    max_work: int = 200_000
    """Nodes visited, views and functions included."""
    max_columns: int = 20_000
    """Output columns of one query, after `*` is expanded."""


DEFAULT = Limits()


class OutputColumn(msgspec.Struct, frozen=True):
    """One column that the statement returns, in order. `tainted`: it may carry any column of the database."""

    name: str
    columns: Carry = NOTHING
    tainted: bool = False


class Opened(msgspec.Struct, frozen=True):
    """The query of a cursor that a routine may have left open; no text where it is not known.

    `path` is the one that it was read by, `variables` what any variable of the routine may carry, `names` its parameters.
    """

    text: str
    path: tuple[str, ...] = ()
    variables: Carry = NOTHING
    names: tuple[str, ...] = ()


class Session(msgspec.Struct, frozen=True):
    """What earlier statements of the same connection left behind. `Analysis.session` is the next one.

    `search_path` is None until a statement sets it; `earlier` are paths that may be in force again, because the statement failed
    or was rolled back: a name must mean the same in all of them. `prepared` and `cursors` map names to every text that the name
    was given, for the same reason. `opened` are cursors that routines may have left open in this transaction. `changed` holds
    the unqualified names of relations and functions created, altered or renamed since the catalogue was read: they resolve to
    nothing known. `uncertain`: something ran whose consequences for names are not known; only qualified names resolve from then
    on. Read the catalogue again, and start anew, to clear both.

    Adopt `Analysis.session` only once the text has been forwarded: what was denied has left nothing behind.
    """

    search_path: tuple[str, ...] | None = None
    earlier: frozenset[tuple[str, ...]] = frozenset()
    prepared: dict[str, tuple[str, ...]] = {}
    cursors: dict[str, tuple[str, ...]] = {}
    opened: tuple[Opened, ...] = ()
    changed: frozenset[str] = frozenset()
    uncertain: bool = False

    def with_prepared(self, name: str, text: str) -> Session:
        """Also after a Parse message of the protocol: EXECUTE can run what it named."""
        return msgspec.structs.replace(self, prepared=_noted(self.prepared, name, text))

    def with_cursor(self, name: str, text: str) -> Session:
        """Also after a Bind message of the protocol: FETCH can read from a portal it named."""
        return msgspec.structs.replace(self, cursors=_noted(self.cursors, name, text))

    def with_opened(self, opened: tuple[Opened, ...]) -> Session:
        """After statements whose routines may have left these open. Too many of them are none that is known."""
        if self.opened[:1] == _UNKNOWN:
            return self
        more = tuple(dict.fromkeys(each for each in opened if each not in self.opened))
        if not more:
            return self
        return msgspec.structs.replace(
            self, opened=(*self.opened, *more) if len(self.opened) + len(more) <= _MOST_OPENED else _UNKNOWN
        )


_MOST_NAMES = 1_000
_MOST_TEXTS = 8
_MOST_OPENED = 32
_UNKNOWN = (Opened(""),)


def _noted(known: dict[str, tuple[str, ...]], name: str, text: str) -> dict[str, tuple[str, ...]]:
    """`known` with one more text. A name with too many is not text any more, and too many names are none: both are opaque."""
    texts = known.get(name, ())
    if text in texts:
        return known
    if len(known) >= _MOST_NAMES:
        return {}
    return {**known, name: (*texts, text) if len(texts) < _MOST_TEXTS else ("\x00",)}


class CopyForm(msgspec.Struct, frozen=True):
    """How the rows of a COPY look ("COPY", File Formats). Not `plain`: an option changes them in a way that is not told here."""

    through: str = ""
    """``in`` or ``out`` where the rows go through the connection, and not through a file or a program."""
    format: str = "text"
    delimiter: str = ""
    header: bool = False
    plain: bool = True
    types: tuple[int, ...] = ()
    """Type OIDs of the columns, where all of them are known."""
    query: str = ""
    """The query in parentheses as it stands, where only a server could tell the types of what it shows in binary."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One statement. `position` counts characters from the start of the text; `text` is exactly what stands there."""

    text: str
    position: int
    kind: str
    effects: frozenset[str]
    verbs: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    outputs: tuple[OutputColumn, ...] = ()
    aligned: bool = True
    """False where the number of output columns is not known: each may then be any of `outputs`."""
    probed: Carry = NOTHING
    """Columns that something tests: an answer, an order, a row count or an error text may tell about their values."""
    stored: Carry = NOTHING
    """Columns whose values the statement may copy to where their tags do not follow: a table, a file, a setting."""
    reached: Carry = ANYTHING
    """Columns of every relation that it names, used or not: what an error of the statement itself can quote."""
    named: dict[str, Carry] = {}
    """Columns of the relations that it names, by their bare name."""
    orders: dict[str, tuple[str, ...]] = {}
    """The names of their columns in order, by the relation's bare name."""
    settings: tuple[tuple[str, str | None], ...] = ()
    copy: CopyForm | None = None
    """Settings it changes, lower case, with the new value where it is a constant."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """A whole text. The sets are unions over its statements; `effects` is never empty."""

    statements: tuple[Statement, ...]
    effects: frozenset[str]
    verbs: frozenset[str]
    tables: frozenset[str]
    columns: frozenset[str]
    functions: frozenset[str]
    flags: frozenset[str]
    session: Session

    @property
    def outputs(self) -> tuple[OutputColumn, ...]:
        """Of the only statement; empty where there are several (ask each)."""
        return self.statements[0].outputs if len(self.statements) == 1 else ()
