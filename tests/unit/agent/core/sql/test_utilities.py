"""Kinds and verbs of statements that are not queries."""

import pytest

from agent.core.sql import analyse
from tests.bypass.sql.database import CATALOGUE


@pytest.mark.parametrize(
    ("text", "kind", "verbs"),
    [
        ("DROP TABLE orders", "drop_table", {"DROP", "DROP TABLE"}),
        ("DROP FUNCTION purge()", "drop_function", {"DROP", "DROP FUNCTION"}),
        ("ALTER TABLE orders ADD COLUMN x int", "alter_table", {"ALTER", "ALTER TABLE"}),
        ("ALTER VIEW contacts RENAME TO c2", "alter_view", {"ALTER", "ALTER VIEW"}),
        ("ALTER FUNCTION purge() OWNER TO bob", "alter_function", {"ALTER", "ALTER FUNCTION"}),
        ("ALTER SYSTEM SET work_mem = '1MB'", "alter_system", {"ALTER", "ALTER SYSTEM"}),
        ("CREATE TABLE x (id int)", "create_table", {"CREATE", "CREATE TABLE"}),
        ("REVOKE SELECT ON orders FROM bob", "revoke", {"REVOKE"}),
        ("GRANT a TO b", "grant_role", {"GRANT", "GRANT ROLE"}),
        ("COPY orders TO STDOUT", "copy_to", {"COPY"}),
        ("COPY orders FROM STDIN", "copy_from", {"COPY"}),
        ("COPY orders TO PROGRAM 'x'", "copy_program", {"COPY"}),
        ("DO ''", "do", {"DO"}),
        ("CALL tidy()", "call", {"CALL", "DELETE"}),
        ("EXECUTE p", "execute", {"EXECUTE"}),
        ("PREPARE p AS SELECT 1", "prepare", {"PREPARE", "SELECT"}),
        ("DEALLOCATE p", "deallocate", {"DEALLOCATE"}),
        ("DECLARE c CURSOR FOR SELECT 1", "declare_cursor", {"DECLARE", "SELECT"}),
        ("MOVE 1 FROM c", "move", {"MOVE"}),
        ("SET a.b = 1", "set", {"SET"}),
        ("SET ROLE a", "set_role", {"SET", "SET ROLE"}),
        ("RESET ROLE", "reset_role", {"RESET", "RESET ROLE"}),
        ("RESET ALL", "reset", {"RESET"}),
        ("BEGIN", "begin", {"BEGIN"}),
        ("ABORT", "rollback", {"ROLLBACK"}),
        ("ROLLBACK TO a", "rollback", {"ROLLBACK"}),
        ("PREPARE TRANSACTION 'x'", "prepare_transaction", {"PREPARE", "PREPARE TRANSACTION"}),
        ("EXPLAIN SELECT 1", "explain", {"EXPLAIN"}),
        ("EXPLAIN ANALYZE SELECT 1", "explain_analyze", {"EXPLAIN", "SELECT"}),
        ("VACUUM", "vacuum", {"VACUUM"}),
        ("ANALYZE", "analyze", {"ANALYZE"}),
        ("LOCK orders", "lock", {"LOCK"}),
        ("SECURITY LABEL ON TABLE orders IS 'x'", "security_label", {"SECURITY", "SECURITY LABEL"}),
        ("SELECT 1 INTO x", "select_into", {"SELECT", "SELECT INTO", "CREATE TABLE"}),
        ("CREATE MATERIALIZED VIEW x AS SELECT 1", "create_matview", {"CREATE", "CREATE MATERIALIZED VIEW", "SELECT"}),
    ],
)
def test_kind_and_verbs(text: str, kind: str, verbs: set[str]) -> None:
    (statement,) = analyse(text, CATALOGUE).statements
    assert (statement.kind, statement.verbs) == (kind, verbs)


def test_settings_are_told() -> None:
    (statement,) = analyse("SET LOCAL Statement_Timeout = '5s'", CATALOGUE).statements
    assert statement.settings == (("statement_timeout", "5s"),)
    (statement,) = analyse("SELECT set_config('search_path', 'a, b', true)", CATALOGUE).statements
    assert statement.settings == (("search_path", "a, b"),)


def test_a_plan_of_code_may_show_anything() -> None:
    assert not analyse("EXPLAIN SELECT id FROM orders", CATALOGUE).outputs[0].tainted
    assert analyse("EXPLAIN SELECT get_ssn(1)", CATALOGUE).outputs[0].tainted
    assert analyse("EXPLAIN SELECT nowhere(1)", CATALOGUE).outputs[0].tainted


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("COPY (SELECT 1) TO STDOUT (FORMAT binary)", "SELECT 1"),
        ("copy ( SELECT ')' || $$)$$, (SELECT (1)) -- )\n ) TO STDOUT WITH BINARY", " SELECT ')' || $$)$$, (SELECT (1)) -- )\n "),
        ("/* ( */ COPY (VALUES ('größe', E'\\')')) TO STDOUT (FORMAT 'BINARY')", "VALUES ('größe', E'\\')')"),
        ('COPY (SELECT a[1], "(" FROM t) TO STDOUT BINARY', 'SELECT a[1], "(" FROM t'),
        ("COPY (SELECT 1) TO STDOUT", ""),
        ("COPY (SELECT 1) TO STDOUT (FORMAT csv)", ""),
        ("COPY orders TO STDOUT (FORMAT binary)", ""),
        ("COPY orders (id) TO STDOUT (FORMAT binary)", ""),
    ],
)
def test_the_query_of_a_copy_in_binary_is_told_as_it_stands(text: str, query: str) -> None:
    (statement,) = analyse(text, CATALOGUE).statements
    assert statement.copy is not None
    assert statement.copy.query == query
