"""FROM items: relations, views, joins, subqueries and functions as sources of columns."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.core.sql.builtin_relations import REVEALING
from agent.core.sql.calls import Calls
from agent.core.sql.catalogue import TEMPORARY, Relation
from agent.core.sql.findings import TooDeep, union
from agent.core.sql.model import ANYTHING, NOTHING, READ, Carry
from agent.core.sql.parsing import parse
from agent.core.sql.scope import UNKNOWN_ROWS, Item, Rows, Scope, Source

_MOST_CHILDREN = 1_000


class Relations(Calls):
    """Walks what stands in FROM."""

    def resolve(self, node: Any) -> Relation | None:
        """The relation that a RangeVar means, never a WITH query; unknown ones are flagged."""
        findings = self.findings
        schema, name = node.schemaname, node.relname
        if node.relpersistence == "t":
            findings.flags.add("temp")
        relation = findings.relation(schema, name)
        if relation is None:
            findings.tables.add(f"{schema}.{name}" if schema else name)
            findings.unknown("unknown_relation")
            return None
        findings.tables.add(relation.qualified)
        if relation.kind == "system":
            findings.flags.add("system_catalogue")
        elif relation.kind == "foreign":
            findings.flags.add("network")
        return relation

    def relation_source(self, node: Any) -> Source:
        """The source that a RangeVar is when it is read: columns with their base columns, views expanded."""
        alias = _alias(node) or node.relname
        relation = self.resolve(node)
        if relation is None:
            return Source(alias, UNKNOWN_ROWS, node.schemaname, node.relname, ANYTHING)
        if relation.kind == "system":
            carry = ANYTHING if relation.name in REVEALING else frozenset({f"{relation.qualified}.*"})
            rows = Rows((("*", carry),), exact=False)
            return Source(alias, rows, relation.schema, relation.name, carry)
        columns = self.relation_columns(relation, only=not node.inh)
        self._in_sight(relation, columns)
        if not columns and relation.definition is None and relation.kind != "table":
            return Source(alias, UNKNOWN_ROWS, relation.schema, relation.name, ANYTHING)
        return Source(alias, Rows(columns), relation.schema, relation.name)

    def _in_sight(self, relation: Relation, columns: tuple[tuple[str, Carry], ...]) -> None:
        findings = self.findings
        findings.orders[relation.name] = tuple(name for name, _ in columns)
        for name, carry in columns:
            findings.reached |= carry
            known = findings.named.get(name)
            findings.named[name] = carry if known is None else known | carry

    def relation_columns(self, relation: Relation, *, only: bool = False) -> tuple[tuple[str, Carry], ...]:
        """Columns of a known relation with what they carry: their own name, their kin's by inheritance, a view's sources."""
        kin = [relation.qualified, *self._kin(relation, "parents")]
        if not only:
            children = self._kin(relation, "children")
            self.findings.tables.update(children)
            kin += children
        if len(kin) == 1:
            columns = [(column.name, frozenset({f"{kin[0]}.{column.name}"})) for column in relation.columns]
        else:
            columns = [(column.name, frozenset(f"{name}.{column.name}" for name in kin)) for column in relation.columns]
        if relation.kind not in ("view", "matview"):
            return self._generated(relation, tuple(columns))
        inner = self._view(relation)
        if not inner.exact or len(inner.columns) != len(columns):
            return tuple((name, own | inner.everything() | ANYTHING) for name, own in columns)
        return tuple((name, own | carry) for (name, own), (_, carry) in zip(columns, inner.columns, strict=True))

    def _generated(self, relation: Relation, columns: tuple[tuple[str, Carry], ...]) -> tuple[tuple[str, Carry], ...]:
        """Generated columns carry what they are computed from."""
        if not any(column.generated for column in relation.columns):
            return columns
        findings = self.findings
        scope = Scope()
        source = Source(relation.name, Rows(columns), relation.schema, relation.name)
        scope.items.append(Item((source,), source.rows))
        probed, read = set(findings.probed), set(findings.columns)
        found = []
        for column, (name, carry) in zip(relation.columns, columns, strict=True):
            if column.generated:
                tree, _ = parse(f"SELECT {column.generated}", findings.limits)
                if tree is None or len(tree.stmts) != 1:
                    carry |= findings.unknown("opaque")
                else:
                    carry |= union(self.expression(target, scope) for target in tree.stmts[0].stmt.select_stmt.target_list)
            found.append((name, carry))
        findings.probed, findings.columns = probed, read
        return tuple(found)

    def _kin(self, relation: Relation, direction: str) -> list[str]:
        found: list[str] = []
        waiting = list(getattr(relation, direction))
        while waiting and len(found) < _MOST_CHILDREN:
            name = waiting.pop()
            if name in found:
                continue
            found.append(name)
            schema, _, bare = name.partition(".")
            known = self.findings.catalogue.relations.get((schema, bare))
            if known is not None:
                waiting.extend(getattr(known, direction))
        return found

    def _view(self, relation: Relation) -> Rows:
        """What a view's query returns. Its predicates are its owner's, not the reader's, and are not probes."""
        findings = self.findings
        known = findings.views.get(relation.qualified)
        if known is not None:
            return known  # type: ignore[no-any-return]
        findings.views[relation.qualified] = UNKNOWN_ROWS  # a view that reads itself is not a view
        tree, _ = (None, "opaque") if relation.definition is None else parse(relation.definition, findings.limits)
        if tree is None or len(tree.stmts) != 1 or tree.stmts[0].stmt.WhichOneof("node") != "select_stmt":
            findings.unknown("opaque")
            return UNKNOWN_ROWS
        if findings.expanding >= findings.limits.max_expansions:
            raise TooDeep
        probed, path, selects = set(findings.probed), findings.path, "SELECT" in findings.verbs
        findings.path = ("pg_catalog", TEMPORARY)  # what else it names is qualified
        findings.expanding += 1
        rows = self.query(tree.stmts[0].stmt, Scope())
        findings.expanding -= 1
        findings.path = path
        findings.probed = probed
        if not selects:  # the verb is its owner's as well
            findings.verbs.discard("SELECT")
        findings.views[relation.qualified] = rows
        return rows

    def item(self, node: Any, scope: Scope) -> Item:
        """One FROM item. Items to the left are already in `scope`."""
        which = node.WhichOneof("node")
        reader = _ITEMS.get(which)
        if reader is None:
            self.findings.unknown("opaque")
            return Item((Source("", UNKNOWN_ROWS, beyond=ANYTHING),), UNKNOWN_ROWS)
        self.findings.enter()
        item: Item = reader(self, getattr(node, which), scope)
        self.findings.leave()
        return item

    def _relation(self, node: Any, scope: Scope) -> Item:
        query = None if node.schemaname or node.catalogname else scope.query(node.relname)
        if query is not None:
            return _aliased(msgspec.structs.replace(query, alias=_alias(node) or node.relname), node)
        self.findings.effects.add(READ)
        return _aliased(self.relation_source(node), node)

    def _subselect(self, node: Any, scope: Scope) -> Item:
        inner = scope if node.lateral else _outside(scope)
        rows = self.query(node.subquery, inner)
        beyond = None if rows.exact else rows.everything()
        return _aliased(Source(_alias(node), rows, beyond=beyond), node)

    def _function(self, node: Any, scope: Scope) -> Item:
        carry = union(self.expression(part.list.items[0], scope, test=False) for part in node.functions)
        names = [name.column_def.colname for name in node.coldeflist]
        for part in node.functions:
            if len(part.list.items) > 1:
                names += [name.column_def.colname for name in part.list.items[1].list.items]
        names = names or [name.string.sval for name in node.alias.colnames]
        self.findings.probed |= carry  # how many rows come back is itself an answer
        alias = _alias(node)
        if not alias and len(node.functions) == 1:
            call = node.functions[0].list.items[0].func_call
            alias = call.funcname[-1].string.sval if len(call.funcname) else ""
        rows = Rows(tuple((name, carry) for name in names) or ((alias, carry),), exact=bool(len(node.coldeflist)))
        source = Source(alias, rows, beyond=carry)
        return Item((source,), rows)

    def _table_function(self, node: Any, scope: Scope) -> Item:
        """XMLTABLE and JSON_TABLE: every column may carry whatever goes in."""
        carry = NOTHING
        for field, value in node.ListFields():
            if field.name in ("docexpr", "rowexpr", "context_item"):
                carry |= self.expression(value, scope)
            elif field.name in ("namespaces", "passing"):
                carry |= self.expressions(value, scope)
        names: list[str] = []
        for column in node.columns:
            carry |= self._table_column(column, scope, names)
        self.findings.probed |= carry
        rows = Rows(tuple((name, carry) for name in names))
        return _aliased(Source(_alias(node), rows), node)

    def _table_column(self, node: Any, scope: Scope, names: list[str]) -> Carry:
        which = node.WhichOneof("node")
        column = getattr(node, which)
        if which == "range_table_func_col":
            names.append(column.colname)
            return union(self.expression(part, scope) for part in (column.colexpr, column.coldefexpr))
        if which != "json_table_column":
            return self.findings.unknown("opaque")
        if not len(column.columns):
            names.append(column.name)
        carry = union(self.expression(part.expr, scope) for part in (column.on_empty, column.on_error))
        return carry.union(*(self._table_column(inner, scope, names) for inner in column.columns))

    def _sample(self, node: Any, scope: Scope) -> Item:
        self.expressions(node.args, scope, test=True)
        self.expression(node.repeatable, scope, test=True)
        if node.method[-1].string.sval not in ("system", "bernoulli", "system_rows", "system_time"):
            self.findings.unknown("unknown_function")
        return self.item(node.relation, scope)

    def _join(self, node: Any, scope: Scope) -> Item:
        left = self.item(node.larg, scope)
        scope.items.append(left)  # for LATERAL on the right
        right = self.item(node.rarg, scope)
        scope.items.pop()
        shared = [name.string.sval for name in node.using_clause]
        if node.is_natural:
            names = {name for name, _ in right.star.columns}
            shared = [name for name, _ in left.star.columns if name in names]
            if not (left.star.exact and right.star.exact):
                self.findings.tested(left.star.everything() | right.star.everything())
        merged = [(name, _pick(left, name) | _pick(right, name)) for name in shared]
        for _, carry in merged:
            self.findings.read(carry, test=True)
        scope.merged.update(shared)
        rest = [column for column in (*left.star.columns, *right.star.columns) if column[0] not in shared]
        star = Rows((*merged, *rest), exact=left.star.exact and right.star.exact)
        item = Item((*left.sources, *right.sources), star)
        if node.HasField("quals"):
            scope.items.append(item)
            self.expression(node.quals, scope, test=True)
            scope.items.pop()
        if node.HasField("join_using_alias"):
            using = Source(node.join_using_alias.aliasname, Rows(tuple(merged)))
            item = Item((*item.sources, using), star)
        if node.HasField("alias"):
            beyond = None if star.exact else star.everything()
            return _aliased(Source(node.alias.aliasname, star, beyond=beyond), node)
        return item


def _pick(item: Item, name: str) -> Carry:
    """A column of an item by name, or what an unknown column of it would carry."""
    found = [carry for column, carry in item.star.columns if column == name]
    beyond = [source.beyond for source in item.sources if source.beyond is not None]
    return NOTHING.union(*found, *beyond)


def _alias(node: Any) -> str:
    return str(node.alias.aliasname) if node.HasField("alias") else ""


def _outside(scope: Scope) -> Scope:
    """The scope without its own FROM items: a subquery that is not LATERAL sees the query around, not its neighbours."""
    outside = Scope(scope.parent)
    outside.queries = scope.queries
    outside.variables, outside.parameters, outside.positional = scope.variables, scope.parameters, scope.positional
    return outside


def _aliased(source: Source, node: Any) -> Item:
    """Column names of ``AS alias (a, b)`` in place; an alias hides the relation's own name."""
    names = [name.string.sval for name in node.alias.colnames] if node.HasField("alias") else []
    if names:
        columns = list(source.rows.columns)
        if not source.rows.exact:
            carry = source.whole()
            columns = [(name, carry) for name in names] + columns
        else:
            columns[: len(names)] = [(name, carry) for name, (_, carry) in zip(names, columns, strict=False)]
        source = msgspec.structs.replace(source, rows=Rows(tuple(columns), source.rows.exact))
    if node.HasField("alias"):
        source = msgspec.structs.replace(source, schema="", relation="")
    return Item((source,), source.rows)


_ITEMS: dict[str | None, Any] = {
    "range_var": Relations._relation,
    "range_subselect": Relations._subselect,
    "range_function": Relations._function,
    "range_table_func": Relations._table_function,
    "json_table": Relations._table_function,
    "range_table_sample": Relations._sample,
    "join_expr": Relations._join,
}
