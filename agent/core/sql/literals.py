"""Where a statement holds values of a data class as constants or parameters: ``WHERE ssn = '…'``, ``INSERT … VALUES``. Pure.

For the record only, so it errs towards hiding: a constant beside a column of a class, in one expression or one row with it,
counts as a value of that class. Columns are known by the name under which the statement can see them (views included), not by
lineage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from agent.core.sql.grammar import DecodeError, PgQueryError, postgast
from agent.core.sql.model import DEFAULT
from agent.core.sql.parsing import screen

_MESSAGE = 11
_MOST_NODES = 200_000
_PIECE = 1_000
#: Expressions whose operands are compared, computed or assigned together.
_TOGETHER = frozenset({"A_Expr", "FuncCall", "CaseExpr", "CaseWhen", "CoalesceExpr", "MinMaxExpr", "RowExpr", "SubLink"})
_CHANGES = frozenset({"InsertStmt", "MergeWhenClause"})

Classes = Mapping[str, frozenset[str]]
Orders = Mapping[str, tuple[str, ...]]


class Literals:
    """What stands in one statement: classes by byte offset of a constant, and by number of a parameter."""

    def __init__(self) -> None:
        self.constants: dict[int, frozenset[str]] = {}
        self.parameters: dict[int, frozenset[str]] = {}
        self.understood = True


def find(text: str, names: Classes, orders: Orders, every: frozenset[str] = frozenset()) -> Literals:
    """Find the values in `text`. `names` are the classes of the columns in sight, `orders` the columns of the relations in sight.
    `every` are classes that any constant may be a value of.

    Not `understood`: it could not be read to its end, and any constant may be a value.
    """
    found = Literals()
    if screen(text, DEFAULT) is not None:
        found.understood = False
        return found
    try:
        tree = postgast.parse(text)
    except (PgQueryError, DecodeError, RecursionError):
        found.understood = False
        return found
    _Walk(dict(names), orders, found).through(tree, every)
    return found


def replaced(text: str, found: Literals, shown: Callable[[frozenset[str]], str]) -> str:
    """Return `text` with every constant that was found in place of what `shown` says of its classes, as a quoted string."""
    try:
        ends = {token.start: token.end for token in postgast.scan(text).tokens}
    except PgQueryError:
        return "(not readable)"
    raw = text.encode()
    out: list[bytes] = []
    at = 0
    for start in sorted(found.constants):
        end = ends.get(start)
        if end is None or start < at:
            continue
        out += (raw[at:start], b"'" + shown(found.constants[start]).replace("'", "''").encode() + b"'")
        at = end
    return b"".join([*out, raw[at:]]).decode(errors="replace")


class _Walk:
    def __init__(self, names: dict[str, frozenset[str]], orders: Orders, found: Literals) -> None:
        self._names = names
        self._orders = orders
        self._found = found
        self._work = 0

    def through(self, tree: Any, every: frozenset[str]) -> None:
        """Note every value below `tree`; renamed columns first."""
        if every:
            self._note(tree, every)
        for _ in range(3):
            self._aliases(tree)
        self._visit(tree)

    def _below(self, node: Any) -> list[Any]:
        self._work += 1
        if self._work > _MOST_NODES:
            self._found.understood = False
            return []
        children: list[Any] = []
        for field, value in node.ListFields():
            if field.type == _MESSAGE:
                if not field.is_repeated:
                    children.append(value)
                    continue
                # Piece by piece: other threads have to wait while a list is made of fifty thousand rows at once.
                rest = iter(value)
                while piece := list(islice(rest, _PIECE)):
                    children += piece
        return children

    def _classes(self, node: Any) -> frozenset[str]:
        """The classes of every column that is named below `node`."""
        found: frozenset[str] = frozenset()
        waiting = [node]
        while waiting:
            current = waiting.pop()
            if current.DESCRIPTOR.name == "ColumnRef":
                last = current.fields[-1]
                if last.WhichOneof("node") == "a_star":
                    found = found.union(*self._names.values())
                else:
                    found |= self._names.get(last.string.sval, frozenset())
                    if last.string.sval in self._orders:  # a whole row
                        found = found.union(*self._names.values())
            waiting.extend(self._below(current))
        return found

    def _aliases(self, tree: Any) -> None:
        waiting = [tree]
        while waiting:
            current = waiting.pop()
            kind = current.DESCRIPTOR.name
            if kind == "ResTarget" and current.name and current.HasField("val"):
                self._name(current.name, self._classes(current.val))
            elif kind in ("Alias", "CommonTableExpr"):
                columns = current.colnames if kind == "Alias" else current.aliascolnames
                for column in columns:
                    self._name(column.string.sval, frozenset().union(*self._names.values()))
            waiting.extend(self._below(current))

    def _name(self, name: str, classes: frozenset[str]) -> None:
        if classes:
            self._names[name] = self._names.get(name, frozenset()) | classes

    def _visit(self, tree: Any) -> None:
        waiting = [tree]
        while waiting:
            current = waiting.pop()
            kind = current.DESCRIPTOR.name
            if kind in _TOGETHER:
                classes = self._classes(current)
                if classes:
                    self._note(current, classes)
            elif kind == "InsertStmt":
                self._rows(current)
            elif kind == "MergeWhenClause" and len(current.values):
                self._row([each.res_target.name for each in current.target_list], current.values)
            elif kind == "ResTarget" and current.name in self._names and current.HasField("val"):
                self._note(current.val, self._names[current.name])
            waiting.extend(self._below(current))

    def _rows(self, insert: Any) -> None:
        names = [each.res_target.name for each in insert.cols] or list(self._orders.get(insert.relation.relname, ()))
        select = insert.select_stmt.select_stmt
        for row in select.values_lists:
            self._row(names, row.list.items)
        self._row(names, [each.res_target.val for each in select.target_list])

    def _row(self, names: list[str], values: Any) -> None:
        for place, value in enumerate(values):
            classes = self._names.get(names[place], frozenset()) if place < len(names) else frozenset()
            if classes:
                self._note(value, classes)

    def _note(self, node: Any, classes: frozenset[str]) -> None:
        waiting = [node]
        while waiting:
            current = waiting.pop()
            kind = current.DESCRIPTOR.name
            if kind == "A_Const" and not current.isnull:
                known = self._found.constants.get(current.location, frozenset())
                self._found.constants[current.location] = known | classes
            elif kind == "ParamRef":
                self._found.parameters[current.number] = self._found.parameters.get(current.number, frozenset()) | classes
            waiting.extend(self._below(current))
