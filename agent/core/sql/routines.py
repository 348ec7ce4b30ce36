"""PL/pgSQL: which texts of SQL a routine holds, and whether it runs texts that it makes.

libpg_query's own reader of PL/pgSQL is used, on ``CREATE FUNCTION`` as ``pg_get_functiondef`` prints it. Variables are not
followed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agent.core.sql.grammar import PgQueryError, postgast
from agent.core.sql.model import Limits
from agent.core.sql.parsing import parse

_MOST_BYTES = 65_536
_MOST_NODES = 20_000
_DYNAMIC = frozenset({"PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors", "dynquery"})
_RAISING = frozenset({"PLpgSQL_stmt_raise", "PLpgSQL_stmt_assert"})
# How the reader of PL/pgSQL says that a text is: whole statements, a type, an expression, or ``variable := expression``.
_STATEMENT, _EXPRESSION = 0, 2


class Found(msgspec.Struct, frozen=True):
    """Texts that parse as SQL. Not `understood`: nothing here means anything."""

    understood: bool
    dynamic: bool = False
    raises: bool = False
    """It says something in notices or errors."""
    texts: tuple[str, ...] = ()
    """Those whose values its variables may come to hold: not the queries of cursors, where it fetches from none."""
    opens: tuple[str, ...] = ()
    """Those that it opens cursors for, which may stay open. One that is made when it runs is an empty text here."""
    borrows: bool = False
    """It reads from a cursor that it has not opened."""


def plpgsql_parts(definition: str, limits: Limits) -> Found:
    """What the routine that `definition` creates would run."""
    if not definition or len(definition) > _MOST_BYTES or not _creates(definition, limits):
        return Found(understood=False)
    try:
        tree: Any = postgast.parse_plpgsql(definition)
    except (PgQueryError, ValueError, RecursionError):
        return Found(understood=False)
    texts: list[str] = []
    cursors = _Cursors()
    dynamic = raises = False
    waiting: list[Any] = [tree]
    for _ in range(_MOST_NODES):
        if not waiting:
            return Found(bool(tree), dynamic, raises, cursors.without(texts), cursors.texts(), borrows=cursors.borrowed())
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            dynamic = dynamic or not _DYNAMIC.isdisjoint(node)
            raises = raises or not _RAISING.isdisjoint(node)
            cursors.see(node)
            expression = node.get("PLpgSQL_expr")
            if isinstance(expression, dict):
                texts.append(_statement(str(expression.get("query", "")), expression.get("parseMode", 0)))
            waiting.extend(node.values())
    return Found(understood=False)


class _Cursors:
    """What a routine does with cursors. Its variables are numbers, and number 0 is not written."""

    def __init__(self) -> None:
        self._opened: dict[int, list[str]] = {}
        self._bound: list[str] = []
        self._read: set[int] = set()
        self._loops = False

    def see(self, node: dict[str, Any]) -> None:
        """Look at one node of the tree."""
        bound = node.get("cursor_explicit_expr")
        if bound is not None:
            self._bound.append(_query(bound))
        opened = node.get("PLpgSQL_stmt_open")
        if opened is not None:
            texts = self._opened.setdefault(opened.get("curvar", 0), [])
            if "dynquery" in opened:
                texts.append("")
            elif "query" in opened:
                texts.append(_query(opened["query"]))
        self._loops = self._loops or "PLpgSQL_stmt_forc" in node
        fetched = node.get("PLpgSQL_stmt_fetch")
        if fetched is not None:
            self._read.add(fetched.get("curvar", 0))

    def texts(self) -> tuple[str, ...]:
        """The queries of cursors that may stay open. Those that were declared with theirs are not told apart."""
        named = [text for texts in self._opened.values() for text in texts]
        bound = self._bound if not all(self._opened.values()) else []
        return tuple(dict.fromkeys([*named, *bound]))

    def without(self, texts: list[str]) -> tuple[str, ...]:
        """Return ``texts`` without the queries that are opened and not read from here."""
        left = list(texts)
        opened = [] if self._read or self._loops else [*(text for each in self._opened.values() for text in each), *self._bound]
        for text in opened:
            if text in left:
                left.remove(text)
        return tuple(left)

    def borrowed(self) -> bool:
        """Whether it reads from a cursor that it has not opened."""
        return not self._read <= self._opened.keys()


def _query(expression: Any) -> str:
    return str(expression.get("PLpgSQL_expr", {}).get("query", ""))


def _creates(definition: str, limits: Limits) -> bool:
    """Whether it is one CREATE FUNCTION with a body in PL/pgSQL: the reader ends the process where there is none."""
    tree, _ = parse(definition, limits)
    if tree is None or len(tree.stmts) != 1 or tree.stmts[0].stmt.WhichOneof("node") != "create_function_stmt":
        return False
    options = {option.def_elem.defname: option.def_elem.arg for option in tree.stmts[0].stmt.create_function_stmt.options}
    if "as" not in options or "language" not in options or options["language"].string.sval.lower() != "plpgsql":
        return False
    return len(options["as"].list.items) == 1 and bool(options["as"].list.items[0].string.sval)


def _statement(query: str, mode: object) -> str:
    if mode == _STATEMENT:
        return query
    if mode == _EXPRESSION:
        return f"SELECT {query}"
    target, assigned, value = query.partition(":=")
    if not assigned:
        target, assigned, value = query.partition("=")
    return f"SELECT {target}, {value}" if assigned else f"SELECT {query}"
