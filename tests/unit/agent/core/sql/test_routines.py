"""What a routine in PL/pgSQL holds, and that odd definitions are only not understood."""

import pytest

from agent.core.sql.model import DEFAULT
from agent.core.sql.routines import Found, plpgsql_parts

NOT_UNDERSTOOD = Found(understood=False)


def found(body: str) -> Found:
    return plpgsql_parts(f"CREATE FUNCTION f(a int) RETURNS SETOF int LANGUAGE plpgsql AS $body${body}$body$", DEFAULT)


def test_statements_expressions_and_assignments() -> None:
    parts = found("DECLARE x int := (SELECT 1); BEGIN PERFORM g(); x := a + 2; IF x > 3 THEN DELETE FROM t; END IF; END")
    assert sorted(" ".join(text.split()) for text in parts.texts) == [
        "DELETE FROM t",
        "SELECT (SELECT 1)",
        "SELECT g()",
        "SELECT x , a + 2",
        "SELECT x > 3",
    ]
    assert not parts.dynamic


@pytest.mark.parametrize(
    "body",
    [
        "BEGIN EXECUTE 'x'; END",
        "BEGIN RETURN QUERY EXECUTE 'x'; END",
        "DECLARE r record; BEGIN FOR r IN EXECUTE 'x' LOOP NULL; END LOOP; END",
        "DECLARE c refcursor; BEGIN OPEN c FOR EXECUTE 'x'; END",
        "BEGIN BEGIN NULL; EXCEPTION WHEN OTHERS THEN EXECUTE 'x'; END; END",
    ],
)
def test_text_that_runs_is_dynamic(body: str) -> None:
    assert found(body).dynamic


@pytest.mark.parametrize("body", ["BEGIN RAISE NOTICE '%', a; END", "BEGIN ASSERT a > 1, a; END"])
def test_saying_something_is_noticed(body: str) -> None:
    assert found(body).raises


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS ''",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'a', 'b'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN'; SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS '" + "BEGIN " * 5_000 + "END; " * 5_000 + "'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS '" + "x" * 70_000 + "'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN x; END\x00'",
    ],
)
def test_what_is_not_a_routine_is_not_understood(definition: str) -> None:
    assert plpgsql_parts(definition, DEFAULT) == NOT_UNDERSTOOD
