"""Nothing that stands anywhere in a query is passed over."""

from typing import Any

import pytest

from agent.core.sql import analyse
from agent.core.sql.grammar import postgast
from tests.bypass.sql import test_evasions, test_ordinary
from tests.bypass.sql.database import CATALOGUE

PLACES = """
SELECT {}
SELECT {} AS x, 1
SELECT add_one({})
SELECT sum(id) FILTER (WHERE id = {}) FROM orders
SELECT array_agg(id ORDER BY {}) FROM orders
SELECT percentile_cont({}) WITHIN GROUP (ORDER BY id) FROM orders
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY {}) FROM orders
SELECT rank() OVER (PARTITION BY {}) FROM orders
SELECT rank() OVER (ORDER BY {}) FROM orders
SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN {} PRECEDING AND CURRENT ROW) FROM orders
SELECT sum(id) OVER w FROM orders WINDOW w AS (PARTITION BY {})
SELECT id FROM orders WHERE id = {}
SELECT id FROM orders WHERE id BETWEEN 1 AND {}
SELECT id FROM orders WHERE id IN (1, {})
SELECT id FROM orders WHERE {} IN (SELECT 1)
SELECT id FROM orders WHERE ({}, 1) = (SELECT 1, 2)
SELECT id FROM orders WHERE id = ANY(ARRAY[{}])
SELECT id FROM orders WHERE (id = 1 OR NOT {} IS NULL)
SELECT id FROM orders WHERE ({} > 1) IS TRUE
SELECT count(*) FROM orders GROUP BY {}
SELECT count(*) FROM orders GROUP BY ROLLUP (id, ({}))
SELECT count(*) FROM orders GROUP BY CUBE ((id, {}))
SELECT count(*) FROM orders GROUP BY GROUPING SETS ((id), ({}))
SELECT count(*) FROM orders HAVING {} > 1
SELECT id FROM orders ORDER BY {}
SELECT id FROM orders ORDER BY {} USING <
SELECT DISTINCT ON ({}) id FROM orders
SELECT id FROM orders LIMIT {}
SELECT id FROM orders OFFSET {}
SELECT id FROM orders FETCH FIRST ({}) ROWS ONLY
SELECT CASE {} WHEN 1 THEN 2 END
SELECT CASE WHEN {} = 1 THEN 2 END
SELECT CASE WHEN true THEN {} END
SELECT CASE WHEN true THEN 1 ELSE {} END
SELECT coalesce(NULL, {}), greatest(1, 2)
SELECT nullif(1, {})
SELECT ({})::text
SELECT ({})::text COLLATE "C"
SELECT ARRAY[1, {}]
SELECT (ARRAY[1, 2])[{}]
SELECT (ARRAY[1, 2])[1:{}]
SELECT ROW(1, {})
SELECT ({}, 1)
SELECT EXISTS ({})
SELECT ARRAY({})
SELECT 1 = ALL ({})
SELECT xmlelement(name a, xmlattributes({} AS b), 'c')
SELECT xmlforest({} AS a)
SELECT xmlserialize(content {} AS text)
SELECT JSON_OBJECT('a': {})
SELECT JSON_ARRAY({})
SELECT JSON_ARRAY(SELECT {})
SELECT JSON_OBJECTAGG('a': {})
SELECT JSON_ARRAYAGG({} ORDER BY 1)
SELECT JSON_QUERY('1', '$' PASSING {} AS x)
SELECT JSON_VALUE('1', '$' DEFAULT {} ON EMPTY)
SELECT JSON_SCALAR({})
SELECT JSON_SERIALIZE({})
SELECT {} IS JSON
SELECT extract(year FROM {})
SELECT trim({})
SELECT make_interval(days => {})
SELECT concat(VARIADIC ARRAY[{}])
SELECT 1 FROM (SELECT {}) x
SELECT 1 FROM (VALUES ({})) x
SELECT 1 FROM orders o JOIN accounts a ON a.id = {}
SELECT 1 FROM generate_series(1, {})
SELECT 1 FROM ROWS FROM (generate_series(1, 2), generate_series(1, {}))
SELECT 1 FROM orders TABLESAMPLE system ({})
SELECT 1 FROM orders TABLESAMPLE system (1) REPEATABLE ({})
SELECT 1 FROM XMLTABLE('/a' PASSING {} COLUMNS v text)
SELECT 1 FROM XMLTABLE({} PASSING '<a/>' COLUMNS v text)
SELECT 1 FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS v text PATH 'x' DEFAULT {})
SELECT 1 FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS v text PATH {})
SELECT 1 FROM XMLTABLE(XMLNAMESPACES({} AS x), '/a' PASSING '<a/>' COLUMNS v text)
SELECT 1 FROM JSON_TABLE({}, '$' COLUMNS (v text))
SELECT 1 FROM JSON_TABLE('1', '$' PASSING {} AS x COLUMNS (v text))
SELECT 1 FROM JSON_TABLE('1', '$' COLUMNS (v text DEFAULT {} ON EMPTY))
SELECT 1 FROM JSON_TABLE('1', '$' COLUMNS (NESTED PATH '$' COLUMNS (v text DEFAULT {} ON ERROR)))
SELECT 1 UNION SELECT {}
SELECT 1 UNION ALL (SELECT 1 ORDER BY {})
WITH x AS (SELECT {}) SELECT 1
WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT {} FROM x) SELECT 1
SELECT 1 FROM (WITH x AS (SELECT {}) SELECT 1) y
VALUES (1), ({})
INSERT INTO orders (id) VALUES ({})
INSERT INTO orders (id) VALUES (1) ORDER BY {}
INSERT INTO orders (id) SELECT {}
INSERT INTO orders (id) VALUES (1) RETURNING {}
INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = {}
INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = 1 WHERE id = {}
INSERT INTO orders (id) VALUES (1) ON CONFLICT ((id + {})) DO NOTHING
INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) WHERE id = {} DO NOTHING
WITH x AS (SELECT {}) INSERT INTO orders (id) VALUES (1)
UPDATE orders SET note = {}
UPDATE orders SET (note, total) = (1, {})
UPDATE orders SET (note, total) = (SELECT 1, {})
UPDATE orders SET note[{}] = 1
UPDATE orders SET note = 1 WHERE id = {}
UPDATE orders SET note = 1 FROM (SELECT {}) x
UPDATE orders SET note = 1 RETURNING {}
DELETE FROM orders WHERE id = {}
DELETE FROM orders USING (SELECT {}) x
DELETE FROM orders RETURNING {}
WITH x AS (SELECT {}) DELETE FROM orders
MERGE INTO orders o USING (SELECT {}) x ON true WHEN MATCHED THEN DELETE
MERGE INTO orders o USING accounts a ON a.id = {} WHEN MATCHED THEN DELETE
MERGE INTO orders o USING accounts a ON true WHEN MATCHED AND {} = 1 THEN DELETE
MERGE INTO orders o USING accounts a ON true WHEN MATCHED THEN UPDATE SET note = {}
MERGE INTO orders o USING accounts a ON true WHEN NOT MATCHED THEN INSERT (id) VALUES ({})
MERGE INTO orders o USING accounts a ON true WHEN MATCHED THEN DELETE RETURNING {}
WITH x AS (SELECT {}) MERGE INTO orders o USING accounts a ON true WHEN MATCHED THEN DELETE
SELECT {} INTO made
CREATE TABLE made AS SELECT {}
CREATE VIEW made AS SELECT {}
CREATE MATERIALIZED VIEW made AS SELECT {}
CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM accounts WHERE id = {}
CREATE RULE r AS ON INSERT TO orders WHERE {} = 1 DO NOTHING
CREATE POLICY p ON orders USING (id = {})
CREATE POLICY p ON orders WITH CHECK (id = {})
CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN {}
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT {}; END
CREATE SCHEMA s CREATE VIEW v AS SELECT {}
ALTER POLICY p ON orders USING (id = {})
EXPLAIN SELECT {}
EXPLAIN ANALYZE UPDATE orders SET note = {}
PREPARE p AS SELECT {}
EXECUTE p ({})
DECLARE c CURSOR FOR SELECT {}
COPY (SELECT {}) TO STDOUT
COPY orders FROM STDIN WHERE id = {}
CALL tidy({})
""".strip().splitlines()


@pytest.mark.parametrize("place", PLACES)
def test_a_subquery_is_seen_wherever_it_stands(place: str) -> None:
    inner = "SELECT max(ssn) FROM customers WHERE wipe() IS NULL"
    text = place.replace(
        "{}", inner if any(f"{word} ({{}})" in place for word in ("EXISTS", "ALL")) or "ARRAY({})" in place else f"({inner})"
    )
    found = analyse(text, CATALOGUE)
    assert "parse_error" not in found.flags, text
    assert "public.customers" in found.tables
    assert "public.customers.ssn" in found.columns
    assert "public.wipe" in found.functions
    assert found.effects & {"write", "unknown"} or text.startswith("EXPLAIN SELECT")


def every(node: Any, kind: str) -> Any:
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current.DESCRIPTOR.name == kind:
            yield current
        for field, value in current.ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting.extend(value if field.is_repeated else (value,))


@pytest.mark.parametrize(
    "text",
    [row[key] for row in test_evasions.ROWS for key in ("evasion", "twin")] + [row["statement"] for row in test_ordinary.ROWS],
)
def test_every_relation_and_function_of_the_tree_is_named(text: str) -> None:
    found = analyse(text, CATALOGUE)
    if "parse_error" in found.flags:
        return
    tree = postgast.parse(text)
    queries = {query.ctename for query in every(tree, "CommonTableExpr")}
    names = {relation.relname for relation in every(tree, "RangeVar")} - queries
    assert names <= {table.rpartition(".")[2] for table in found.tables}
    called = {call.funcname[-1].string.sval for call in every(tree, "FuncCall")}
    assert called <= {function.rpartition(".")[2] for function in found.functions}
