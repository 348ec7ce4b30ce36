"""Expressions: which base columns a value may carry, and which columns are tested on the way.

An expression carries whatever its parts carry, unless something here knows better. Where the walk knows worse (an unknown kind of
node, an unknown name), the value carries anything.
"""

from __future__ import annotations

from typing import Any

from agent.core.sql import nodes
from agent.core.sql.builtin_effects import OPERATORS, QUIET_OPERATORS
from agent.core.sql.findings import Findings, union
from agent.core.sql.model import NOTHING, Carry
from agent.core.sql.scope import SYSTEM_COLUMNS, Rows, Scope, Source

# Casts to these cannot fail, so that no error text shows the value.
_TEXT_TYPES = frozenset({"text", "varchar", "bpchar", "unknown", "name", "char"})
_MESSAGE = 11  # FieldDescriptor.TYPE_MESSAGE


class Expressions:
    """Walks expressions; `query` and `call` are added by the classes below it."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def query(self, node: Any, scope: Scope, *, nested: bool = True) -> Rows:
        """Any statement that returns rows."""
        raise NotImplementedError

    def call(self, node: Any, scope: Scope, *, test: bool) -> Carry:
        """A function call."""
        raise NotImplementedError

    def operator(self, names: Any) -> str:
        """An operator is used; its name."""
        raise NotImplementedError

    def invoke(self, schema: str, name: str, arguments: Carry) -> Carry:
        """A function is called by name; what it returns may carry this."""
        raise NotImplementedError

    def expression(self, node: Any, scope: Scope, *, test: bool = False) -> Carry:
        """What `node` (a Node, or any message of the tree) carries. `test`: its value decides something."""
        kind = node.DESCRIPTOR.name
        if kind == "Node":
            which = node.WhichOneof("node")
            if which is None:
                return NOTHING
            node = getattr(node, which)
            kind = node.DESCRIPTOR.name
        if kind == "ColumnRef":
            return self.findings.read(self._column(node, scope), test=test)
        if kind == "A_Const":
            return NOTHING
        self.findings.enter()
        carry = self._expression(kind, node, scope, test=test)
        self.findings.leave()
        return carry

    def expressions(self, found: Any, scope: Scope, *, test: bool = False) -> Carry:
        """All of a repeated field together."""
        return union([self.expression(node, scope, test=test) for node in found]) if found else NOTHING

    def _expression(self, kind: str, node: Any, scope: Scope, *, test: bool) -> Carry:
        special = _SPECIAL.get(kind)
        if special is not None:
            carry: Carry = special(self, node, scope, test)
            return carry
        if kind in nodes.TRANSPARENT:
            return self.children(node, scope, test=test)
        if kind in nodes.TESTS:
            return self.children(node, scope, test=True)
        return self.findings.unknown("opaque")

    def children(self, node: Any, scope: Scope, *, test: bool) -> Carry:
        """What every child of `node` carries, whatever field it stands in."""
        carried: set[str] = set()
        for field, value in node.ListFields():
            if field.type != _MESSAGE:
                continue
            if field.is_repeated:
                for child in value:
                    carried |= self.expression(child, scope, test=test)
            else:
                carried |= self.expression(value, scope, test=test)
        return frozenset(carried) if carried else NOTHING

    def _column(self, node: Any, scope: Scope) -> Carry:
        self.findings.spend(scope.weight())
        names = [field.string.sval for field in node.fields if field.WhichOneof("node") == "string"]
        if len(names) < len(node.fields):
            source = scope.source("" if len(names) < 2 else names[-2], names[-1]) if names else None
            return source.whole() if source is not None else self.missing(scope, names)
        if len(names) == 1:
            return self._unqualified(names[0], scope)
        name = names[-1]
        source = scope.source("" if len(names) == 2 else names[-3], names[-2])
        if source is None:
            return self.missing(scope, names)
        return self.member(source, name, scope)

    def member(self, source: Source, name: str, scope: Scope) -> Carry:
        """``source.name``: a column, or a function of the whole row in attribute's clothing."""
        carry = source.column(name)
        if carry is not None:
            return carry
        if source.beyond is not None:
            return source.beyond
        if name in SYSTEM_COLUMNS:
            return NOTHING
        if self.findings.overloads("", name):
            return self.invoke("", name, source.whole())
        return self.missing(scope, [name]) | source.whole()

    def _unqualified(self, name: str, scope: Scope) -> Carry:
        carry, sure = scope.column(name)
        if carry is not None and sure:
            return carry
        source = scope.source("", name)
        if source is not None:
            return source.whole() if carry is None else source.whole() | carry
        if carry is not None:
            return carry | scope.parameters.get(name, NOTHING)
        if name in SYSTEM_COLUMNS and scope.sources():
            return NOTHING
        return self.missing(scope, [name])

    def missing(self, scope: Scope, names: list[str]) -> Carry:
        """A name that nothing in sight has: a parameter, a variable of a routine, or unknown."""
        for name in names:
            if name in scope.parameters:
                return scope.parameters[name]
        if scope.variables is not None:
            return scope.variables
        return self.findings.unknown("unknown_column")

    def _parameter(self, _node: Any, scope: Scope, _test: bool) -> Carry:
        return NOTHING if scope.positional is None else scope.positional

    def _operation(self, node: Any, scope: Scope, test: bool) -> Carry:
        name = "<=" if node.kind >= _BETWEEN else self.operator(node.name)
        test = test or name not in QUIET_OPERATORS
        carry = NOTHING
        if node.HasField("lexpr"):
            carry = self.expression(node.lexpr, scope, test=test)
        if node.HasField("rexpr"):
            carry |= self.expression(node.rexpr, scope, test=test)
        if name not in OPERATORS:
            for function in self.findings.catalogue.operators.get(name, ()):
                schema, _, bare = function.rpartition(".")
                carry |= self.invoke(schema, bare, carry)
        return carry

    def _cast(self, node: Any, scope: Scope, test: bool) -> Carry:
        carry = self.expression(node.arg, scope, test=test)
        names = [name.string.sval for name in node.type_name.names]
        if carry and (not names or names[-1] not in _TEXT_TYPES or node.type_name.array_bounds):
            self.findings.read(carry, test=True)
        return carry

    def _case(self, node: Any, scope: Scope, test: bool) -> Carry:
        carry = self.expression(node.arg, scope, test=True) if node.HasField("arg") else NOTHING
        for branch in node.args:
            when = branch.case_when
            carry |= self.expression(when.expr, scope, test=True) | self.expression(when.result, scope, test=test)
        if node.HasField("defresult"):
            carry |= self.expression(node.defresult, scope, test=test)
        return carry

    def _sublink(self, node: Any, scope: Scope, test: bool) -> Carry:
        rows = self.query(node.subselect, scope)
        kind = node.sub_link_type
        if kind == _EXISTS:
            return NOTHING
        carry = rows.everything()
        if node.HasField("testexpr"):
            carry |= self.expression(node.testexpr, scope, test=True)
            test = True
        if len(node.oper_name):
            self.operator(node.oper_name)
        if test:
            self.findings.probed |= carry
        return carry

    def _query_to_json(self, node: Any, scope: Scope, test: bool) -> Carry:
        carry = self.query(node.query, scope).everything()
        if test:
            self.findings.probed |= carry
        return carry

    def _indirection(self, node: Any, scope: Scope, test: bool) -> Carry:
        steps = [step.WhichOneof("node") for step in node.indirection]
        source = self.row_of(node.arg, scope)
        if source is not None and steps[:1] == ["string"]:
            carry = self.member(source, node.indirection[0].string.sval, scope)
            return self.findings.read(carry, test=test)
        carry = self.expression(node.arg, scope, test=test)
        for step, name in zip(node.indirection, steps, strict=True):
            if name == "a_indices":
                carry |= self.expression(step, scope, test=True)
            elif name == "string" and self.findings.overloads("", step.string.sval):
                carry |= self.invoke("", step.string.sval, carry)
        return carry

    def row_of(self, node: Any, scope: Scope) -> Source | None:
        """The FROM entry that ``(node)`` means as a whole row, where that is what it is."""
        if node.WhichOneof("node") != "column_ref" or len(node.column_ref.fields) != 1:
            return None
        name = node.column_ref.fields[0].string.sval
        return scope.source("", name) if scope.column(name)[0] is None else None

    def _target(self, node: Any, scope: Scope, test: bool) -> Carry:
        carry = self.expression(node.val, scope, test=test) if node.HasField("val") else NOTHING
        return carry | self.expressions(node.indirection, scope, test=True)

    def _assignment(self, node: Any, scope: Scope, test: bool) -> Carry:
        return self.expression(node.source, scope, test=test)

    def _sort(self, node: Any, scope: Scope, _test: bool) -> Carry:
        if len(node.use_op):
            self.operator(node.use_op)
        return self.expression(node.node, scope, test=True)

    def _call(self, node: Any, scope: Scope, test: bool) -> Carry:
        carry = self.call(node, scope, test=test)
        if test:
            self.findings.tested(carry)
        return carry

    def _nothing(self, _node: Any, _scope: Scope, _test: bool) -> Carry:
        return NOTHING


_BETWEEN = 11  # A_Expr_Kind.AEXPR_BETWEEN, and its kin after it, whose name is a keyword
_EXISTS = 1  # SubLinkType.EXISTS_SUBLINK
_SPECIAL: dict[str, Any] = {
    "ParamRef": Expressions._parameter,
    "A_Star": Expressions._nothing,
    "FuncCall": Expressions._call,
    "A_Expr": Expressions._operation,
    "TypeCast": Expressions._cast,
    "CaseExpr": Expressions._case,
    "SubLink": Expressions._sublink,
    "JsonArrayQueryConstructor": Expressions._query_to_json,
    "MultiAssignRef": Expressions._assignment,
    "ResTarget": Expressions._target,
    "A_Indirection": Expressions._indirection,
    "SortBy": Expressions._sort,
    "TypeName": Expressions._nothing,
}
