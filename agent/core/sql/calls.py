"""Function calls: what is built in is looked up, what is not is read from the catalogue, what is in neither is unknown."""

from __future__ import annotations

from typing import Any

from agent.core.sql.builtin_effects import OPERATORS, QUIET, effect_of
from agent.core.sql.builtin_names import COMPUTES, DESCRIBES
from agent.core.sql.catalogue import Function
from agent.core.sql.expressions import Expressions
from agent.core.sql.findings import TooDeep
from agent.core.sql.model import ANYTHING, EXECUTE, NOTHING, Carry
from agent.core.sql.parsing import parse
from agent.core.sql.routines import Found, plpgsql_parts
from agent.core.sql.scope import Rows, Scope
from agent.core.sql.settings import PARSER_SETTINGS, is_superuser_setting


class Calls(Expressions):
    """Walks function calls and the bodies behind them."""

    def body_statement(self, node: Any, scope: Scope) -> Rows:
        """A statement inside a routine, of any kind."""
        raise NotImplementedError

    def any_cursor(self) -> Rows:
        """What a FETCH from a cursor of some name may return."""
        raise NotImplementedError

    def call(self, node: Any, scope: Scope, *, test: bool) -> Carry:
        """A FuncCall: its arguments, its clauses, and what it does."""
        names = [name.string.sval for name in node.funcname]
        schema, name = (names[-2] if len(names) > 1 else ""), names[-1]
        quiet = name in QUIET and schema in ("", "pg_catalog")
        probing = test or not quiet or node.agg_distinct
        carry = self.expressions(node.args, scope, test=probing)
        carry |= self.expressions(node.agg_order, scope, test=True)
        if node.HasField("agg_filter"):
            self.expression(node.agg_filter, scope, test=True)
        if node.HasField("over"):
            self.expression(node.over, scope, test=True)
        if name == "set_config" and schema in ("", "pg_catalog"):
            self._set_config(node)
        return self.invoke(schema, name, carry)

    def _set_config(self, node: Any) -> None:
        constants = [argument.a_const.sval.sval if argument.a_const.HasField("sval") else None for argument in node.args]
        if not constants or constants[0] is None:
            self.findings.unknown("dynamic")
            return
        self.setting(constants[0], constants[1] if len(constants) > 1 else None)

    def setting(self, name: str, value: str | None) -> None:
        """A setting is changed, by SET or by a function."""
        name = name.lower()
        findings = self.findings
        findings.settings.append((name, value))
        if name in PARSER_SETTINGS:
            encoding = name in ("client_encoding", "names") and value is not None
            if not (encoding and (value or "").lower().replace("-", "") in ("utf8", "unicode", "default")):
                findings.unknown("parser_setting")
        if name in ("role", "session_authorization"):
            findings.flags.add("role")
        elif is_superuser_setting(name):
            findings.flags.add("superuser_setting")

    def invoke(self, schema: str, name: str, arguments: Carry) -> Carry:
        """What a call of ``schema.name`` returns; what it does goes to the findings."""
        findings = self.findings
        builtin = schema in ("", "pg_catalog")
        effect = effect_of(name)
        carry = arguments
        known = False
        if effect is not None:
            findings.effects |= effect.effects
            findings.flags |= effect.flags
            if effect.stores:
                findings.store(arguments)
            if effect.tainted:
                carry |= ANYTHING
            known = True
        elif (builtin and name in COMPUTES) or (schema == "information_schema" and name in DESCRIBES):
            known = True
        overloads = () if schema == "pg_catalog" else findings.overloads(schema, name)
        unsure = name in findings.session.changed or (not schema and findings.session.uncertain)
        if (unsure and schema != "pg_catalog") or not (known or overloads):
            findings.functions.add(f"{schema}.{name}" if schema else name)
            return carry | findings.unknown("unknown_function")
        if known and not overloads:
            findings.functions.add(f"{schema or 'pg_catalog'}.{name}")
        for function in overloads:
            findings.functions.add(function.qualified)
            carry |= self._user_function(function, arguments, known=known)
        return carry

    def operator(self, names: Any) -> str:
        """An operator by its possibly qualified name. Those of extensions stand in the catalogue."""
        name: str = names[-1].string.sval
        operators = self.findings.catalogue.operators
        if (name not in OPERATORS and name not in operators) or name in self.findings.session.changed:
            self.findings.unknown("unknown_function")
        elif name in operators and name in OPERATORS:
            for function in operators[name]:
                schema, _, bare = function.rpartition(".")
                self.invoke(schema, bare, NOTHING)
        return name

    def _user_function(self, function: Function, arguments: Carry, *, known: bool) -> Carry:
        findings = self.findings
        if function.kind == "a":
            carry = arguments
            for call in function.calls:
                schema, _, bare = call.rpartition(".")
                carry |= self.invoke(schema, bare, arguments)
            return carry if function.calls else carry | findings.unknown("unknown_function")
        if function.language in ("c", "internal"):
            if known or function.volatility in ("i", "s") or function.name in COMPUTES:
                return arguments
            return arguments | findings.unknown("unknown_function")
        findings.calls_user_code = True
        if function.kind == "p":
            findings.effects.add(EXECUTE)
        name, key = (function.qualified, function.arguments), (function.qualified, function.arguments, arguments)
        if key in findings.bodies:
            return arguments | findings.bodies[key]
        if name in findings.running:  # it calls itself
            return arguments | findings.unknown("too_deep")
        findings.running.add(name)
        if function.language == "sql":
            carry = self._in_body(function, arguments, self._sql_body)
        elif function.language == "plpgsql":
            carry = self._in_body(function, arguments, self._plpgsql_body)
        else:
            carry = findings.unknown("unknown_function")
        findings.running.discard(name)
        findings.bodies[key] = carry
        return arguments | carry

    def _in_body(self, function: Function, arguments: Carry, reader: Any) -> Carry:
        findings = self.findings
        if findings.expanding >= findings.limits.max_expansions:
            raise TooDeep
        path = findings.path
        if function.search_path is not None:
            findings.path = findings.catalogue.path(function.search_path)
        findings.expanding += 1
        carry: Carry = reader(function, arguments)
        findings.expanding -= 1
        findings.path = path
        return carry

    def _sql_body(self, function: Function, arguments: Carry) -> Carry:
        tree, _ = parse(_unwrapped(function.body), self.findings.limits)
        if tree is None:
            return self.findings.unknown("unknown_function")
        scope = Scope()
        scope.positional = arguments
        scope.parameters = dict.fromkeys((*filter(None, function.argument_names), function.name), arguments)
        rows = Rows()
        for statement in tree.stmts:
            rows = self.body_statement(statement.stmt, scope)
        return rows.everything()

    def _plpgsql_body(self, function: Function, arguments: Carry) -> Carry:
        return self.plpgsql(function.definition, arguments, function.argument_names)

    def plpgsql(self, definition: str, arguments: Carry, names: tuple[str, ...] = ()) -> Carry:
        """The routine that `definition` would create; what it may return.

        Its variables are not followed: each may carry whatever the routine reads and is given. So it is read twice, first to
        know what that is.
        """
        findings = self.findings
        found: Found = plpgsql_parts(definition, findings.limits)
        if not found.understood:
            return findings.unknown("unknown_function")
        if found.dynamic:
            findings.unknown("dynamic")
        probed, stored, columns = set(findings.probed), set(findings.stored), set(findings.columns)
        findings.columns.clear()
        carry = self._texts(found.texts, arguments, names) | frozenset(findings.columns) | arguments
        if found.borrows:
            carry |= self.any_cursor().everything()
        if found.dynamic:
            carry |= ANYTHING
        findings.probed, findings.stored = probed, stored
        findings.columns |= columns
        carry |= self._texts(found.texts, carry, names)
        self._texts(found.opens, carry, names)
        findings.opens(found.opens, carry, names)
        if found.raises:  # what a notice or an error says is no column
            findings.tested(carry)
        return carry

    def _texts(self, texts: tuple[str, ...], variables: Carry, names: tuple[str, ...]) -> Carry:
        scope = Scope(variables=variables)
        scope.positional = variables
        scope.parameters = dict.fromkeys(filter(None, names), variables)
        carry = NOTHING
        for text in texts:
            tree, _ = parse(text, self.findings.limits)
            if tree is None:
                carry |= self.findings.unknown("unknown_function")
                continue
            for statement in tree.stmts:
                carry |= self.body_statement(statement.stmt, scope).everything()
        return carry


def _unwrapped(body: str) -> str:
    """A body in standard SQL (``RETURN expression`` or ``BEGIN ATOMIC … END``) as plain statements."""
    text = body.strip()
    lowered = text[:12].lower()
    if lowered.startswith("return") and not lowered[6:7].isalnum():
        return "SELECT " + text[6:]
    if lowered == "begin atomic":
        return text[12:].rstrip().removesuffix("END").removesuffix("end")
    return text
