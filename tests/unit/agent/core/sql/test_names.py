"""Names that PostgreSQL gives to columns; the oracle compares many more with a server."""

import pytest

from agent.core.sql import analyse
from tests.bypass.sql.database import CATALOGUE


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("1", "?column?"), ("id", "id"), ("o.id", "id"), ("id + 1", "?column?"), ("upper(note)", "upper"), ("id::text", "id"),
        ("1::int", "int4"), ("'a'::text", "text"), ("(o).note", "note"), ("CASE WHEN true THEN 1 END", "case"),
        ("CASE WHEN true THEN 1 ELSE id END", "id"), ("coalesce(id, 1)", "coalesce"), ("nullif(id, 1)", "nullif"),
        ("greatest(1, 2)", "greatest"), ("ARRAY[1]", "array"), ("ROW(1)", "row"), ("EXISTS (SELECT 1)", "exists"),
        ("(SELECT id FROM orders LIMIT 1)", "id"), ("ARRAY(SELECT 1)", "array"), ("current_user", "current_user"),
        ("current_timestamp", "current_timestamp"), ("note COLLATE \"C\"", "note"), ("true", "?column?"), ("o", "o"),
        ("extract(year FROM now())", "extract"), ("xmlelement(name a)", "xmlelement"), ("id AS x", "x"),
        ("(ARRAY[1])[1]", "array"),
    ],
)  # fmt: skip
def test_the_name_of_an_expression(expression: str, name: str) -> None:
    assert [column.name for column in analyse(f"SELECT {expression} FROM orders o", CATALOGUE).outputs] == [name]
