from __future__ import annotations

import pytest

from tests.integration.postgres.conftest import Gateway

pytestmark = pytest.mark.servers


async def test_a_statement_goes_there_and_its_answer_comes_back(gateway: Gateway) -> None:
    ran = await gateway.psql("SELECT id, name FROM customers ORDER BY id LIMIT 2;")
    assert (ran.status, ran.out) == (0, "1|Name 1\n2|Name 2\n"), ran
    await gateway.idle()
    assert [notice.code for notice in gateway.notices] == ["ok"]
    operation, done = gateway.record
    assert operation["text"] == "SELECT id, name FROM customers ORDER BY id LIMIT 2"
    assert operation["objects"] == ["public.customers"]
    assert (operation["verdict"], operation["effects"]) == ("allowed", ["read"])
    assert (done["outcome"], done["rows"]) == ("ok", 2)


async def test_tagged_columns_are_masked_through_views_and_expressions(gateway: Gateway) -> None:
    ran = await gateway.psql(
        "SELECT mail, ssn, balance FROM customers WHERE id = 1;"
        "SELECT reach FROM contacts WHERE id = 1;"
        "SELECT upper(ssn) FROM customers WHERE id = 1;"
        "SELECT left(ssn, 6) FROM customers WHERE id = 1;"
    )
    assert ran.status == 0, ran
    assert "078-05" not in ran.out
    assert "person1@" not in ran.out.lower()
    assert ran.out.splitlines()[0].startswith("p***@***.com|***-**-****|")
    assert "1.5" not in ran.out


async def test_detectors_find_what_nobody_tagged(gateway: Gateway) -> None:
    ran = await gateway.psql("SELECT body FROM notes ORDER BY id LIMIT 2;")
    assert ran.out == "nothing to see\nwrite to b***@***.com\n"


async def test_a_denied_statement_fails_as_postgresql_fails(gateway: Gateway) -> None:
    ran = await gateway.psql("BEGIN;\nDROP TABLE notes;\nSELECT 1;\nROLLBACK;\nSELECT 2;", "-v", "VERBOSITY=verbose")
    assert ran.out == "2\n", ran
    assert "42501: sallyport: Tables stay." in ran.err
    assert "25P02" in ran.err
    assert gateway.postgres.direct("SELECT count(*) > 0 FROM notes") == "t"
    assert "DROP TABLE notes" not in gateway.postgres.log.read_text()


async def test_ddl_is_known_to_the_next_statement(gateway: Gateway) -> None:
    ran = await gateway.psql(
        "CREATE TABLE fresh (a int);\nINSERT INTO fresh VALUES (1);\nSELECT a FROM fresh;\n"
        "ALTER TABLE fresh RENAME TO old;\nSELECT a + 1 FROM old;"
    )
    assert (ran.status, ran.out) == (0, "1\n2\n"), ran
    flags = {flag for line in gateway.recorded("operation") for flag in line["flags"]}
    assert not any(flag.startswith("unknown") for flag in flags), gateway.recorded("operation")
    gateway.postgres.direct("DROP TABLE old")


async def test_a_search_path_that_was_set_is_followed(gateway: Gateway) -> None:
    gateway.postgres.direct("CREATE SCHEMA IF NOT EXISTS side; CREATE TABLE IF NOT EXISTS side.only (a int)")
    ran = await gateway.psql(
        'SET search_path TO side;\nSELECT count(*) FROM only_here_not;\nSELECT count(*) FROM side.only;\nSELECT * FROM "only";'
    )
    assert "side.only" in {name for line in gateway.recorded("operation") for name in line["objects"]}, ran
    last = gateway.recorded("operation")[-1]
    assert last["objects"] == ["side.only"]


async def test_the_describing_commands_of_psql_work(gateway: Gateway) -> None:
    ran = await gateway.psql("\\d customers\n\\dt\n\\df\n\\l\n\\du\n")
    assert ran.status == 0, ran
    assert "customers" in ran.out
    assert ran.err == ""


async def test_copy_both_ways(gateway: Gateway) -> None:
    ran = await gateway.psql(
        "CREATE TABLE copied (a int, b text);\n\\copy copied FROM STDIN\n1\tone\n2\tmail me@example.com\n\\.\n"
        "SELECT count(*) FROM copied;\n\\copy copied TO STDOUT\nCOPY (SELECT id, mail FROM customers ORDER BY id) TO STDOUT;"
    )
    assert ran.status == 0, ran
    assert ran.out.startswith("2\n1\tone\n2\tmail m***@***.com\n1\tp***@***.com\n"), ran
    gateway.postgres.direct("DROP TABLE copied")


async def test_an_error_that_quotes_a_value_is_scrubbed(gateway: Gateway) -> None:
    ran = await gateway.psql("SELECT mail::int FROM customers WHERE id = 1;")
    assert ran.status != 0 or ran.err
    assert "person1@example.com" not in ran.err


async def test_a_statement_is_cancelled_through_the_gateway(gateway: Gateway) -> None:
    ran = await gateway.psql("SET statement_timeout = 200;\nSELECT pg_sleep(20);")
    assert "statement timeout" in ran.err


async def test_application_name_carries_the_session(gateway: Gateway) -> None:
    ran = await gateway.psql("SHOW application_name;")
    assert ran.out.startswith("sallyport ses_"), ran


@pytest.mark.parametrize(("text", "name"), [
    ("SET application_name = 'PostgreSQL JDBC Driver';", "PostgreSQL JDBC Driver"),
    ("SELECT set_config('application_name', 'mine', false);", "mine"),
    ("BEGIN;\nSET application_name TO late;\nCOMMIT;", "late"),
    ("SET application_name = '';", ""),
])  # fmt: skip
async def test_a_name_that_the_client_gives_itself_stands_behind_the_session(gateway: Gateway, text: str, name: str) -> None:
    ran = await gateway.psql(f"{text}\nSHOW application_name;")
    sid = gateway.servings[-1].claims.sid
    assert ran.out.splitlines()[-1] == f"sallyport {sid} {name}".rstrip(), ran
    # What is rolled back, and what is only for a block, leaves the name as it was.
    ran = await gateway.psql(
        "BEGIN;\nSET LOCAL application_name = 'x';\nROLLBACK;\nSHOW application_name;\nDISCARD ALL;\nSHOW application_name;"
    )
    assert [line.split()[1] for line in ran.out.splitlines()] == [gateway.servings[-1].claims.sid] * 2
