"""INSERT, UPDATE, DELETE and MERGE: what is written where, what RETURNING shows, and whether a WHERE is missing."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.core.sql.model import ANYTHING, NOTHING, READ, WRITE, Carry
from agent.core.sql.nodes import below
from agent.core.sql.queries import Queries
from agent.core.sql.scope import Item, Rows, Scope, Source

_UPDATE, _INSERT, _DELETE = 3, 4, 5  # CmdType
_BY_SOURCE = 2  # MergeMatchKind.MERGE_WHEN_NOT_MATCHED_BY_SOURCE


class Changes(Queries):
    """Walks statements that change rows."""

    def change(self, which: str, node: Any, scope: Scope) -> Rows:
        """One data-modifying statement, in a scope of its own."""
        findings = self.findings
        findings.effects.add(WRITE)
        findings.verbs.add(which.removesuffix("_stmt").upper())
        if node.HasField("with_clause"):
            self.with_queries(node.with_clause, scope)
        target = self.relation_source(node.relation)
        if which == "insert_stmt":
            return self._insert(node, target, scope)
        if which == "update_stmt":
            return self._update(node, target, scope)
        if which == "delete_stmt":
            return self._delete(node, target, scope)
        return self._merge(node, target, scope)

    def _insert(self, node: Any, target: Source, scope: Scope) -> Rows:
        rows = self._inserted(node.select_stmt, scope)
        names = [column.res_target.name for column in node.cols] or [name for name, _ in target.rows.columns]
        if rows.exact and len(rows.columns) <= len(names):
            assigned = {name: carry for name, (_, carry) in zip(names, rows.columns, strict=False)}
        else:
            assigned = dict.fromkeys(names, rows.everything())
        if node.HasField("on_conflict_clause"):
            self._on_conflict(node.on_conflict_clause, target, assigned, scope)
        return self._finish(node, target, assigned, scope, ())

    def _inserted(self, node: Any, scope: Scope) -> Rows:
        """The rows to insert. Plain VALUES read nothing."""
        if node.WhichOneof("node") is None:
            return Rows()
        fields = {field.name for field, _ in node.select_stmt.ListFields()}
        if fields <= {"values_lists", "limit_option", "op"}:
            return self.values(node.select_stmt.values_lists, Scope(scope))
        return self.query(node, scope)

    def _on_conflict(self, clause: Any, target: Source, assigned: dict[str, Carry], scope: Scope) -> None:
        inner = Scope(scope)
        columns = tuple((name, carry | assigned.get(name, NOTHING)) for name, carry in target.rows.columns)
        excluded = msgspec.structs.replace(
            target, alias="excluded", rows=Rows(columns, target.rows.exact), schema="", relation=""
        )
        if clause.HasField("infer"):
            alone = Scope(scope)
            alone.items.append(Item((target,), target.rows))
            for element in clause.infer.index_elems:
                self.expression(element.index_elem.expr, alone, test=True)
            self.expression(clause.infer.where_clause, alone, test=True)
        inner.items.append(Item((target,), target.rows))
        outside = Scope(scope)  # a level further out, so that unqualified names mean the target
        outside.items.append(Item((excluded,), excluded.rows))
        inner.parent = outside
        if len(clause.target_list):
            self.findings.verbs.add("UPDATE")
        self._assign(clause.target_list, assigned, inner)
        if clause.HasField("where_clause"):
            self.expression(clause.where_clause, inner, test=True)

    def _update(self, node: Any, target: Source, scope: Scope) -> Rows:
        items = self._sources(node.from_clause, target, scope)
        assigned: dict[str, Carry] = {}
        self._assign(node.target_list, assigned, scope)
        self._where(node, scope)
        return self._finish(node, target, assigned, scope, items)

    def _delete(self, node: Any, target: Source, scope: Scope) -> Rows:
        items = self._sources(node.using_clause, target, scope)
        self._where(node, scope)
        return self._finish(node, target, {}, scope, items)

    def _sources(self, nodes: Any, target: Source, scope: Scope) -> tuple[Item, ...]:
        scope.items.append(Item((target,), target.rows))
        for part in nodes:
            scope.items.append(self.item(part, scope))
        return tuple(scope.items[1:])

    def _where(self, node: Any, scope: Scope) -> None:
        if node.HasField("where_clause"):
            self.expression(node.where_clause, scope, test=True)
        if not node.HasField("where_clause") or always(node.where_clause):
            self.findings.flags.add("no_where")

    def _assign(self, targets: Any, assigned: dict[str, Carry], scope: Scope) -> None:
        for part in targets:
            target = part.res_target
            carry = self.expression(target.val, scope) | self.expressions(target.indirection, scope, test=True)
            assigned[target.name] = assigned.get(target.name, NOTHING) | carry

    def _merge(self, node: Any, target: Source, scope: Scope) -> Rows:
        source = self.item(node.source_relation, scope)
        scope.items += [source, Item((target,), target.rows)]
        self.expression(node.join_condition, scope, test=True)
        everywhere = always(node.join_condition)
        assigned: dict[str, Carry] = {}
        for part in node.merge_when_clauses:
            when = part.merge_when_clause
            free = not when.HasField("condition") or always(when.condition)
            if when.HasField("condition"):
                self.expression(when.condition, scope, test=True)
            if when.command_type in (_UPDATE, _DELETE):
                self.findings.verbs.add("UPDATE" if when.command_type == _UPDATE else "DELETE")
                if free and (everywhere or when.match_kind == _BY_SOURCE):
                    self.findings.flags.add("no_where")
            if when.command_type == _INSERT:
                self.findings.verbs.add("INSERT")
                names = [column.res_target.name for column in when.target_list] or [name for name, _ in target.rows.columns]
                for name, value in zip(names, when.values, strict=False):
                    assigned[name] = assigned.get(name, NOTHING) | self.expression(value, scope)
            else:
                self._assign(when.target_list, assigned, scope)
        rows = self._finish(node, target, assigned, scope, (source,))
        # The order in which `*` has source and target is the server's.
        starred = any(mentions(expression, "A_Star") for expression in node.returning_clause.exprs)
        return msgspec.structs.replace(rows, exact=rows.exact and not starred)

    def _finish(self, node: Any, target: Source, assigned: dict[str, Carry], scope: Scope, items: tuple[Item, ...]) -> Rows:
        """Notes what is written where, then reads RETURNING, which shows the rows as they have become."""
        findings = self.findings
        for name, carry in assigned.items():
            qualified = (
                f"{target.schema}.{target.relation}.{name}" if target.schema else f"{target.relation or target.alias}.{name}"
            )
            findings.columns.add(qualified)
            own = target.column(name) or NOTHING
            findings.store(carry - (own - ANYTHING), qualified)
        if not node.HasField("returning_clause"):
            return Rows()
        findings.effects.add(READ)
        columns = tuple((name, carry | assigned.get(name, NOTHING)) for name, carry in target.rows.columns)
        beyond = None if target.beyond is None else target.beyond.union(*assigned.values())
        changed = msgspec.structs.replace(target, rows=Rows(columns, target.rows.exact), beyond=beyond)
        around = Scope(scope.parent)
        around.queries = scope.queries
        names = {"old", "new"} | {option.returning_option.value for option in node.returning_clause.options}
        for name in names:
            versions = msgspec.structs.replace(changed, alias=name, schema="", relation="")
            around.items.append(Item((versions,), versions.rows))
        inner = Scope(around)
        inner.items = [Item((changed,), changed.rows), *items]
        return self.targets(node.returning_clause.exprs, inner)


def mentions(node: Any, *kinds: str) -> bool:
    """Whether a node of one of these kinds stands anywhere in `node`."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current.DESCRIPTOR.name in kinds:
            return True
        waiting.extend(below(current))
    return False


def always(node: Any) -> bool:
    """Whether a predicate plainly depends on no row: ``true``, ``1 = 1``, ``x = 3 OR true``, ``id = id``."""
    which = node.WhichOneof("node")
    if which == "bool_expr":
        parts = [always(part) for part in node.bool_expr.args]
        either = node.bool_expr.boolop == 2  # BoolExprType.OR_EXPR
        return any(parts) if either else all(parts)
    if which == "a_expr" and node.a_expr.lexpr.WhichOneof("node") == "column_ref":
        left, right = node.a_expr.lexpr.column_ref, node.a_expr.rexpr.column_ref
        if node.a_expr.name[-1].string.sval in ("=", "<=", ">=") and len(right.fields):
            return [field.string.sval for field in left.fields] == [field.string.sval for field in right.fields]
    return not mentions(node, "ColumnRef", "SubLink", "CurrentOfExpr")
