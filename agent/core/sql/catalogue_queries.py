"""The queries whose rows `Catalogue.build` takes, in its column order. PostgreSQL 13 and later.

Run all of them in one REPEATABLE READ, READ ONLY transaction, after ``SET LOCAL search_path = pg_catalog``: definitions then name
everything with its schema, and nothing in the database can stand in for what the queries call. A role that may not see a
definition gets NULL, and what hides behind it stays unknown.
"""

from __future__ import annotations

from typing import Final

PREPARE: Final = "SET LOCAL search_path = pg_catalog"

#: schema, name, relkind, is partition, view definition
RELATIONS: Final = """
SELECT n.nspname, c.relname, c.relkind::text, c.relispartition,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname NOT LIKE 'pg!_temp!_%' ESCAPE '!'
"""

#: schema, relation, column, attnum, type oid, expression of a generated column
COLUMNS: Final = """
SELECT n.nspname, c.relname, a.attname, a.attnum, a.atttypid,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg!_temp!_%' ESCAPE '!'
ORDER BY n.nspname, c.relname, a.attnum
"""

#: child schema, child, parent schema, parent
INHERITS: Final = """
SELECT cn.nspname, c.relname, pn.nspname, p.relname
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
     JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE p.relkind IN ('r', 'p', 'f')
"""

#: schema, name, arguments, language, volatility, body, kind, argument names, definition, search_path, calls
FUNCTIONS: Final = """
SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), l.lanname, p.provolatile::text,
       {body}, p.prokind::text, coalesce(p.proargnames, '{{}}'),
       CASE WHEN l.lanname = 'plpgsql' THEN pg_get_functiondef(p.oid) END,
       (SELECT string_to_array(replace(replace(substr(s, 13), '"', ''), ' ', ''), ',')
          FROM unnest(p.proconfig) s WHERE s LIKE 'search!_path=%' ESCAPE '!'),
       coalesce((SELECT array_agg(fn.nspname || '.' || f.proname)
          FROM pg_aggregate a, pg_proc f JOIN pg_namespace fn ON fn.oid = f.pronamespace
         WHERE a.aggfnoid = p.oid AND f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggmfinalfn,
               a.aggminvtransfn, a.aggserialfn, a.aggdeserialfn)), '{{}}')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_SQL_BODY: Final = "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)"

#: operator schema, operator, function schema, function
OPERATORS: Final = """
SELECT n.nspname, o.oprname, fn.nspname, f.proname
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
     JOIN pg_proc f ON f.oid = o.oprcode JOIN pg_namespace fn ON fn.oid = f.pronamespace
WHERE n.nspname <> 'pg_catalog'
"""

#: search_path (array), current user
SESSION: Final = "SELECT current_schemas(false), current_user"


def functions_query(server_version: int) -> str:
    """FUNCTIONS for a server (``server_version_num``); bodies written in standard SQL exist since 14."""
    return FUNCTIONS.format(body=_SQL_BODY if server_version >= 140_000 else "p.prosrc")
