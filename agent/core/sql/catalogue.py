"""What is known of one database. Names that are not here are unknown, and unknown is never innocent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from agent.core.sql.builtin_relations import SYSTEM_RELATIONS

KINDS = {
    "r": "table", "p": "table", "v": "view", "m": "matview", "f": "foreign", "S": "sequence", "c": "composite", "t": "toast",
}  # fmt: skip
SYSTEM_SCHEMAS = ("pg_catalog", "information_schema")
#: The schema of temporary relations, which PostgreSQL searches first unless the path names it (documentation, §20.11.1).
TEMPORARY = "pg_temp"


class Column(msgspec.Struct, frozen=True):
    """One live column. `generated` is the expression of a generated column: it shows what the expression reads."""

    name: str
    attnum: int = 0
    type_oid: int = 0
    generated: str = ""


class Relation(msgspec.Struct, frozen=True):
    """A table, view, materialised view, foreign table or partition. `definition` is the SELECT of a view.

    `parents` and `children` are schema-qualified names by inheritance or partitioning, nearest only.
    """

    schema: str
    name: str
    kind: str
    columns: tuple[Column, ...] = ()
    definition: str | None = None
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """``schema.name``, as policies write it."""
        return f"{self.schema}.{self.name}"


class Function(msgspec.Struct, frozen=True):
    """One overload. `volatility` is i, s or v; `kind` f (function), p (procedure), a (aggregate) or w (window).

    `body` is the source of a SQL function (or ``pg_get_function_sqlbody``), `definition` the whole CREATE FUNCTION, needed for
    PL/pgSQL. `search_path` is the function's own, where it sets one. `calls` are qualified names of what it is built from
    (an aggregate's transition and final functions).
    """

    schema: str
    name: str
    arguments: str = ""
    language: str = "c"
    volatility: str = "v"
    body: str = ""
    kind: str = "f"
    argument_names: tuple[str, ...] = ()
    definition: str = ""
    search_path: tuple[str, ...] | None = None
    calls: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """``schema.name``, without arguments: policies forbid a name with all its overloads."""
        return f"{self.schema}.{self.name}"


class Catalogue(msgspec.Struct, frozen=True):
    """An immutable snapshot. Make one with `Catalogue.build`."""

    relations: dict[tuple[str, str], Relation] = {}
    functions: dict[str, tuple[Function, ...]] = {}
    operators: dict[str, tuple[str, ...]] = {}
    """Operators outside pg_catalog: their name, and the qualified functions behind them."""
    search_path: tuple[str, ...] = ("public",)
    user: str = ""
    english: bool = True
    """Errors are told in PostgreSQL's own words, and not in a translation."""

    @classmethod
    def build(
        cls,
        *,
        relations: Iterable[Sequence[object]] = (),
        columns: Iterable[Sequence[object]] = (),
        inherits: Iterable[Sequence[object]] = (),
        functions: Iterable[Sequence[object]] = (),
        operators: Iterable[Sequence[object]] = (),
        search_path: Sequence[str] = ("public",),
        user: str = "",
        english: bool = True,
    ) -> Catalogue:
        """From the rows of the queries in `catalogue_queries`, in their column order."""
        by_relation: dict[tuple[str, str], list[Column]] = {}
        for schema, name, column, attnum, type_oid, *generated in columns:
            known = by_relation.setdefault((str(schema), str(name)), [])
            expression = str(generated[0]) if generated and generated[0] else ""
            known.append(Column(str(column), int(str(attnum)), int(str(type_oid)), expression))
        parents: dict[str, list[str]] = {}
        children: dict[str, list[str]] = {}
        for child_schema, child, parent_schema, parent in inherits:
            parents.setdefault(f"{child_schema}.{child}", []).append(f"{parent_schema}.{parent}")
            children.setdefault(f"{parent_schema}.{parent}", []).append(f"{child_schema}.{child}")
        known_relations: dict[tuple[str, str], Relation] = {}
        for schema, name, relkind, is_partition, definition in relations:
            key = (str(schema), str(name))
            qualified = f"{schema}.{name}"
            known_relations[key] = Relation(
                schema=key[0],
                name=key[1],
                kind="partition" if is_partition and relkind in ("r", "p") else KINDS.get(str(relkind), str(relkind)),
                columns=tuple(sorted(by_relation.get(key, ()), key=lambda column: column.attnum)),
                definition=None if definition is None else str(definition),
                parents=tuple(parents.get(qualified, ())),
                children=tuple(children.get(qualified, ())),
            )
        return cls(
            relations=known_relations,
            functions=_functions(functions),
            operators=_operators(operators),
            search_path=tuple(search_path),
            user=user,
            english=english,
        )

    def path(self, search_path: Sequence[str]) -> tuple[str, ...]:
        """The schemas that unqualified names are looked for in: ``$user`` resolved, pg_catalog where PostgreSQL has it."""
        schemas = tuple(self.user if schema == "$user" else schema for schema in search_path)
        schemas = tuple(schema for schema in schemas if schema)
        schemas = schemas if "pg_catalog" in schemas else ("pg_catalog", *schemas)
        return schemas if TEMPORARY in schemas else (TEMPORARY, *schemas)

    def relation(self, schema: str, name: str, path: Sequence[str]) -> Relation | None:
        """The relation that a reference means; `schema` is empty where it is not qualified. `path` comes from `path()`."""
        for candidate in (schema,) if schema else path:
            found = self.relations.get((candidate, name))
            if found is not None:
                return found
            if candidate == "pg_catalog" and name in SYSTEM_RELATIONS:
                return Relation("pg_catalog", name, "system")
            if candidate == "information_schema":
                return Relation("information_schema", name, "system")
        return None

    def overloads(self, schema: str, name: str, path: Sequence[str]) -> tuple[Function, ...]:
        """Every function outside pg_catalog that a call may mean."""
        found = self.functions.get(name, ())
        if schema:
            return tuple(function for function in found if function.schema == schema)
        return tuple(function for function in found if function.schema in path)


def _functions(rows: Iterable[Sequence[object]]) -> dict[str, tuple[Function, ...]]:
    functions: dict[str, list[Function]] = {}
    for row in rows:
        schema, name, arguments, language, volatility, body, kind, names, definition, path, calls = row
        function = Function(
            schema=str(schema),
            name=str(name),
            arguments=str(arguments or ""),
            language=str(language),
            volatility=str(volatility),
            body=str(body or ""),
            kind=str(kind),
            argument_names=tuple(str(argument) for argument in _items(names)),
            definition=str(definition or ""),
            search_path=None if path is None else tuple(str(part) for part in _items(path)),
            calls=tuple(str(call) for call in _items(calls)),
        )
        functions.setdefault(function.name, []).append(function)
    return {name: tuple(overloads) for name, overloads in functions.items()}


def _operators(rows: Iterable[Sequence[object]]) -> dict[str, tuple[str, ...]]:
    operators: dict[str, list[str]] = {}
    for _schema, name, function_schema, function in rows:
        operators.setdefault(str(name), []).append(f"{function_schema}.{function}")
    return {name: tuple(functions) for name, functions in operators.items()}


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
