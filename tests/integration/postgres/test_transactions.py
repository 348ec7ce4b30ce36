"""What only one connection can see: objects of an open transaction, and temporary relations."""

from __future__ import annotations

import pytest

from tests.integration.postgres.conftest import RUN, Gateway

pytestmark = pytest.mark.servers

NO_UNKNOWN = 'forbid(principal, action == Action::"run", resource) when { context.effects.contains("unknown") };'


async def test_tables_made_in_a_transaction_are_known_inside_it(gateway: Gateway) -> None:
    gateway.rules = (RUN, NO_UNKNOWN)
    ran = await gateway.psql(
        "BEGIN;\nCREATE TABLE made (a int, b text);\nINSERT INTO made VALUES (1, 'x');\n"
        "CREATE VIEW over AS SELECT b AS c FROM made;\nSELECT c FROM over;\n"
        "CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2';\nSELECT twice(a) FROM made;\n"
        "ALTER TABLE made ADD COLUMN d int;\nUPDATE made SET d = 3 RETURNING d;\nROLLBACK;"
    )
    assert (ran.status, ran.err, ran.out) == (0, "", "x\n2\n3\n"), ran


async def test_temporary_tables_work_in_and_out_of_transactions(gateway: Gateway) -> None:
    gateway.rules = (RUN, NO_UNKNOWN)
    ran = await gateway.psql(
        "CREATE TEMP TABLE t (a int);\nINSERT INTO t VALUES (1), (2);\nSELECT sum(a) FROM t;\n"
        "BEGIN;\nCREATE TEMP TABLE u ON COMMIT DROP AS SELECT a + 1 AS b FROM t;\nSELECT sum(b) FROM pg_temp.u;\nCOMMIT;\n"
        "SELECT count(*) FROM t;"
    )
    assert (ran.status, ran.err, ran.out) == (0, "", "3\n5\n2\n"), ran


async def test_what_was_rolled_back_is_not_taken_for_there(gateway: Gateway) -> None:
    """A temporary table hides a tagged one only as long as it exists."""
    ran = await gateway.psql(
        "BEGIN;\nCREATE TEMP TABLE customers (ssn text);\nINSERT INTO customers VALUES ('plain');\n"
        "SELECT upper(ssn) FROM customers;\nROLLBACK;\nSELECT left(upper(ssn), 6) FROM customers WHERE id = 1;\n"
        "BEGIN;\nSAVEPOINT s;\nCREATE TEMP TABLE customers (ssn text);\nINSERT INTO customers VALUES ('plain');\n"
        "SELECT upper(ssn) FROM customers;\nROLLBACK TO s;\nSELECT left(upper(ssn), 6) FROM customers WHERE id = 1;\nCOMMIT;\n"
    )
    lines = ran.out.splitlines()
    assert (lines[0], lines[2]) == ("PLAIN", "PLAIN"), ran
    assert "078-05" not in ran.out, ran


async def test_a_temporary_table_dropped_out_of_sight_does_not_unmask(gateway: Gateway) -> None:
    ran = await gateway.psql(
        "CREATE TEMP TABLE customers (id int, ssn text);\nINSERT INTO customers VALUES (1, 'plain');\n"
        "SELECT upper(ssn) FROM customers;\nDO $$ BEGIN EXECUTE 'DROP TABLE pg_temp.' || 'customers'; END $$;\n"
        "SELECT left(upper(ssn), 6) FROM customers WHERE id = 1;\n"
        "CREATE TEMP TABLE customers (id int, ssn text);\nINSERT INTO customers VALUES (1, 'plain');\n"
        "SELECT upper(ssn) FROM customers;\nDISCARD ALL;\nSELECT left(upper(ssn), 6) FROM customers WHERE id = 1;\n"
    )
    assert ran.out.count("PLAIN") == 2, ran
    assert "078-05" not in ran.out, ran


async def test_questions_leave_transactions_alone(gateway: Gateway) -> None:
    ran = await gateway.psql(
        "SET search_path TO public;\nBEGIN;\nSET search_path TO public, pg_catalog;\n"
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nCREATE TABLE seen (a int);\nSHOW transaction_isolation;\n"
        "SAVEPOINT mine;\nCREATE TABLE seen2 (a int);\nSELECT count(*) FROM seen2;\nROLLBACK TO mine;\n"
        "SELECT count(*) FROM seen;\n"
        "SHOW search_path;\nROLLBACK;\nSHOW search_path;"
    )
    assert (ran.err, ran.out) == ("", "serializable\n0\n0\npublic, pg_catalog\npublic\n"), ran


async def test_after_a_copy_inside_a_text_the_server_is_asked_again(gateway: Gateway) -> None:
    ran = await gateway.psql("CREATE TEMP TABLE c (a int)\\; COPY c FROM STDIN\\; SELECT 1;\n7\n\\.\nSELECT a FROM c;")
    assert (ran.err, ran.out) == ("", "1\n7\n"), ran
