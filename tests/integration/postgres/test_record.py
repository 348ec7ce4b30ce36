"""What the transcript keeps of a statement: all of it, but not what masking hides."""

from __future__ import annotations

import hashlib

import psycopg
import pytest

from tests.integration.postgres.conftest import RUN, Gateway

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(("text", "kept"), [
    ("SELECT id FROM customers WHERE ssn = '123-45-6789'", "SELECT id FROM customers WHERE ssn = '[masked ssn]'"),
    ("SELECT id FROM customers WHERE balance > 4711", "SELECT id FROM customers WHERE balance > '[masked finance]'"),
    ("SELECT id FROM customers WHERE name = 'Ann' AND ssn IN ('s1', E's2')",
     "SELECT id FROM customers WHERE name = 'Ann' AND ssn IN ('[masked ssn]', '[masked ssn]')"),
    ("SELECT id FROM contacts WHERE reach = $$bob$$", "SELECT id FROM contacts WHERE reach = '[masked email]'"),
    ("SELECT 1 FROM (SELECT ssn AS s FROM customers) q WHERE s LIKE 'x%'",
     "SELECT 1 FROM (SELECT ssn AS s FROM customers) q WHERE s LIKE '[masked ssn]'"),
    ("UPDATE customers SET ssn = 'new', name = 'old' WHERE id = -5",
     "UPDATE customers SET ssn = '[masked ssn]', name = 'old' WHERE id = -5"),
    ("INSERT INTO customers VALUES (1, 'n', 'm', 's', 7) ON CONFLICT DO NOTHING",
     "INSERT INTO customers VALUES (1, 'n', '[masked email]', '[masked ssn]', '[masked finance]') ON CONFLICT DO NOTHING"),
    ("SELECT 'mail me@example.com'", "SELECT 'mail m***@***.com'"),
])  # fmt: skip
async def test_values_that_would_be_masked_are_not_kept(gateway: Gateway, text: str, kept: str) -> None:
    ran = await gateway.psql(text + ";")
    assert ran.err == "", ran
    (line,) = gateway.recorded("operation")
    assert line["text"] == kept
    assert line["sha256"] == hashlib.sha256(text.encode()).hexdigest()


async def test_bound_values_and_denied_statements_are_masked_too(gateway: Gateway) -> None:
    gateway.rules = (RUN, 'forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DELETE") };')
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        await connection.execute("SELECT id FROM customers WHERE name = %s AND ssn = %s", ("Ann", "123-45-9999"))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("DELETE FROM customers WHERE ssn = '123-45-8888'")
    assert [line["arguments"] for line in gateway.recorded("operation") if line["kind"] == "execute"] == [["Ann", "[masked ssn]"]]
    serving = gateway.servings[-1]
    for secret in ("123-45-9999", "123-45-8888"):
        assert secret not in str(gateway.record)
        assert secret not in str([entry for entry in serving.happened if entry[0] == "denied"])


async def test_a_text_of_megabytes_is_kept_whole(gateway: Gateway) -> None:
    body = "ä" * 500_000 + "b" * 600_000
    ran = await gateway.psql(f"SELECT length('{body}');")
    assert ran.out == "1100000\n", ran
    lines = [line for line in gateway.record if line["event"] in ("operation", "text")]
    assert len(lines) == lines[0]["parts"] > 8
    whole = "".join(str(line["text"]) for line in lines)
    assert whole == f"SELECT length('{body}')"
    assert {line["digest"] for line in lines} == {lines[0]["digest"]}


async def test_a_text_that_is_too_long_is_refused(gateway: Gateway) -> None:
    ran = await gateway.psql("SELECT length('" + "b" * 5_000_000 + "');\nSELECT 1;")
    assert ran.out == "1\n"
    assert "longer than 4 MiB" in ran.err


async def test_rows_are_kept_as_they_were_shown(gateway: Gateway) -> None:
    ran = await gateway.psql(
        "SELECT id, name, ssn FROM customers ORDER BY id LIMIT 2;\nCOPY (SELECT 7, ssn FROM customers LIMIT 1) TO STDOUT;"
    )
    assert ran.err == "", ran
    selected, copied = gateway.recorded("done")
    shown = ran.out.splitlines()
    assert selected["columns"] == ["id", "name", "ssn"]
    assert ["|".join(row) for row in selected["values"]] == shown[:2]
    assert copied["lines"] == shown[2:]
    assert selected["masked"] == 2


async def test_a_binary_result_is_kept_as_text(gateway: Gateway) -> None:
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        text = "SELECT 7, 1.50::numeric, DATE '2026-11-21', TIMESTAMPTZ '2026-11-21 10:00+00', ARRAY[1, NULL], point '(1, 2)'"
        cursor = connection.cursor(binary=True)
        await cursor.execute(text)
        await cursor.fetchall()
    kept = [line["values"] for line in gateway.recorded("done") if "values" in line]
    assert kept == [
        [
            [
                "7",
                "1.50",
                "2026-11-21",
                "2026-11-21 10:00:00+00",
                "{1,NULL}",
                "\\x3ff00000000000004000000000000000 (16 bytes, type 600)",
            ]
        ]
    ]


async def test_a_bulk_result_keeps_its_first_rows(gateway: Gateway) -> None:
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        await (await connection.execute("SELECT n FROM generate_series(1, 50000) n")).fetchall()
    (line,) = [line for line in gateway.recorded("done") if "values" in line]
    assert [value for (value,) in line["values"]] == [str(number) for number in range(1, 101)]
    assert line["rows"] == 50_000


async def test_a_bulk_result_lets_those_go_first_who_wait_for_the_disk(gateway: Gateway) -> None:
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        recorder = gateway.servings[-1].recorder
        await (await connection.execute("SELECT n FROM generate_series(1, 20) n")).fetchall()
        assert recorder.gave_way == 0
        await (await connection.execute("SELECT n FROM generate_series(1, 50000) n")).fetchall()
    assert recorder.gave_way > 1
