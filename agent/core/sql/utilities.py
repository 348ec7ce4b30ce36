"""Statements that are not queries: what they are called, what they change, and the queries inside them."""

from __future__ import annotations

from typing import Any

from agent.core.sql.copying import copy_form
from agent.core.sql.definitions import Definitions
from agent.core.sql.findings import union
from agent.core.sql.grammar import postgast
from agent.core.sql.kinds import BY_OBJECT, KINDS, UNSETTLING, verbs_of
from agent.core.sql.model import ADMIN, ANYTHING, EXECUTE, NOTHING, READ, UNKNOWN, UNKNOWN_FLAGS, WRITE, CopyForm
from agent.core.sql.nodes import QUERIES, below, unwrapped
from agent.core.sql.scope import UNKNOWN_ROWS, Item, Rows, Scope, Source

_OBJECTS: dict[int, str] = {
    value.number: value.name.removeprefix("OBJECT_").lower() for value in postgast.pg_query_pb2.ObjectType.DESCRIPTOR.values
}
_QUERIES = {
    "select_stmt": "select", "insert_stmt": "insert", "update_stmt": "update", "delete_stmt": "delete", "merge_stmt": "merge",
}  # fmt: skip
_TRANSACTIONS = (
    "", "begin", "begin", "commit", "rollback", "savepoint", "release", "rollback", "prepare_transaction", "commit_prepared",
    "rollback_prepared",
)  # fmt: skip
_RESET, _RESET_ALL, _MULTI = 5, 6, 4  # VariableSetKind
# Flags that speak of running a statement, which EXPLAIN without ANALYZE does not do.
_RUNNING = frozenset({"no_where", "writes_in_cte", "lock", "select_into", "no_limit", "sleeps"})


class Utilities(Definitions):
    """Walks any statement. `kind` is set by `statement`, `after` holds what the session must remember."""

    kind = "unknown"
    copy: CopyForm | None = None

    def statement(self, node: Any, scope: Scope) -> Rows:
        """The whole of one statement; what it returns."""
        which: str | None = node.WhichOneof("node")
        if which is None:
            self.findings.unknown("opaque")
            return UNKNOWN_ROWS
        inner = getattr(node, which)
        if which in _QUERIES:
            self.kind = _QUERIES[which]
            rows = self.query(node, scope, nested=False)
            while which == "select_stmt" and inner.HasField("larg"):
                inner = inner.larg  # INTO of a set operation stands in its first query
            if which == "select_stmt" and inner.HasField("into_clause"):
                self.kind = "select_into"
                self.changed(inner.into_clause.rel.relname)
                self.findings.store(rows.everything())
                return Rows()
            return rows
        method = _METHODS.get(which)
        if method is not None:
            found: Rows = method(self, inner, scope)
            return found
        if which in KINDS or which in BY_OBJECT:
            return self._named(which, inner, scope)
        self.findings.unknown("opaque")
        return UNKNOWN_ROWS

    def body_statement(self, node: Any, scope: Scope) -> Rows:
        """A statement inside a routine or another statement: its kind is not the statement's."""
        kind = self.kind
        which = node.WhichOneof("node")
        if which == "return_stmt":
            rows = Rows((("?column?", self.expression(node.return_stmt.returnval, scope)),))
        elif which in _QUERIES:
            rows = self.query(node, scope)
        else:
            rows = self.statement(node, scope)
        self.kind = kind
        return rows

    def changed(self, *names: str) -> None:
        """What these names mean is no longer what the catalogue says."""
        self.renamed.update(name for name in names if name)

    def __init__(self, findings: Any) -> None:
        super().__init__(findings)
        self.unsettled = False
        self.discarded = False

    def _named(self, which: str, node: Any, scope: Scope) -> Rows:
        findings = self.findings
        if which in KINDS:
            row = KINDS[which]
            self.kind = row.name
            findings.effects |= row.effects
            findings.flags |= row.flags
        else:
            verb, field, effects = BY_OBJECT[which]
            self.kind = f"{verb}_{_OBJECTS.get(getattr(node, field), 'object')}"
            findings.effects |= effects
        if which in ("grant_stmt", "grant_role_stmt") and not node.is_grant:
            self.kind = self.kind.replace("grant", "revoke")
        if which == "create_function_stmt" and node.is_procedure:
            self.kind = "create_procedure"
        findings.verbs |= verbs_of(self.kind)
        if ADMIN in findings.effects and which not in ("comment_stmt", "grant_stmt", "index_stmt", "create_stats_stmt"):
            self._names(which, node)
        self.unsettled = self.unsettled or which in UNSETTLING or self.kind in ("drop_schema", "alter_schema", "drop_extension")
        self.sweep(node, scope)
        self.defines(which, node, scope)
        if which == "view_stmt":
            # Copies nothing: who reads the view reads these columns, and they are found in its definition.
            self.query(node.query, Scope())
        elif which in ("alter_table_stmt", "rename_stmt", "alter_object_schema_stmt"):
            self._moved(which, node)
        if which == "variable_show_stmt":
            return Rows(((node.name, NOTHING),), exact=node.name != "all")
        return Rows()

    def _moved(self, which: str, node: Any) -> None:
        """Columns that get another name, or whose values are computed into another column: tags do not follow."""
        relation = self.findings.relation(node.relation.schemaname, node.relation.relname)
        if relation is None:
            if len(node.relation.relname):
                self.findings.store(ANYTHING)
            return
        source = Source(relation.name, Rows(self.relation_columns(relation)), relation.schema, relation.name)
        if which == "alter_table_stmt":
            scope = Scope(variables=NOTHING)
            scope.items.append(Item((source,), source.rows))
            for part in node.cmds:
                definition = getattr(part.alter_table_cmd, "def").column_def
                computed = [definition.raw_default] + [
                    rule.constraint.raw_expr for rule in definition.constraints if rule.constraint.generated_when
                ]
                self.findings.store(union(self.expression(value, scope) for value in computed))
        elif which == "rename_stmt" and _OBJECTS.get(node.rename_type) in ("column", "attribute"):
            self.findings.store(source.column(node.subname) or NOTHING)
        elif which != "rename_stmt" or _OBJECTS.get(node.rename_type) in ("table", "view", "matview", "foreign_table"):
            self.findings.store(source.whole())

    def _names(self, which: str, node: Any) -> None:
        """Names that mean something else from now on."""
        for field, value in node.ListFields():
            if field.name in ("relation", "view", "sequence", "typevar", "base_stmt"):
                relation = value.relation if field.name == "base_stmt" else value
                self.changed(relation.relname)
                if field.name in ("view", "sequence") or which == "create_stmt" or field.name == "base_stmt":
                    self.creates(relation)
            elif field.name in ("newname", "subname"):
                self.changed(value)
            elif field.name in ("objects", "object", "funcname", "func", "defnames", "schema_elts"):
                self.changed(*_strings(value if field.is_repeated else [value]))

    def sweep(self, node: Any, scope: Scope) -> None:
        """Relations, queries and calls that stand anywhere inside a statement that is not a query itself."""
        lenient = Scope(scope, variables=NOTHING)
        waiting = [node]
        while waiting:
            wrapped = waiting.pop()
            current = unwrapped(wrapped)
            kind = current.DESCRIPTOR.name
            self.findings.work += 1
            if kind in QUERIES:
                self.query(wrapped, lenient)
            elif kind == "RangeVar":
                self._touch(current)
            elif kind in ("FuncCall", "SubLink", "A_Expr"):
                self.expression(current, lenient)
            else:
                waiting.extend(below(current))

    def _touch(self, node: Any) -> None:
        relation = self.findings.relation(node.schemaname, node.relname)
        if relation is not None:
            self.findings.tables.add(relation.qualified)
        elif not any(table.rpartition(".")[2] == node.relname for table in self.findings.tables):
            self.findings.tables.add(f"{node.schemaname}.{node.relname}" if node.schemaname else node.relname)

    def _drop(self, node: Any, scope: Scope) -> Rows:
        rows = self._named("drop_stmt", node, scope)
        if self.kind in ("drop_table", "drop_view", "drop_matview", "drop_sequence", "drop_foreign_table", "drop_index"):
            for part in node.objects:
                names = _strings([part])
                schema, name = (names[-2] if len(names) > 1 else ""), names[-1]
                relation = self.findings.catalogue.relation(schema, name, self.findings.path)
                self.findings.tables.add(relation.qualified if relation else ".".join(names[-2:]))
        return rows

    def _transaction(self, node: Any, _scope: Scope) -> Rows:
        self.kind = _TRANSACTIONS[node.kind]
        self.findings.effects.add(WRITE if self.kind.endswith("prepared") or self.kind.startswith("prepare") else READ)
        self.findings.verbs |= verbs_of(self.kind)
        return Rows()

    def _set(self, node: Any, _scope: Scope) -> Rows:
        findings = self.findings
        reset = node.kind in (_RESET, _RESET_ALL)
        self.kind = "reset" if reset else "set"
        if node.name in ("role", "session_authorization"):
            self.kind = ("reset_" if reset else "set_") + node.name
        findings.verbs |= verbs_of(self.kind)
        findings.effects.add(READ)
        if node.kind == _RESET_ALL:
            self.setting("search_path", None)
        elif node.kind != _MULTI:
            values = [_constant(argument) for argument in node.args]
            known = [value for value in values if value is not None]
            self.setting(node.name, ", ".join(known) if values and len(known) == len(values) else None)
        if findings.flags & {"role", "superuser_setting"}:
            findings.effects.add(ADMIN)
        return Rows()

    def _copy(self, node: Any, scope: Scope) -> Rows:
        findings = self.findings
        relation = None
        self.kind = "copy_program" if node.is_program else "copy_from" if node.is_from else "copy_to"
        findings.verbs.add("COPY")
        findings.effects.add(WRITE if node.is_from else READ)
        self.expressions([option.def_elem.arg for option in node.options if option.def_elem.HasField("arg")], scope)
        if node.HasField("query"):
            rows = self.query(node.query, scope)
        else:
            source = self.relation_source(node.relation)
            relation = findings.relation(node.relation.schemaname, node.relation.relname)
            names = _strings(node.attlist)
            rows = source.rows
            if names:
                rows = Rows(tuple((name, self.member(source, name, scope)) for name in names), exact=True)
            if node.HasField("where_clause"):
                inner = Scope(scope)
                inner.items.append(Item((source,), source.rows))
                self.expression(node.where_clause, inner, test=True)
        findings.read(rows.everything(), test=False)
        if node.is_program:
            findings.flags.add("copy_program")
            findings.effects.add(EXECUTE)
        if node.filename:
            findings.effects.update((ADMIN, READ if node.is_from else WRITE))
            findings.flags.add("file_access" if node.is_program else "copy_file")
            if not node.is_from:
                findings.store(rows.everything())
        self.copy = copy_form(node, relation, self.text)
        return Rows() if node.is_from or node.filename else rows

    def _explain(self, node: Any, scope: Scope) -> Rows:
        findings = self.findings
        analyse = any(_truth(option.def_elem) for option in node.options if option.def_elem.defname == "analyze")
        self.body_statement(node.query, scope)
        self.kind = "explain_analyze" if analyse else "explain"
        code = findings.calls_user_code or UNKNOWN in findings.effects or bool(findings.flags & UNKNOWN_FLAGS)
        if not analyse:
            if not code:
                findings.effects = {READ}
            findings.flags -= _RUNNING
            findings.verbs = set()
            findings.stored = set()
            self.renamed, self.unsettled = set(), False
        findings.effects.add(READ)
        findings.verbs.add("EXPLAIN")
        # Plans show constants, and what functions of the planner's time returned.
        return Rows((("QUERY PLAN", ANYTHING if code else NOTHING),))

    def _deallocate(self, _node: Any, _scope: Scope) -> Rows:
        self.kind = "deallocate"
        self.findings.verbs.add("DEALLOCATE")
        self.findings.effects.add(READ)
        return Rows()

    def _do(self, node: Any, _scope: Scope) -> Rows:
        self.kind = "do"
        findings = self.findings
        findings.verbs.add("DO")
        findings.effects.update((EXECUTE, UNKNOWN))
        findings.flags.update(("dynamic", "opaque"))
        options = {option.def_elem.defname: option.def_elem.arg.string.sval for option in node.args}
        if options.get("language", "plpgsql") == "plpgsql":  # its statements are evidence, not knowledge
            body = options.get("as", "")
            quote = "$sallyport$" if "$sallyport$" not in body else "$sallyport_block$"
            block = f"CREATE FUNCTION block() RETURNS void LANGUAGE plpgsql AS {quote}{body}{quote}"
            self.plpgsql(block, NOTHING)
        self.kind = "do"
        return Rows()

    def _call_procedure(self, node: Any, scope: Scope) -> Rows:
        self.kind = "call"
        self.findings.verbs.add("CALL")
        self.findings.effects.add(EXECUTE)
        carry = self.expression(node.funccall, scope)
        return Rows((("*", carry),), exact=False)

    def _create_as(self, node: Any, scope: Scope) -> Rows:
        findings = self.findings
        rows = self.body_statement(node.query, scope)
        matview = _OBJECTS.get(node.objtype) == "matview"
        self.kind = "create_matview" if matview else "create_table_as"
        findings.verbs |= verbs_of("create_materialized_view" if matview else "create_table")
        findings.effects.update((READ, WRITE, ADMIN))
        findings.store(rows.everything())
        self.creates(node.into.rel)
        self.changed(node.into.rel.relname)
        return Rows()

    def _vacuum(self, node: Any, scope: Scope) -> Rows:
        self.kind = "vacuum" if node.is_vacuumcmd else "analyze"
        self.findings.verbs.add(self.kind.upper())
        self.findings.effects.update((ADMIN, WRITE))
        self.sweep(node, scope)
        return Rows()

    def _discard(self, _node: Any, _scope: Scope) -> Rows:
        self.kind = "discard"
        self.findings.verbs.add("DISCARD")
        self.findings.effects.add(READ)
        self.setting("search_path", None)
        return Rows()


def _strings(nodes: Any) -> list[str]:
    """Every String below these nodes, in order: the parts of names."""
    found: list[str] = []
    for node in nodes:
        which = node.WhichOneof("node") if node.DESCRIPTOR.name == "Node" else None
        inner = getattr(node, which) if which else node
        if inner.DESCRIPTOR.name == "String":
            found.append(inner.sval)
        elif inner.DESCRIPTOR.name == "RangeVar":
            found.append(inner.relname)
        elif inner.DESCRIPTOR.name in ("List", "ObjectWithArgs", "TypeName", "CreateStmt", "ViewStmt"):
            for field, value in inner.ListFields():
                if field.name in ("items", "objname", "names", "relation", "view"):
                    found += _strings(value if field.is_repeated else [value])
    return found


def _constant(node: Any) -> str | None:
    """The text of a constant argument of SET."""
    which = node.WhichOneof("node")
    if which == "type_cast":
        return _constant(node.type_cast.arg)
    if which != "a_const":
        return None
    value = node.a_const.WhichOneof("val")
    if value is None:
        return None
    inner = getattr(node.a_const, value)
    return str(getattr(inner, value))


def _truth(option: Any) -> bool:
    """An option of EXPLAIN: on unless it plainly says no."""
    if not option.HasField("arg"):
        return True
    which = option.arg.WhichOneof("node")
    if which == "integer":
        return bool(option.arg.integer.ival)
    if which == "boolean":
        return bool(option.arg.boolean.boolval)
    return option.arg.string.sval.lower() not in ("false", "off", "no", "0")


_METHODS: dict[str, Any] = {
    "transaction_stmt": Utilities._transaction,
    "variable_set_stmt": Utilities._set,
    "copy_stmt": Utilities._copy,
    "explain_stmt": Utilities._explain,
    "prepare_stmt": Utilities.prepare,
    "execute_stmt": Utilities.execute,
    "deallocate_stmt": Utilities._deallocate,
    "declare_cursor_stmt": Utilities.declare,
    "fetch_stmt": Utilities.fetch,
    "do_stmt": Utilities._do,
    "call_stmt": Utilities._call_procedure,
    "create_table_as_stmt": Utilities._create_as,
    "vacuum_stmt": Utilities._vacuum,
    "discard_stmt": Utilities._discard,
    "drop_stmt": Utilities._drop,
}
#: The statements that are understood, by the name of their node.
UNDERSTOOD = frozenset(_QUERIES) | frozenset(_METHODS) | frozenset(KINDS) | frozenset(BY_OBJECT)
