"""From columns to data classes."""

from agent.core.sql import analyse, tagged
from tests.bypass.sql.database import CATALOGUE, TAGS

ALL = frozenset(TAGS.values())


def test_classes_by_position() -> None:
    (facts,) = tagged(analyse("SELECT id, email, ssn, email || ssn AS both FROM customers", CATALOGUE), TAGS)
    assert facts.outputs == (frozenset(), {"email"}, {"ssn"}, {"email", "ssn"})
    assert facts.column(1) == {"email"}
    assert facts.column(0) == frozenset()


def test_a_column_that_was_not_foreseen_may_be_anything() -> None:
    (facts,) = tagged(analyse("SELECT id FROM customers", CATALOGUE), TAGS)
    assert facts.column(1) == facts.column(-1) == ALL


def test_where_columns_are_not_counted_each_carries_all() -> None:
    (facts,) = tagged(analyse("SELECT x.*, c.ssn FROM customers c, jsonb_each(c.data) x", CATALOGUE), TAGS)
    assert not facts.aligned
    assert all(facts.column(index) == {"ssn", "profile"} for index in range(5))


def test_tainted_is_every_class() -> None:
    (facts,) = tagged(analyse("SELECT id, nowhere(1) FROM customers", CATALOGUE), TAGS)
    assert facts.outputs == (frozenset(), ALL)


def test_one_answer_for_each_statement() -> None:
    facts = tagged(analyse("SELECT ssn FROM customers; SELECT 1; UPDATE customers SET name = email", CATALOGUE), TAGS)
    assert [one.outputs for one in facts] == [({"ssn"},), (frozenset(),), ()]
    assert facts[2].stored == {"email"}
