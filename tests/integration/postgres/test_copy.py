"""COPY in every form that PostgreSQL has, through the gateway."""

from __future__ import annotations

import io
import ssl
import struct
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest

from tests.integration.postgres.conftest import RUN, Gateway
from tests.integration.postgres.server import PASSWORD

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


MIXED = """
CREATE TABLE mixed (id int4, big int8, mail text, ssn varchar(20), born date, paid numeric, at timestamptz, tags text[],
  doc jsonb, raw bytea, uid uuid, ok bool, net inet, ratio float8);
INSERT INTO mixed SELECT n, n, 'person' || n || '@example.com', '078-05-' || (1000 + n), date '1980-01-01' + n, n * 1.5,
  '2024-05-01 12:00+00', ARRAY['bob@example.com', 'plain', NULL], jsonb_build_object('n', n, 'mail', 'bob@example.com'),
  'bob@example.com', '550e8400-e29b-41d4-a716-446655440000', true, '10.0.0.1', n / 3.0 FROM generate_series(1, 40) n;
CREATE TABLE again (LIKE mixed);
"""
MIXED_TAGS = ["public.mixed.mail=email", "public.mixed.ssn=ssn", "public.mixed.born=birthdate", "public.mixed.uid=personal"]


@pytest.fixture
def mixed(gateway: Gateway) -> Iterator[None]:
    gateway.options = {"columns": MIXED_TAGS}
    gateway.postgres.direct(MIXED)
    yield
    gateway.postgres.direct("DROP TABLE mixed, again")


@pytest.mark.parametrize("what", ["mixed", "(SELECT * FROM mixed ORDER BY id)", "(SELECT m.* FROM mixed m, again RIGHT JOIN"
                                  " (VALUES (1)) v (x) ON true)"])  # fmt: skip
async def test_what_is_masked_in_binary_can_be_read_back(gateway: Gateway, mixed: None, what: str) -> None:
    data = await copied(gateway, f"COPY {what} TO STDOUT (FORMAT binary)")
    for secret in (b"person", b"078-05", b"bob@"):
        assert secret not in data
    assert data.count(b"p***@***.com") == 40
    with psycopg.connect(f"host=127.0.0.1 port={gateway.postgres.port} user=app dbname=shop password={PASSWORD!r}") as direct:
        with direct.cursor().copy("COPY again FROM STDIN (FORMAT binary)") as back:
            back.write(data)
        found = direct.execute(
            "SELECT count(*), count(DISTINCT a.mail), min(a.ssn), max(a.born)::text, bool_and(a.big = m.big AND a.paid = m.paid"
            " AND a.at = m.at AND a.net = m.net AND a.ratio = m.ratio AND a.ok), min(a.tags[1]), min(a.doc ->> 'mail'),"
            " min(convert_from(a.raw, 'UTF8')), min(a.uid::text) FROM again a JOIN mixed m USING (id)"
        ).fetchone()
    assert found == (
        40, 1, "***-**-****", "2000-01-01", True, "b***@***.com", "b***@***.com", "b***@***.com",
        "00000000-0000-4000-8000-000000000000",
    )  # fmt: skip


async def test_binary_and_text_masks_agree(gateway: Gateway, mixed: None) -> None:
    query = "SELECT id, mail, ssn, born, paid::text AS paid, doc::text AS doc, tags FROM mixed ORDER BY id"
    connected = await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True)
    async with connected as connection:
        rows = await (await connection.execute(query)).fetchall()
        async with connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as data:
            data.set_types(["int4", "text", "varchar", "date", "text", "text", "text[]"])
            copied = [row async for row in data.rows()]
    assert copied == rows
    done = gateway.recorded("done")[-1]
    assert (done["outcome"], done["rows"], done["masked"]) == ("ok", 40, 40 * 5)
    lines = done["lines"]
    assert isinstance(lines, list)
    assert len(lines) == 40
    assert lines[1].startswith("2\tp***@***.com\t***-**-****\t2000-01-01\t3.0\t")


async def test_lineage_reaches_into_binary(gateway: Gateway) -> None:
    text = "COPY (SELECT id, upper(mail) || '!' AS shout, ssn::bytea, balance + 1 FROM customers) TO STDOUT (FORMAT binary)"
    data = await copied(gateway, text)
    assert b"PERSON" not in data
    assert b"078-05" not in data


@pytest.mark.parametrize("query", [
    "SELECT * FROM customers WHERE id = 1",
    "SELECT c FROM customers c WHERE id = 1",
    "SELECT ROW(id, ssn, name) FROM customers WHERE id = 1",
    "SELECT row_to_json(c) FROM customers c WHERE id = 1",
    "SELECT jsonb_build_object(ssn, 1) FROM customers WHERE id = 1",
    "SELECT to_jsonb(c) FROM customers c WHERE id = 1",
    "SELECT array_agg(ssn) FROM customers WHERE id = 1",
    "SELECT string_to_array(ssn, '-') FROM customers WHERE id = 1",
    "SELECT ssn::bytea FROM customers WHERE id = 1",
    "SELECT convert_to(reverse(ssn), 'UTF8') FROM customers WHERE id = 1",
    "SELECT replace(ssn, '-', '')::int8 FROM customers WHERE id = 1",
    "SELECT replace(ssn, '-', '')::numeric FROM customers WHERE id = 1",
    "SELECT (SELECT ssn FROM customers WHERE id = 1)::name",
    "WITH a AS (SELECT ssn AS harmless FROM customers WHERE id = 1) SELECT harmless::bpchar FROM a",
    "UPDATE customers SET name = name WHERE id = 1 RETURNING ssn, mail",
])  # fmt: skip
async def test_a_tagged_value_is_shown_in_no_binary_form(gateway: Gateway, query: str) -> None:
    data = await copied(gateway, f"COPY ({query}) TO STDOUT (FORMAT binary)")
    assert data.startswith(b"PGCOPY\n")
    for form in (
        b"078-05-1001",
        b"1001-50-870",
        b"1001",
        b"person1",
        struct.pack(">q", 78051001),
        struct.pack(">HH", 7805, 1001),
    ):
        assert form not in data
    assert "078-05-1001" not in str(gateway.record)


@pytest.mark.parametrize(("query", "value"), [
    ("SELECT id, name FROM customers WHERE id = 1", b"\x00\x00\x00\x06Name 1"),
    ("SELECT n FROM notes n WHERE id = 1", b"nothing to see"),
    ("SELECT to_jsonb(n) FROM notes n WHERE id = 1", b"nothing to see"),
    ("SELECT array_agg(name) FROM customers WHERE id = 1", b"Name 1"),
    ("SELECT name::bytea FROM customers WHERE id = 1", b"Name 1"),
    ("SELECT 78051001::int8", struct.pack(">q", 78051001)),
])  # fmt: skip
async def test_their_innocent_twins_pass(gateway: Gateway, query: str, value: bytes) -> None:
    assert value in await copied(gateway, f"COPY ({query}) TO STDOUT (FORMAT binary)")


async def test_asyncpg_copies_a_query_in_binary(gateway: Gateway) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = await asyncpg.connect(host="127.0.0.1", port=gateway.port, user="ann", database="shop", ssl=context)
    try:
        found = io.BytesIO()
        tag = await connection.copy_from_query(
            "SELECT id, mail FROM customers WHERE id < $1 ORDER BY id", 4, output=found, format="binary"
        )
    finally:
        await connection.close()
    assert tag == "COPY 3"
    assert found.getvalue().count(b"p***@***.com") == 3


async def test_a_copy_in_binary_works_in_every_state_of_a_transaction(gateway: Gateway) -> None:
    text = f"COPY {TAGGED} TO STDOUT (FORMAT binary)"
    async with await psycopg.AsyncConnection.connect(gateway.dsn) as connection:
        for _ in range(2):
            async with connection.cursor().copy(text) as data:
                assert b"***-**-****" in b"".join([bytes(each) async for each in data])
        with pytest.raises(psycopg.errors.UndefinedFunction, match="nowhere"):
            async with connection.cursor().copy("COPY (SELECT nowhere(id) FROM customers) TO STDOUT (FORMAT binary)") as data:
                await data.read()
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await connection.execute("SELECT 1")
        await connection.rollback()
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with connection.cursor().copy("COPY (SELECT id / 0, mail FROM customers) TO STDOUT (FORMAT binary)") as data:
                await data.read()
        await connection.rollback()
        await connection.set_autocommit(True)
        with pytest.raises(psycopg.errors.UndefinedFunction, match="nowhere"):
            async with connection.cursor().copy("COPY (SELECT nowhere(id) FROM customers) TO STDOUT (FORMAT binary)") as data:
                await data.read()
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_a_temporary_table_of_the_same_block(gateway: Gateway) -> None:
    async with await psycopg.AsyncConnection.connect(gateway.dsn) as connection:
        await connection.execute("CREATE TEMP TABLE fresh AS SELECT id, mail FROM customers")
        async with connection.cursor().copy("COPY (SELECT id, mail FROM fresh) TO STDOUT (FORMAT binary)") as data:
            found = b"".join([bytes(each) async for each in data])
    assert b"person" not in found
    assert found.count(b"p***@***.com") == 50


@pytest.mark.parametrize("form", [
    "(FORMAT csv, QUOTE '''')", "(FORMAT csv, ESCAPE '\\')", "(ENCODING 'LATIN1')", "(FORMAT binary, ENCODING 'LATIN1')",
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
