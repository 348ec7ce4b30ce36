"""What a name means, given a search path."""

from agent.core.sql import Catalogue, analyse
from tests.bypass.sql.database import CATALOGUE


def named(schema: str, name: str, *path: str) -> str | None:
    found = CATALOGUE.relation(schema, name, CATALOGUE.path(path))
    return None if found is None else found.qualified


def test_the_first_schema_of_the_path_wins() -> None:
    assert named("", "customers", "public", "hr") == "public.customers"
    assert named("", "customers", "hr", "public") == "hr.customers"
    assert named("", "customers", "nowhere") is None
    assert named("hr", "customers", "public") == "hr.customers"


def test_the_system_catalogue_comes_first_unless_it_is_placed() -> None:
    catalogue = Catalogue.build(
        relations=[("public", "pg_class", "r", False, None)], columns=[("public", "pg_class", "x", 1, 25)]
    )
    first = catalogue.relation("", "pg_class", catalogue.path(("public",)))
    placed = catalogue.relation("", "pg_class", catalogue.path(("public", "pg_catalog")))
    assert first is not None
    assert placed is not None
    assert (first.qualified, placed.qualified) == ("pg_catalog.pg_class", "public.pg_class")


def test_partitions_and_their_parents() -> None:
    assert analyse("SELECT id FROM events", CATALOGUE).tables == {"public.events", "public.events_2026"}
    assert analyse("SELECT id FROM ONLY events", CATALOGUE).tables == {"public.events"}
    child = analyse("SELECT body FROM events_2026", CATALOGUE)
    assert child.tables == {"public.events_2026"}
    assert child.outputs[0].columns == {"public.events_2026.body", "public.events.body"}


def test_partitions_of_partitions() -> None:
    catalogue = Catalogue.build(
        relations=[("s", name, "r", name != "a", None) for name in "abc"],
        columns=[("s", name, "x", 1, 25) for name in "abc"],
        inherits=[("s", "b", "s", "a"), ("s", "c", "s", "b")],
        search_path=("s",),
    )
    assert analyse("SELECT x FROM a", catalogue).tables == {"s.a", "s.b", "s.c"}
    assert analyse("SELECT x FROM c", catalogue).outputs[0].columns == {"s.a.x", "s.b.x", "s.c.x"}


def test_a_function_is_looked_for_in_the_path_only() -> None:
    assert [one.qualified for one in CATALOGUE.overloads("", "purge", ("pg_catalog", "public"))] == ["public.purge"]
    assert CATALOGUE.overloads("", "purge", ("pg_catalog",)) == ()
    assert CATALOGUE.overloads("hr", "purge", ("public",)) == ()
