"""The table of functions: no name is both harmless and not, and what is dangerous is found whatever its spelling."""

import pytest

from agent.core.sql import analyse
from agent.core.sql.builtin_effects import EFFECTS_OF, PREFIXES, QUIET, effect_of
from agent.core.sql.builtin_names import COMPUTES
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import EFFECTS, FLAGS


def test_every_entry_is_in_the_words_of_the_model() -> None:
    for effect in [*EFFECTS_OF.values(), *PREFIXES.values()]:
        assert effect.effects
        assert effect.effects <= EFFECTS
        assert effect.flags <= set(FLAGS)
        assert effect.reason


def test_no_function_both_computes_and_does_something() -> None:
    assert not {name for name in COMPUTES if effect_of(name) is not None}


def test_quiet_functions_are_known() -> None:
    assert set(QUIET) <= COMPUTES


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("dblink", "dynamic"), ("dblink_send_query", "network"), ("query_to_xml", "dynamic"),
        ("pg_read_binary_file", "file_access"),
        ("pg_ls_waldir", "file_access"), ("lo_import", "file_access"), ("lo_put", "large_object"), ("pg_sleep_until", "sleeps"),
        ("pg_try_advisory_xact_lock", "lock"), ("pg_terminate_backend", "sessions"),
        ("pg_create_logical_replication_slot", "replication"),
    ],
)  # fmt: skip
def test_dangerous_functions_raise_their_flag(name: str, flag: str) -> None:
    effect = effect_of(name)
    assert effect is not None
    assert flag in effect.flags
    assert name not in COMPUTES


@pytest.mark.parametrize(("name", "known"), [
    ("information_schema._pg_expandarray", True),
    # Whoever may make functions could have made these.
    ("public._pg_expandarray", False),
    ("_pg_expandarray", False),
    ("information_schema.query_of_my_own", False),
])  # fmt: skip
def test_drivers_describe_tables_with_functions_of_information_schema(name: str, known: bool) -> None:
    text = f"SELECT (k.keys).x FROM (SELECT {name}(i.indkey) AS keys FROM pg_catalog.pg_index i WHERE i.indisprimary) k"
    (statement,) = analyse(text, Catalogue()).statements
    assert ("unknown" not in statement.effects) == known
