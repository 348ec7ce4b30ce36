"""Which predicates hold for every row, and what RETURNING shows."""

import pytest

from agent.core.sql import analyse
from agent.core.sql.changes import always
from agent.core.sql.grammar import postgast
from tests.bypass.sql.database import CATALOGUE


def predicate(text: str) -> bool:
    return always(postgast.parse(f"SELECT 1 WHERE {text}").stmts[0].stmt.select_stmt.where_clause)


@pytest.mark.parametrize(
    "text", ["true", "1 = 1", "id = id", "id = 1 OR true", "NOT false", "now() > '2000-01-01'", "t.id >= t.id"]
)
def test_predicates_that_choose_nothing(text: str) -> None:
    assert predicate(text)


@pytest.mark.parametrize("text", ["id = 1", "id = other", "a.id = b.id", "id = 1 AND true", "EXISTS (SELECT 1)"])
def test_predicates_that_choose(text: str) -> None:
    assert not predicate(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("INSERT INTO orders (id) VALUES (1) RETURNING *", "id customer_id total note"),
        (
            "UPDATE orders o SET note = 'x' FROM accounts a WHERE a.id = o.id RETURNING *",
            "id customer_id total note id owner balance",
        ),
        ("DELETE FROM orders WHERE id = 1 RETURNING id AS gone, note", "gone note"),
        ("WITH d AS (DELETE FROM orders WHERE id = 1 RETURNING *) TABLE d", "id customer_id total note"),
    ],
)
def test_names_that_returning_gives(text: str, names: str) -> None:
    assert [column.name for column in analyse(text, CATALOGUE).outputs] == names.split()


def test_a_merge_names_the_verbs_of_its_branches() -> None:
    merge = "MERGE INTO orders o USING accounts a ON a.id = o.id"
    assert analyse(f"{merge} WHEN NOT MATCHED THEN INSERT (id) VALUES (a.id)", CATALOGUE).verbs == {"MERGE", "INSERT"}
    assert analyse(f"{merge} WHEN MATCHED THEN DELETE", CATALOGUE).verbs == {"MERGE", "DELETE"}
    assert analyse(f"{merge} WHEN MATCHED THEN DO NOTHING", CATALOGUE).verbs == {"MERGE"}


def test_what_is_written_is_among_the_columns() -> None:
    found = analyse("UPDATE orders SET note = 'x' WHERE id = 1", CATALOGUE)
    assert found.columns == {"public.orders.note", "public.orders.id"}


def test_a_column_written_with_itself_is_not_a_copy() -> None:
    assert analyse("UPDATE customers SET ssn = upper(ssn) WHERE id = 1", CATALOGUE).statements[0].stored == frozenset()
