"""Errors and notices of a real server, which quote a tagged value that no detector knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.postgres.conftest import Gateway
from tests.integration.postgres.server import LOGIN, Postgres

pytestmark = pytest.mark.servers

SCHEMA = """
DROP TABLE IF EXISTS people CASCADE;
CREATE TABLE people (id int, who text UNIQUE NOT NULL, pin int CHECK (pin > 0));
INSERT INTO people VALUES (1, 'Zebedee', 4711);
CREATE OR REPLACE FUNCTION tell() RETURNS int LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
  SELECT who INTO found FROM people;
  RAISE NOTICE 'seen %', found;
  RAISE EXCEPTION 'unwelcome %', found USING DETAIL = found, HINT = 'ask ' || found, CONSTRAINT = found;
END $$;
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'Nobody is renamed to %', NEW.who USING HINT = 'Leave ' || OLD.who || ' as they are';
END $$;
CREATE TRIGGER stay BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture(autouse=True)
def people(gateway: Gateway, postgres: Postgres) -> Iterator[None]:
    postgres.direct(SCHEMA)
    gateway.options = {"columns": ["public.people.who=name", "public.people.pin=personal"]}
    yield
    postgres.direct("DROP TABLE people CASCADE; DROP FUNCTION tell, refuse")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT who::regclass FROM people;",
        "SELECT who::regtype FROM people;",
        "SELECT who::int FROM people;",
        "SELECT current_setting(who) FROM people;",
        "SELECT current_setting('people\" ' || who || ' \"people') FROM people;",
        "SELECT has_table_privilege(who, 'people', 'select') FROM people;",
        "SELECT has_table_privilege('people', who) FROM people;",
        "SELECT convert_to(who, who) FROM people;",
        "SELECT to_timestamp(who, 'YYYY') FROM people;",
        "SELECT make_date(pin, pin, pin) FROM people;",
        "SELECT lo_get(pin) FROM people;",
        "SELECT get_byte('abc'::bytea, pin) FROM people;",
        "SELECT setseed(pin) FROM people;",
        "INSERT INTO people SELECT 2, who, pin FROM people;",
        "INSERT INTO people SELECT 2, who || 'x', -pin FROM people;",
        "UPDATE people SET who = who || 'x';",
        "SELECT tell();",
        "DO $$ BEGIN RAISE NOTICE '%', (SELECT who FROM people); END $$;",
        "DO $$ BEGIN EXECUTE format('SELECT 1/0, %L', (SELECT who FROM people)); END $$;",
        "DO $$ BEGIN EXECUTE (SELECT who FROM people); END $$;",
        "PREPARE p AS SELECT who::regclass FROM people; EXECUTE p;",
    ],
)
async def test_an_error_shows_no_tagged_value(gateway: Gateway, text: str) -> None:
    ran = await gateway.psql("\\set VERBOSITY verbose\n" + text)
    assert ran.err, "it was to say something"
    shown = (ran.out + ran.err + str(gateway.record)).lower()
    assert "zebedee" not in shown, ran
    assert "4711" not in ran.out + ran.err, ran


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SELECT who FROM nowhere, people;", 'relation "nowhere" does not exist'),
        ("SELECT who, nothing FROM people;", 'column "nothing" does not exist'),
        ("SELECT tell();", "unwelcome ***"),
        ("SELECT tell();", "seen ***"),
        ("UPDATE people SET who = 'Yorick';", "Nobody is renamed to Yorick"),
        ("UPDATE people SET who = 'Yorick';", "Leave *** as they are"),
        (
            "INSERT INTO people VALUES (3, 'Zed', -1);",
            'new row for relation "people" violates check constraint "people_pin_check"',
        ),
        (
            "INSERT INTO people VALUES (3, NULL, 1);",
            'null value in column "who" of relation "people" violates not-null constraint',
        ),
        ("SELECT who, 1 / 0 FROM people;", "division by zero"),
        ("SET work_mem = '1 parsec';", 'invalid value for parameter "work_mem": "1 parsec"'),
    ],
)
async def test_its_own_words_stay(gateway: Gateway, text: str, words: str) -> None:
    ran = await gateway.psql(text)
    assert words in ran.err, ran


async def test_where_its_own_words_are_not_heard_none_are_believed(gateway: Gateway, postgres: Postgres) -> None:
    """A translated server does not say what it is asked for in the known words; nor does one that gives no notice."""
    postgres.admin("shop", f"ALTER ROLE {LOGIN} SET client_min_messages = warning")
    try:
        ran = await gateway.psql("\\set VERBOSITY verbose\nSELECT who, 1 / 0 FROM people;\nSELECT 1 / 0;")
    finally:
        postgres.admin("shop", f"ALTER ROLE {LOGIN} RESET client_min_messages")
    assert "ERROR:  22012: ***" in ran.err, ran
    assert "ERROR:  22012: division by zero" in ran.err, "nothing is hidden there"
