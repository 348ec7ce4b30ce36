"""What FROM offers: the order and the names of columns. The oracle compares many more with a server."""

import pytest

from agent.core.sql import analyse
from tests.bypass.sql.database import CATALOGUE

ORDERS, ACCOUNTS = "id customer_id total note", "id owner balance"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("orders, accounts", f"{ORDERS} {ACCOUNTS}"),
        ("orders o JOIN accounts a ON a.id = o.id", f"{ORDERS} {ACCOUNTS}"),
        ("orders o JOIN accounts a USING (id)", f"{ORDERS} owner balance"),
        ("orders NATURAL JOIN accounts", f"{ORDERS} owner balance"),
        ("orders o JOIN LATERAL (SELECT o.id AS x) l ON true", f"{ORDERS} x"),
        ("(orders JOIN accounts USING (id)) AS j (a, b)", "a b total note owner balance"),
        ("(SELECT 1 AS x, 2) s", "x ?column?"),
        ("(VALUES (1, 2)) v", "column1 column2"),
        ("contacts", "id name address"),
    ],
)
def test_the_columns_of_a_star(text: str, names: str) -> None:
    (statement,) = analyse(f"SELECT * FROM {text}", CATALOGUE).statements
    assert statement.aligned
    assert [column.name for column in statement.outputs] == names.split()
    assert "unknown" not in statement.effects


@pytest.mark.parametrize("text", ["jsonb_each('{}')", "pg_class", "missing", "orders NATURAL JOIN missing"])
def test_columns_that_cannot_be_counted_are_not(text: str) -> None:
    assert not analyse(f"SELECT * FROM {text}", CATALOGUE).statements[0].aligned
