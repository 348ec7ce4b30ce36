"""Names in sight: what a FROM clause offers, and how a column reference finds its base columns."""

from __future__ import annotations

import msgspec

from agent.core.sql.model import ANYTHING, NOTHING, Carry

#: Every relation has these; they say where a row is, never what is in it.
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"})


class Rows(msgspec.Struct, frozen=True):
    """What a query returns: names and base columns in order. Not `exact`: there may be more, or other, columns than these."""

    columns: tuple[tuple[str, Carry], ...] = ()
    exact: bool = True

    def everything(self) -> Carry:
        """The base columns of all its columns together."""
        merged: set[str] = set()
        for _, carry in self.columns:
            merged |= carry
        return frozenset(merged)


#: Returned for what is not understood.
UNKNOWN_ROWS = Rows((("?", ANYTHING),), exact=False)


class Source(msgspec.Struct, frozen=True):
    """One entry of FROM. `beyond` is what a column it is not known to have would carry; None where it has no others."""

    alias: str
    rows: Rows
    schema: str = ""
    relation: str = ""
    beyond: Carry | None = None

    def column(self, name: str) -> Carry | None:
        """What the column carries; None where there is none by that name."""
        found = [carry for column, carry in self.rows.columns if column == name]
        if found:
            return found[0] if len(found) == 1 else frozenset().union(*found)
        return None

    def whole(self) -> Carry:
        """The whole row."""
        carry = self.rows.everything()
        return carry if self.beyond is None else carry | self.beyond


class Item(msgspec.Struct, frozen=True):
    """What one FROM item brings: sources by name, and its columns in the order that ``*`` has."""

    sources: tuple[Source, ...]
    star: Rows


class Scope:
    """One query level. `variables`: what a name that is not found carries, where it is a routine's variable and no mistake."""

    def __init__(self, parent: Scope | None = None, *, variables: Carry | None = None) -> None:
        self.parent = parent
        inherited: Carry | None = None if parent is None else parent.variables
        self.variables: Carry | None = inherited if variables is None else variables
        self.items: list[Item] = []
        self.merged: set[str] = set()
        self.queries: dict[str, Source] = {}
        self.parameters: dict[str, Carry] = {} if parent is None else parent.parameters
        self.positional: Carry | None = None if parent is None else parent.positional

    def sources(self) -> list[Source]:
        """Those of this level."""
        return [source for item in self.items for source in item.sources]

    def weight(self) -> int:
        """How much there is to look through for a name."""
        weight = 0
        scope: Scope | None = self
        while scope is not None:
            for item in scope.items:
                weight += len(item.sources) + len(item.star.columns) // 16
            scope = scope.parent
        return weight

    def query(self, name: str) -> Source | None:
        """The WITH query of that name, nearest first."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.queries.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def source(self, schema: str, name: str) -> Source | None:
        """The FROM entry that ``name.`` or ``schema.name.`` means, nearest first."""
        scope: Scope | None = self
        while scope is not None:
            for source in scope.sources():
                if schema:
                    if source.schema == schema and source.relation == name:
                        return source
                elif source.alias == name:
                    return source
            scope = scope.parent
        return None

    def column(self, name: str) -> tuple[Carry | None, bool]:
        """What an unqualified column carries, None where nothing in sight has it; and whether some source is known to have it.

        Where none is, the name may also mean something else: a whole row, a parameter.
        """
        carried: Carry = NOTHING
        open_seen = False
        scope: Scope | None = self
        while scope is not None:
            found = [carry for source in scope.sources() if (carry := source.column(name)) is not None]
            beyond = [source.beyond for source in scope.sources() if source.beyond is not None]
            if beyond and (not found or name in scope.merged):
                open_seen = True
                carried = carried.union(*beyond)
            if found:
                return carried.union(*found), True
            scope = scope.parent
        return (carried if open_seen else None), False
