"""What a session knows of its database: the snapshot that all sessions share, and what only this session can see. Pure.

A table made inside an open transaction, and a temporary table at any time, exist for one connection alone. So that connection is
asked about the names that its statements have changed (``session``), and the answer lies over the shared snapshot: for those
names it is the whole truth, and for temporary relations always.

What was learned inside a block is held until the block ends, whatever the shared snapshot says meanwhile. Otherwise an answer is
dropped when a newer snapshot knows as much.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agent.core.sql.catalogue import TEMPORARY, Catalogue
from agent.protocols.postgres.messages import Malformed

#: Names put first in the path of the question, so that nothing in the database can stand in for what it calls.
PATH: Final = "SET LOCAL search_path = pg_catalog, pg_temp"

_BODY: Final = "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)"
_QUESTION: Final = """
WITH c AS (
  SELECT c.oid, c.relname, c.relkind, c.relispartition,
         CASE WHEN c.relnamespace = pg_my_temp_schema() THEN '{temporary}' ELSE n.nspname END AS nspname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND (c.relnamespace = pg_my_temp_schema() OR (c.relname = ANY ($1::name[]) AND n.nspname NOT LIKE 'pg!_temp!_%' ESCAPE '!')))
SELECT json_build_object(
  'relations', (SELECT coalesce(json_agg(json_build_array(c.oid::int8, c.nspname, c.relname, c.relkind::text, c.relispartition,
      CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END)), '[]') FROM c),
  'columns', (SELECT coalesce(json_agg(json_build_array(c.nspname, c.relname, a.attname, a.attnum, a.atttypid::int8,
      CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END)), '[]')
    FROM c JOIN pg_attribute a ON a.attrelid = c.oid
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped),
  'inherits', (SELECT coalesce(json_agg(json_build_array(k.nspname, k.relname, o.nspname, o.relname)), '[]')
    FROM pg_inherits i
      JOIN (SELECT r.oid, r.relkind, r.relname,
              CASE WHEN r.relnamespace = pg_my_temp_schema() THEN '{temporary}' ELSE n.nspname END AS nspname
            FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace) k ON k.oid = i.inhrelid
      JOIN (SELECT r.oid, r.relkind, r.relname,
              CASE WHEN r.relnamespace = pg_my_temp_schema() THEN '{temporary}' ELSE n.nspname END AS nspname
            FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace) o ON o.oid = i.inhparent
    WHERE o.relkind IN ('r', 'p', 'f') AND (i.inhrelid IN (SELECT oid FROM c) OR i.inhparent IN (SELECT oid FROM c))),
  'functions', (SELECT coalesce(json_agg(json_build_array(n.nspname, p.proname, pg_get_function_identity_arguments(p.oid),
      l.lanname, p.provolatile::text, {body}, p.prokind::text, coalesce(p.proargnames, '{{}}'),
      CASE WHEN l.lanname = 'plpgsql' THEN pg_get_functiondef(p.oid) END,
      (SELECT string_to_array(replace(replace(substr(s, 13), '"', ''), ' ', ''), ',')
         FROM unnest(p.proconfig) s WHERE s LIKE 'search!_path=%' ESCAPE '!'),
      coalesce((SELECT array_agg(fn.nspname || '.' || f.proname)
         FROM pg_aggregate a, pg_proc f JOIN pg_namespace fn ON fn.oid = f.pronamespace
        WHERE a.aggfnoid = p.oid AND f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggmfinalfn,
              a.aggminvtransfn, a.aggserialfn, a.aggdeserialfn)), '{{}}'))), '[]')
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.proname = ANY ($1::name[])))::text
"""


def question(server_version: int) -> str:
    """The question about names, ``$1``, for a server of this major version. Its answer is one row with one text."""
    return _QUESTION.format(body=_BODY if server_version >= 14 else "p.prosrc", temporary=TEMPORARY)


class Snapshot(msgspec.Struct, frozen=True):
    """A catalogue, and the relations behind the numbers that results carry."""

    catalogue: Catalogue
    relations: dict[int, tuple[str, str]]
    read_ms: int
    version: int = 0
    """The server's major version, 0 where it did not say."""


class Answer(msgspec.Struct, frozen=True):
    """What the server said about some names."""

    relations: list[list[Any]]
    columns: list[list[Any]]
    inherits: list[list[Any]]
    functions: list[list[Any]]


def read_answer(text: str) -> Answer:
    """Read the answer to :func:`question`. Raises Malformed."""
    try:
        return msgspec.json.decode(text, type=Answer)
    except msgspec.DecodeError:
        raise Malformed from None


class _Learned(msgspec.Struct, frozen=True):
    names: frozenset[str]
    answer: Answer
    at_ms: int
    in_block: bool


class Known:
    """The knowledge of one session."""

    def __init__(self, shared: Snapshot, path: tuple[str, ...] = ()) -> None:
        """``path`` is the search path that this session began with, where it is not everybody's."""
        self._path = path
        self._shared = self._own(shared)
        self._learned: list[_Learned] = []
        self.current = self._shared
        """What holds now."""

    def share(self, snapshot: Snapshot) -> None:
        """A newer snapshot was read."""
        self._shared = self._own(snapshot)
        kept = [each for each in self._learned if each.in_block or each.at_ms >= snapshot.read_ms]
        if self._learned and self._learned[-1] not in kept:
            # Its names are known better now, but nobody else sees this session's temporary relations.
            last = self._learned[-1]
            kept.append(msgspec.structs.replace(last, names=frozenset(), answer=_temporary(last.answer)))
        self._learned = kept
        self._lay()

    def learn(self, names: frozenset[str], answer: Answer, now_ms: int, *, in_block: bool) -> None:
        """The server has answered about ``names``, and about every temporary relation."""
        self._learned.append(_Learned(names, answer, now_ms, in_block))
        if len(self._learned) > 16:
            self._learned = [*_merged(self._learned[:-8]), *self._learned[-8:]]
        self.current = _laid(self.current, names, answer)

    @property
    def in_block(self) -> bool:
        """True where something was learned in a block that has not ended."""
        return any(each.in_block for each in self._learned)

    def block_ended(self) -> None:
        """What was learned in a block may be gone, or may be there for all."""
        self._learned = [msgspec.structs.replace(each, in_block=False) for each in self._learned]

    def temporaries(self) -> frozenset[str]:
        """Names of the temporary relations that are known."""
        return frozenset(name for schema, name in self.current.catalogue.relations if schema == TEMPORARY)

    def _own(self, snapshot: Snapshot) -> Snapshot:
        if not self._path:
            return snapshot
        return msgspec.structs.replace(snapshot, catalogue=msgspec.structs.replace(snapshot.catalogue, search_path=self._path))

    def _lay(self) -> None:
        self.current = self._shared
        for each in self._learned:
            self.current = _laid(self.current, each.names, each.answer)


def _merged(learned: list[_Learned]) -> list[_Learned]:
    """Older answers in one. Where two speak of a name, the later one counts; of temporary relations only the last one does."""
    names = frozenset[str]()
    answer = Answer([], [], [], [])
    for each in learned:
        names |= each.names
        answer = Answer(
            [row for row in answer.relations if not _superseded(row[1], row[2], each.names)] + each.answer.relations,
            [row for row in answer.columns if not _superseded(row[0], row[1], each.names)] + each.answer.columns,
            [row for row in answer.inherits if not _superseded(row[0], row[1], each.names)] + each.answer.inherits,
            [row for row in answer.functions if row[1] not in each.names] + each.answer.functions,
        )
    in_block = any(each.in_block for each in learned)
    return [_Learned(names, answer, min(each.at_ms for each in learned), in_block)]


def _superseded(schema: str, name: str, names: frozenset[str]) -> bool:
    return schema == TEMPORARY or name in names


def _temporary(answer: Answer) -> Answer:
    return Answer(
        [row for row in answer.relations if row[1] == TEMPORARY],
        [row for row in answer.columns if row[0] == TEMPORARY],
        [row for row in answer.inherits if row[0] == TEMPORARY],
        [],
    )


def _laid(under: Snapshot, names: frozenset[str], answer: Answer) -> Snapshot:
    """Return ``under`` with ``answer`` in place of what it says about ``names`` and about temporary relations."""
    old = under.catalogue
    new = Catalogue.build(
        relations=[row[1:] for row in answer.relations],
        columns=answer.columns,
        inherits=answer.inherits,
        functions=answer.functions,
    )
    relations = {key: each for key, each in old.relations.items() if key[0] != TEMPORARY and key[1] not in names}
    relations |= new.relations
    for child_schema, child, parent_schema, parent in answer.inherits:
        # The other end of an inheritance is a relation that was not asked about.
        for key, field, other in (
            ((parent_schema, parent), "children", f"{child_schema}.{child}"),
            ((child_schema, child), "parents", f"{parent_schema}.{parent}"),
        ):
            known = relations.get(key)
            if known is not None and other not in getattr(known, field):
                relations[key] = msgspec.structs.replace(known, **{field: (*getattr(known, field), other)})
    functions = {name: each for name, each in old.functions.items() if name not in names} | new.functions
    by_oid = {oid: key for oid, key in under.relations.items() if key[0] != TEMPORARY and key[1] not in names}
    by_oid |= {int(row[0]): (row[1], row[2]) for row in answer.relations if row[3] in "rpvmf"}
    catalogue = msgspec.structs.replace(old, relations=relations, functions=functions)
    return msgspec.structs.replace(under, catalogue=catalogue, relations=by_oid)
