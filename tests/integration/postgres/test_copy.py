"""COPY in every form that PostgreSQL has, through the gateway."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.postgres.conftest import RUN, Gateway

pytestmark = pytest.mark.servers

TAGGED = "(SELECT id, ssn, mail FROM customers WHERE id < 3 ORDER BY id)"
REVEAL = 'permit(principal, action == Action::"reveal", resource);'


async def copied(gateway: Gateway, text: str) -> bytes:
    connected = await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True)
    async with connected as connection, connection.cursor().copy(text) as data:
        return b"".join([bytes(each) async for each in data])


@pytest.mark.parametrize("options", [
    "", "(DELIMITER '|')", "(HEADER)", "(FORMAT csv)", "(FORMAT csv, HEADER)", "(FORMAT csv, DELIMITER ';', FORCE_QUOTE *)",
    "(FORMAT csv, NULL 'none', QUOTE '\"')", "CSV HEADER", "(ENCODING 'UTF8')", "(NULL '')",
])  # fmt: skip
async def test_text_and_csv_are_masked_in_every_form(gateway: Gateway, options: str) -> None:
    shown = (await copied(gateway, f"COPY {TAGGED} TO STDOUT {options}")).decode()
    assert "078-05" not in shown
    assert "person1" not in shown
    assert shown.count("***-**-****") == 2, shown
    header = "HEADER" in options
    assert ("ssn" in shown) is header
    assert shown.count("\n") == 2 + header


async def test_a_table_is_copied_in_binary_and_masked_by_type(gateway: Gateway) -> None:
    text = "COPY customers (id, ssn, balance, name) TO STDOUT (FORMAT BINARY)"
    connected = await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True)
    async with connected as connection, connection.cursor().copy(text) as data:
        data.set_types(["int4", "text", "numeric", "text"])
        rows = [row async for row in data.rows()]
    assert len(rows) == 50
    assert (rows[0][0], rows[0][1], rows[0][3]) == (1, "***-**-****", "Name 1")
    assert rows[0][2] != 1.5


@pytest.mark.parametrize("form", [
    "(FORMAT binary)", "(FORMAT csv, QUOTE '''')", "(FORMAT csv, ESCAPE '\\')", "(ENCODING 'LATIN1')", "BINARY",
])  # fmt: skip
async def test_what_cannot_be_masked_is_refused_and_the_session_lives(gateway: Gateway, form: str) -> None:
    text = f"COPY {TAGGED} TO STDOUT {form}"
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="cannot be masked"):
            async with connection.cursor().copy(text) as data:
                await data.read()
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    assert "078-05" not in str(gateway.record)


async def test_where_nothing_is_hidden_every_form_passes(gateway: Gateway) -> None:
    gateway.rules = (RUN, REVEAL)
    shown = await copied(gateway, f"COPY {TAGGED} TO STDOUT (FORMAT binary)")
    assert shown.startswith(b"PGCOPY\n")
    assert b"078-05-1001" in shown
    assert b"'078-05-1001'" in await copied(gateway, f"COPY {TAGGED} TO STDOUT (FORMAT csv, QUOTE '''', FORCE_QUOTE *)")


async def test_the_direction_counts_and_not_the_name_of_the_stream(gateway: Gateway) -> None:
    ran = await gateway.psql("CREATE TEMP TABLE c (a int);\nCOPY c FROM STDOUT;\n1\n\\.\nCOPY c TO STDIN;")
    assert (ran.err, ran.out) == ("", "1\n"), ran
    assert [line["kind"] for line in gateway.recorded("operation")] == ["query", "query", "copy", "query", "copy"]
