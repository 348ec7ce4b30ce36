"""Which words of an error were written, and which may have been stored."""

from __future__ import annotations

import pytest

from agent.core.masking.detectors import Detectors
from agent.core.masking.text import TextScrubber
from agent.core.sql.catalogue import Catalogue
from agent.protocols.postgres import errors

CATALOGUE = Catalogue.build(
    relations=[("public", "people", "r", False, None)],
    columns=[("public", "people", "id", 1, 23), ("public", "people", "surname", 2, 25)],
    functions=[("public", "tell", "", "plpgsql", "v", "BEGIN RAISE EXCEPTION 'bad % (7)', x; END", "f", [], "", None, [])],
)
KNOWN = errors.vocabulary(CATALOGUE)
SCRUBBER = TextScrubber(Detectors())


def shown(asked: str, **fields: str) -> dict[str, str]:
    return errors.scrubbed(fields, SCRUBBER, errors.written(KNOWN, asked))


def test_words_of_the_catalogue_are_known_and_numbers_are_not() -> None:
    assert {b"public", b"people", b"surname", b"bad", b"raise"} <= KNOWN
    assert b"7" not in KNOWN


@pytest.mark.parametrize(
    ("asked", "message", "expected"),
    [
        ("SELECT surname::regclass FROM people", 'relation "zebedee" does not exist', 'relation "***" does not exist'),
        ("SELECT 1 FROM nowhere", 'relation "nowhere" does not exist', 'relation "nowhere" does not exist'),
        ("SELECT 1 FROM Nowhere.It", 'relation "nowhere.it" does not exist', 'relation "nowhere.it" does not exist'),
        ("SELECT current_setting(surname)", 'parameter "zebedee quartz"', 'parameter "***"'),
        ("SELECT make_date(id, id, id)", "date field value out of range: 4711-4711-4711", "date field value out of range: ***"),
        (
            "SELECT make_date(4711, 13, 1)",
            "date field value out of range: 4711-13-01",
            "date field value out of range: 4711-13-***",
        ),
        ("SELECT lo_get(id)", "large object 4711 does not exist", "large object *** does not exist"),
        ("x", "value too long for type character varying(10)", "value too long for type character varying(10)"),
        ("x", 'column "surname" of relation "people" does not exist', 'column "surname" of relation "people" does not exist'),
        # A value may hold quotes itself.
        (
            "SELECT current_setting('x\" ' || surname || ' \"people')",
            'parameter "x" zebedee "people"',
            'parameter "x" *** "people"',
        ),
        ("x", 'parameter "two\nlines"', 'parameter "***\n***"'),
    ],
)
def test_what_postgresql_says(asked: str, message: str, expected: str) -> None:
    assert shown(asked, M=message, R="whatever")["M"] == expected


def test_what_a_function_raises_is_held_to_its_own_words() -> None:
    told = shown(
        "SELECT tell()", M="bad Zebedee", D="Zebedee", H="Quartz", n="zebedee", R="exec_stmt_raise", C="P0001", S="ERROR"
    )
    assert told == {"M": "bad ***", "D": "***", "H": "***", "n": "***", "R": "exec_stmt_raise", "C": "P0001", "S": "ERROR"}
    for file in ("plpy_elog.c", "plperl.c", "pltcl.c"):
        assert shown("SELECT tell()", M="Zebedee", F=file)["M"] == "***"


def test_the_name_of_a_constraint_is_a_name_where_postgresql_says_it() -> None:
    message = 'duplicate key value violates unique constraint "people_surname_key"'
    assert shown("INSERT INTO people", M=message, n="people_surname_key")["M"] == message
    assert shown("INSERT INTO people", M=message)["M"] == 'duplicate key value violates unique constraint "***"'


def test_a_query_inside_shows_no_constants() -> None:
    inner = shown(
        "SELECT tell()", q="SELECT bad FROM people WHERE surname = 'Zebedee'", W="SQL statement \"SELECT bad 'Quartz'\""
    )
    assert "Zebedee" not in inner["q"]
    assert inner["W"] == "SQL statement \"SELECT bad '***'\""


def test_where_nothing_is_hidden_only_detectors_count() -> None:
    fields = {"M": 'relation "zebedee" of bob@example.com', "n": "x"}
    assert errors.scrubbed(fields, SCRUBBER, None) == {"M": 'relation "zebedee" of b***@***.com', "n": "x"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Relation »zebedee« existiert nicht", "***"),
        ("Ya existe la llave (surname)=(Zebedee).", "*** (surname)=(***)."),
        ('отношение "zebedee" в таблице people', '*** "***" *** people'),
    ],
)
def test_in_another_language_nothing_is_the_servers_own(message: str, expected: str) -> None:
    told = errors.scrubbed({"M": message, "C": "42P01"}, SCRUBBER, errors.written(KNOWN, "SELECT 1"), english=False)
    assert "edee" not in told["M"]
    assert told == {"M": expected, "C": "42P01"}
