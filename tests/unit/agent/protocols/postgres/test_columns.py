from __future__ import annotations

import pytest

from agent.core.sql.catalogue import Catalogue
from agent.core.sql.tags import Tagged
from agent.protocols.postgres.columns import Columns, read_tags
from agent.protocols.postgres.messages import Field
from chalicelib.contracts.faults import Fault

CATALOGUE = Catalogue.build(
    relations=[("public", "people", "p", False, None), ("public", "people_1", "r", True, None)],
    columns=[("public", "people", "id", 1, 23), ("public", "people", "mail", 2, 25), ("public", "people_1", "mail", 1, 25)],
    inherits=[("public", "people_1", "public", "people")],
)
RELATIONS = {20_000: ("public", "people"), 20_001: ("public", "people_1"), 1259: ("pg_catalog", "pg_class")}
COLUMNS = Columns({"public.people.mail": "email", "public.other.x": "ssn"}, CATALOGUE, RELATIONS)
NOTHING = Tagged((frozenset(),), True, frozenset(), frozenset(), frozenset(), frozenset())
EVERY = frozenset({"email", "ssn"})


def classes(table: int, column: int, tagged: Tagged | None = NOTHING) -> frozenset[str]:
    return COLUMNS.classes((Field("x", table, column, 25, 0),), tagged)[0]


def test_a_column_carries_the_class_of_its_origin() -> None:
    assert classes(20_000, 2) == {"email"}
    assert classes(20_000, 1) == frozenset()


def test_a_partition_carries_its_parents_classes() -> None:
    assert classes(20_001, 1) == {"email"}


@pytest.mark.parametrize(("table", "column"), [(30_000, 1), (20_000, 9)])
def test_an_origin_that_is_not_known_may_be_anything(table: int, column: int) -> None:
    assert classes(table, column) == EVERY


def test_a_row_as_a_whole_carries_what_its_columns_do() -> None:
    assert classes(20_000, 0) == {"email"}
    assert classes(20_001, 0) == {"email"}
    late = Columns({"public.people.added": "health", "public.other.x": "ssn"}, CATALOGUE, RELATIONS)
    assert late.classes((Field("x", 20_000, 0, 25, 0),), NOTHING)[0] == {"health"}
    assert late.classes((Field("x", 20_001, 0, 25, 0),), NOTHING)[0] == {"health"}
    assert (
        Columns({"public.other.x": "ssn"}, CATALOGUE, RELATIONS).classes((Field("x", 20_000, 0, 25, 0),), NOTHING)[0]
        == frozenset()
    )


def test_where_a_row_is_says_nothing_of_what_is_in_it() -> None:
    assert classes(20_000, -1) == frozenset()
    assert classes(30_000, -1) == EVERY


def test_the_systems_own_tables_carry_nothing() -> None:
    assert classes(1259, 1) == frozenset()


def test_an_expression_carries_what_lineage_says() -> None:
    assert classes(0, 0, Tagged((frozenset({"ssn"}),), True, EVERY, frozenset(), frozenset(), frozenset())) == {"ssn"}


def test_without_a_statement_a_column_may_be_anything() -> None:
    assert classes(0, 0, None) == EVERY


def test_tags_are_read_or_refused() -> None:
    assert read_tags({"columns": ["public.people.mail=email"]}) == {"public.people.mail": "email"}
    assert read_tags({}) == {}
    for bad in ("people.mail=email", "public.people.mail", "public.people.mail=", 7):
        with pytest.raises(Fault, match="config_invalid"):
            read_tags({"columns": [bad]})
