"""Statements that define something about a relation: by what its rows are tested from then on, or at once.

A constraint, an index or a policy asks every row, and whether it is made, or whom it lets through, is the answer: `ALTER TABLE …
ADD CHECK (ssn LIKE '1%')` tells as much as a query. So what stands in them are tests of the relation's columns.
"""

from __future__ import annotations

from typing import Any, Final

from agent.core.sql.cursors import Cursors
from agent.core.sql.grammar import postgast
from agent.core.sql.model import NOTHING
from agent.core.sql.nodes import QUERIES, below, unwrapped
from agent.core.sql.scope import Item, Rows, Scope, Source

#: The statements, and the field that says of which relation they speak.
_RELATION: Final = {
    "alter_table_stmt": "relation", "index_stmt": "relation", "create_policy_stmt": "table", "alter_policy_stmt": "table",
    "create_trig_stmt": "relation", "rule_stmt": "relation", "create_stats_stmt": "relations",
}  # fmt: skip
#: Subcommands that fail, or not, for what a column holds (a type may be a domain with a condition).
_ASKS: Final = frozenset(
    postgast.pg_query_pb2.AlterTableType.Value(name) for name in ("AT_SetNotNull", "AT_AlterColumnType", "AT_SetExpression")
)


class Definitions(Cursors):
    """Walks what is said about a relation."""

    def defines(self, which: str, node: Any, scope: Scope) -> None:
        """Report which columns the statement ``node`` tests; nothing where it is not about a relation."""
        if which not in _RELATION:
            return
        about = getattr(node, _RELATION[which])
        sources = [self._rows_of(each.range_var if which == "create_stats_stmt" else each) for each in _several(about)]
        inner = Scope(scope, variables=NOTHING)
        inner.items = [Item((source,), source.rows) for source in sources if source is not None]
        if which in ("create_trig_stmt", "rule_stmt"):
            # The row before and after. Nothing else is in sight there.
            inner.items = [
                Item((Source(alias, source.rows),), source.rows)
                for source in sources
                if source is not None
                for alias in ("old", "new")
            ]
        self._tests(node, inner)

    def _rows_of(self, node: Any) -> Source | None:
        relation = self.findings.relation(node.schemaname, node.relname)
        if relation is None:
            return None
        return Source(relation.name, Rows(self.relation_columns(relation)), relation.schema, relation.name)

    def _tests(self, node: Any, scope: Scope) -> None:
        waiting = [node]
        while waiting:
            current = unwrapped(waiting.pop())
            kind = current.DESCRIPTOR.name
            self.findings.work += 1
            if kind in ("ColumnRef", "SubLink"):
                self.expression(current, scope, test=True)
            elif kind not in QUERIES:  # which are read as such
                self._named_columns(kind, current, scope)
                waiting.extend(below(current))

    def _named_columns(self, kind: str, node: Any, scope: Scope) -> None:
        """Columns that are named where no expression stands."""
        names: list[str] = []
        if kind in ("IndexElem", "StatsElem") or (kind == "AlterTableCmd" and node.subtype in _ASKS):
            names = [node.name]
        elif kind == "Constraint":
            names = [key.string.sval for key in (*node.keys, *node.fk_attrs)]
            source = self._rows_of(node.pktable) if node.HasField("pktable") else None
            for key in node.pk_attrs if source is not None else ():
                self.findings.read(source.column(key.string.sval) or NOTHING, test=True)  # type: ignore[union-attr]
        elif kind == "PartitionCmd":
            source = self._rows_of(node.name)
            self.findings.read(source.whole() if source is not None else NOTHING, test=True)
        for name in filter(None, names):
            carry, _ = scope.column(name)
            self.findings.read(carry or NOTHING, test=True)


def _several(found: Any) -> list[Any]:
    return list(found) if hasattr(found, "__len__") else [found]
