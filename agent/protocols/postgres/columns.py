"""Which data classes a result column carries: by its tag, by where the server says it comes from, and by lineage. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agent.core.sql.catalogue import SYSTEM_SCHEMAS, Catalogue
from agent.core.sql.tags import Tagged
from agent.protocols.postgres.messages import Field
from chalicelib.contracts.faults import Fault

_TAG: Final = re.compile(r"(?P<column>[^.=]+\.[^.=]+\.[^.=]+)=(?P<data_class>[a-z][a-z0-9_-]{0,31})")

#: Kinds of relations that hold what was put into them (``agent.core.sql.catalogue.KINDS``).
_TABLES: Final = frozenset({"table", "partition", "foreign"})


def read_tags(options: Mapping[str, Any]) -> dict[str, str]:
    """Return ``schema.table.column`` → class. Raises Fault(config_invalid): a tag that does not read would hide nothing."""
    tags: dict[str, str] = {}
    for line in options.get("columns") or []:
        match = _TAG.fullmatch(line.strip()) if isinstance(line, str) else None
        if match is None:
            raise Fault("config_invalid", "A column of the target is tagged in a form that is not schema.table.column=class.")
        tags[match["column"]] = match["data_class"]
    return tags


class Columns:
    """The tags of one target, on what is known of its tables."""

    def __init__(self, tags: Mapping[str, str], catalogue: Catalogue, relations: Mapping[int, tuple[str, str]]) -> None:
        self.tags = tags
        self._catalogue = catalogue
        self._relations = relations
        self._every = frozenset(tags.values())

    def classes(self, fields: tuple[Field, ...], tagged: Tagged | None) -> list[frozenset[str]]:
        """Return the classes of each column. Both ways of knowing count, because each sees what the other cannot."""
        found = []
        for place, field in enumerate(fields):
            origin = self._origin(field)
            lineage = tagged.column(place) if tagged is not None else self._every
            found.append(origin | lineage)
        return found

    def stored(self, field: Field) -> bool:
        """Return True where the column is one of a table and has a tag of its own: its values are as somebody put them there."""
        named = self._relations.get(field.table) if field.table else None
        relation = self._catalogue.relations.get(named) if named is not None else None
        if relation is None or relation.kind not in _TABLES or field.column <= 0:
            return False
        return bool(self._of((relation.schema, relation.name), field.column, 0))

    def _origin(self, field: Field) -> frozenset[str]:
        if field.table == 0 or not self.tags:
            return frozenset()
        named = self._relations.get(field.table)
        if named is None:
            return self._every
        if named[0] in SYSTEM_SCHEMAS:
            # Nothing there can be tagged. What its views show of other tables (pg_stats), lineage knows.
            return frozenset()
        return self._of(named, field.column, 0)

    def _of(self, named: tuple[str, str], number: int, depth: int) -> frozenset[str]:
        relation = self._catalogue.relations.get(named)
        if number < 0:
            # A column of the system's own (ctid, xmin, tableoid) says where a row is, and nothing that is in it.
            return frozenset()
        if relation is not None and relation.columns and number == 0:
            # The row as a whole holds what its columns hold, and what is tagged but was not there yet when this was read.
            names = {each.name for each in relation.columns} | {name.rpartition(".")[2] for name in self.tags}
            return frozenset().union(*(self._by_name(relation.qualified, name, depth) for name in names))
        column = next((each.name for each in relation.columns if each.attnum == number), None) if relation is not None else None
        if relation is None or column is None:
            return self._every
        return self._by_name(relation.qualified, column, depth)

    def _by_name(self, qualified: str, column: str, depth: int) -> frozenset[str]:
        own = self.tags.get(f"{qualified}.{column}")
        found = frozenset({own}) if own is not None else frozenset[str]()
        schema, _, name = qualified.partition(".")
        relation = self._catalogue.relations.get((schema, name))
        # A partition, or a table that inherits, holds what its parent's tags speak of, under the same name.
        for parent in relation.parents if relation is not None and depth < 32 else ():
            found |= self._by_name(parent, column, depth + 1)
        return found
