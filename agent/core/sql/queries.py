"""SELECT in all its forms: which columns come out, and what each of them may carry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agent.core.sql.findings import TooDeep, union
from agent.core.sql.model import ANYTHING, NOTHING, READ, WRITE, Carry
from agent.core.sql.names import column_name
from agent.core.sql.relations import Relations
from agent.core.sql.scope import UNKNOWN_ROWS, Rows, Scope, Source

_UNION, _INTERSECT, _EXCEPT = 2, 3, 4  # SetOperation
_ROUNDS = 8
_ONE_ROW = frozenset(
    {"count", "sum", "avg", "min", "max", "bool_and", "bool_or", "array_agg", "string_agg", "json_agg", "jsonb_agg"}
)
_MODIFYING = frozenset({"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"})


class Queries(Relations):
    """Walks SELECT, VALUES, TABLE, set operations and WITH."""

    def change(self, which: str, node: Any, scope: Scope) -> Rows:
        """INSERT, UPDATE, DELETE or MERGE."""
        raise NotImplementedError

    def query(self, node: Any, scope: Scope, *, nested: bool = True) -> Rows:
        """A Node (or SelectStmt) that returns rows; `scope` is the query around it."""
        which: str | None = "select_stmt"
        if node.DESCRIPTOR.name == "Node":
            which = node.WhichOneof("node")
            node = getattr(node, which) if which is not None else node
        self.findings.enter()
        if which == "select_stmt":
            rows = self.select(node, Scope(scope), nested=nested)
        elif which in _MODIFYING and which is not None:
            rows = self.change(which, node, Scope(scope))
        else:
            self.findings.unknown("opaque")
            rows = UNKNOWN_ROWS
        self.findings.leave()
        return rows

    def select(self, node: Any, scope: Scope, *, nested: bool) -> Rows:
        """One SelectStmt, in a scope of its own."""
        findings = self.findings
        findings.verbs.add("SELECT")
        findings.effects.add(READ)
        if node.HasField("with_clause"):
            self.with_queries(node.with_clause, scope)
        if node.op in (_UNION, _INTERSECT, _EXCEPT):
            rows = self._set_operation(node, scope)
        elif len(node.values_lists):
            rows = self.values(node.values_lists, scope)
        else:
            rows = self._plain(node, scope, nested=nested)
        self._order(node.sort_clause, rows, scope)
        for bound in (node.limit_count, node.limit_offset):
            self.expression(bound, scope, test=True)
        if len(node.locking_clause):
            findings.flags.add("lock")
            findings.effects.add(WRITE)
        if node.HasField("into_clause"):
            findings.flags.add("select_into")
            findings.effects.add(WRITE)
            findings.verbs.update(("SELECT INTO", "CREATE TABLE"))
            self.creates(node.into_clause.rel)
            findings.store(rows.everything())
        unlimited = not node.HasField("limit_count") or node.limit_count.a_const.isnull
        if not nested and unlimited and (len(node.from_clause) or node.op > 1) and not _one_row(node):
            findings.flags.add("no_limit")
        return rows

    def creates(self, relation: Any) -> None:
        """A relation is created under this name."""
        if relation.relpersistence == "t" or relation.schemaname.startswith("pg_temp"):
            self.findings.flags.add("temp")
        schemas = [schema for schema in self.findings.path if schema != "pg_catalog"]
        schema = relation.schemaname or (schemas[0] if schemas else "")
        self.findings.tables.add(f"{schema}.{relation.relname}" if schema else relation.relname)

    def _set_operation(self, node: Any, scope: Scope) -> Rows:
        left = self.query(node.larg, scope)
        right = self.query(node.rarg, scope)
        everything = left.everything() | right.everything()
        if node.op != _UNION or not node.all:
            self.findings.tested(everything)  # whether rows are equal shows in which rows come out
        if not (left.exact and right.exact) or len(left.columns) != len(right.columns):
            return Rows(tuple((name, everything) for name, _ in left.columns), exact=False)
        pairs = zip(left.columns, right.columns, strict=True)
        return Rows(tuple((name, carry | other) for (name, carry), (_, other) in pairs))

    def values(self, lists: Any, scope: Scope) -> Rows:
        """VALUES: columns by position."""
        columns: list[Carry] = []
        for row in lists:
            for index, value in enumerate(row.list.items):
                carry = self.expression(value, scope)
                if index == len(columns):
                    columns.append(carry)
                elif carry:
                    columns[index] |= carry
        return Rows(tuple((f"column{index}", carry) for index, carry in enumerate(columns, 1)))

    def _plain(self, node: Any, scope: Scope, *, nested: bool) -> Rows:
        for part in node.from_clause:
            item = self.item(part, scope)
            scope.items.append(item)
        if node.HasField("where_clause"):
            self.expression(node.where_clause, scope, test=True)
        rows = self.targets(node.target_list, scope)
        for part in node.group_clause:
            self._group(part, rows, scope)
        if node.HasField("having_clause"):
            self.expression(node.having_clause, scope, test=True)
        self.expressions(node.window_clause, scope, test=True)
        for part in node.distinct_clause:
            if part.WhichOneof("node") is not None:
                self._by_output(part, rows, scope)
            elif nested:
                self.findings.tested(rows.everything())  # how many are different is an answer that does not show them
        return rows

    def targets(self, nodes: Any, scope: Scope) -> Rows:
        """A SELECT or RETURNING list, with ``*`` in its places."""
        columns: list[tuple[str, Carry]] = []
        exact = True
        for node in nodes:
            target = node.res_target
            star = self._star(target.val, scope)
            if star is None:
                columns.append((target.name or column_name(target.val), self.expression(target.val, scope)))
            else:
                columns.extend(star.columns)
                exact = exact and star.exact
                self.findings.read(star.everything(), test=False)
            if len(columns) > self.findings.limits.max_columns:
                raise TooDeep
        return Rows(tuple(columns), exact)

    def _star(self, node: Any, scope: Scope) -> Rows | None:
        """The columns of ``*``, ``t.*`` or ``(t).*``; None where the target is something else."""
        which = node.WhichOneof("node")
        if which == "column_ref":
            fields = node.column_ref.fields
            if fields[-1].WhichOneof("node") != "a_star":
                return None
            names = [field.string.sval for field in fields[:-1]]
            if not names:
                return _joined(item.star for item in scope.items)
            source = scope.source("" if len(names) == 1 else names[-2], names[-1])
            if source is None:
                column, _ = scope.column(names[-1])
                carry = self.missing(scope, names) if column is None else column
                return Rows((("*", carry),), exact=False)
            return _starred(source)
        if which == "a_indirection" and node.a_indirection.indirection[-1].WhichOneof("node") == "a_star":
            source = self.row_of(node.a_indirection.arg, scope)
            if source is not None and len(node.a_indirection.indirection) == 1:
                return _starred(source)
            return Rows((("*", self.expression(node.a_indirection.arg, scope)),), exact=False)
        return None

    def _by_output(self, node: Any, rows: Rows, scope: Scope) -> None:
        """ORDER BY and DISTINCT ON: a position, the name of an output column, or an expression."""
        which = node.WhichOneof("node")
        if which == "a_const" and node.a_const.HasField("ival"):
            self.findings.tested(_at(rows, node.a_const.ival.ival))
            return
        if which == "column_ref" and len(node.column_ref.fields) == 1:
            name = node.column_ref.fields[0].string.sval
            found = [carry for column, carry in rows.columns if column == name]
            if found:
                self.findings.tested(union(found))
                return
        self.expression(node, scope, test=True)

    def _order(self, nodes: Any, rows: Rows, scope: Scope) -> None:
        for node in nodes:
            if len(node.sort_by.use_op):
                self.operator(node.sort_by.use_op)
            self._by_output(node.sort_by.node, rows, scope)

    def _group(self, node: Any, rows: Rows, scope: Scope) -> None:
        which = node.WhichOneof("node")
        if which == "grouping_set":
            for part in node.grouping_set.content:
                self._group(part, rows, scope)
        elif which == "row_expr":
            for part in node.row_expr.args:
                self._group(part, rows, scope)
        elif which == "column_ref" and len(node.column_ref.fields) == 1:
            name = node.column_ref.fields[0].string.sval
            if scope.column(name)[0] is not None:
                self.expression(node, scope, test=True)
            else:
                self._by_output(node, rows, scope)
        else:
            self._by_output(node, rows, scope)

    def with_queries(self, clause: Any, scope: Scope) -> None:
        """WITH: each query becomes a source that FROM can name."""
        if clause.recursive:
            for part in clause.ctes:
                name = part.common_table_expr.ctename
                scope.queries[name] = Source(name, UNKNOWN_ROWS, beyond=ANYTHING)
        for part in clause.ctes:
            query = part.common_table_expr
            if query.ctequery.WhichOneof("node") in _MODIFYING:
                self.findings.flags.add("writes_in_cte")
            if clause.recursive and query.ctequery.select_stmt.op in (_UNION, _INTERSECT, _EXCEPT):
                rows = self._recursive(query, scope)
            else:
                rows = _renamed(self.query(query.ctequery, scope), query)
            scope.queries[query.ctename] = _query_source(query.ctename, rows)

    def _recursive(self, query: Any, scope: Scope) -> Rows:
        """The columns of a query that may read itself: what its first branch carries, until nothing is added."""
        select = query.ctequery.select_stmt
        inner = Scope(scope)
        if select.HasField("with_clause"):
            self.with_queries(select.with_clause, inner)
        rows = _renamed(self.query(select.larg, inner), query)
        for _ in range(_ROUNDS):
            scope.queries[query.ctename] = _query_source(query.ctename, rows)
            again = _renamed(self.query(query.ctequery, scope), query)
            if again == rows:
                return rows
            rows = again
        return Rows(tuple((name, ANYTHING) for name, _ in rows.columns), exact=rows.exact)


def _query_source(name: str, rows: Rows) -> Source:
    return Source(name, rows, beyond=None if rows.exact else rows.everything())


def _renamed(rows: Rows, query: Any) -> Rows:
    names = [name.string.sval for name in query.aliascolnames]
    columns = list(rows.columns)
    if names and rows.exact:
        columns[: len(names)] = [(name, carry) for name, (_, carry) in zip(names, columns, strict=False)]
    elif names:
        columns = [(name, rows.everything()) for name in names] + columns
    everything = rows.everything()
    if query.HasField("search_clause"):
        columns.append((query.search_clause.search_seq_column, everything))
    if query.HasField("cycle_clause"):
        columns += [(query.cycle_clause.cycle_mark_column, NOTHING), (query.cycle_clause.cycle_path_column, everything)]
    return Rows(tuple(columns), rows.exact)


def _starred(source: Source) -> Rows:
    return source.rows


def _joined(parts: Iterable[Rows]) -> Rows:
    columns: list[tuple[str, Carry]] = []
    exact = True
    for part in parts:
        columns.extend(part.columns)
        exact = exact and part.exact
    return Rows(tuple(columns), exact)


def _at(rows: Rows, position: int) -> Carry:
    if rows.exact and 1 <= position <= len(rows.columns):
        return rows.columns[position - 1][1]
    return rows.everything()


def _one_row(node: Any) -> bool:
    """An aggregate without GROUP BY returns one row."""
    if len(node.group_clause) or node.op > 1 or not len(node.target_list):
        return False
    for target in node.target_list:
        call = target.res_target.val.func_call
        if not len(call.funcname) or call.funcname[-1].string.sval not in _ONE_ROW or call.HasField("over"):
            return False
    return True
