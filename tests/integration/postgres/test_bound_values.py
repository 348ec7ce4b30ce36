"""Bound values in the record: what a driver has sent, in whatever form, reads as the server itself would write it."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import ipaddress
import re
import ssl
import uuid
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg.types.json import Json, Jsonb

from agent.protocols.postgres.values import readable
from tests.integration.postgres.conftest import Gateway
from tests.integration.postgres.server import PASSWORD, Postgres

pytestmark = pytest.mark.servers

UTC = dt.UTC
MOMENT = dt.datetime(2024, 2, 29, 13, 5, 6, 789, tzinfo=UTC)
UID = uuid.UUID("6f1ed002-ab5f-4c8e-9a3c-1f2e3d4c5b6a")

#: The type, what psycopg and asyncpg are given, and where it cannot be either.
VALUES: list[tuple[str, Any, Any]] = [
    ("bool", True, True),
    ("bool", False, False),
    ("int2", -7, -7),
    ("int4", 70_000, 70_000),
    ("int8", -(2**40), -(2**40)),
    ("float8", 1.5, 1.5),
    ("float8", 1e300, 1e300),
    ("float8", 1.0, 1.0),
    ("float8", 1e-7, 1e-7),
    ("float8", float("inf"), float("inf")),
    ("float8", float("nan"), float("nan")),
    ("float4", 0.1, 0.1),
    ("numeric", decimal.Decimal("-12345678901234567890.012300"), decimal.Decimal("-12345678901234567890.012300")),
    ("numeric", decimal.Decimal("0.00001"), decimal.Decimal("0.00001")),
    ("numeric", decimal.Decimal("NaN"), decimal.Decimal("NaN")),
    ("date", dt.date(1066, 10, 14), dt.date(1066, 10, 14)),
    ("date", dt.date(9999, 12, 31), dt.date(9999, 12, 31)),
    ("time", dt.time(23, 59, 59, 5), dt.time(23, 59, 59, 5)),
    ("timetz", dt.time(23, 59, 59, 5, UTC), dt.time(23, 59, 59, 5, UTC)),
    ("timestamp", MOMENT.replace(tzinfo=None), MOMENT.replace(tzinfo=None)),
    ("timestamp", dt.datetime(1999, 1, 1), dt.datetime(1999, 1, 1)),  # noqa: DTZ001
    ("timestamptz", MOMENT, MOMENT),
    ("interval", dt.timedelta(days=-3, seconds=7, microseconds=9), dt.timedelta(days=-3, seconds=7, microseconds=9)),
    ("interval", dt.timedelta(0), dt.timedelta(0)),
    ("uuid", UID, UID),
    ("bytea", b"\x00\xffabc", b"\x00\xffabc"),
    ("bytea", b"", b""),
    ("text", "süß 'quoted'", "süß 'quoted'"),
    ("text", "", ""),
    ("json", Json({"a": [1, "zwei"]}), '{"a": [1, "zwei"]}'),
    ("jsonb", Jsonb({"a": [1, "zwei"]}), '{"a": [1, "zwei"]}'),
    ("inet", ipaddress.ip_address("192.168.1.7"), ipaddress.ip_address("192.168.1.7")),
    ("inet", ipaddress.ip_interface("2001:db8::7/64"), ipaddress.ip_interface("2001:db8::7/64")),
    ("cidr", ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("10.1.0.0/16")),
    ("int4[]", [1, None, 3], [1, None, 3]),
    ("int4[]", [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    ("int4[]", [], []),
    ("text[]", ['a "b"', "c,d", "", "NULL", None], ['a "b"', "c,d", "", "NULL", None]),
    ("uuid[]", [UID], [UID]),
    ("timestamptz[]", [MOMENT], [MOMENT]),
    ("numeric[]", [decimal.Decimal("1.50")], [decimal.Decimal("1.50")]),
    ("bool[]", [True, False], [True, False]),
    ("jsonb[]", [Jsonb({"a": 1})], ['{"a": 1}']),
    ("bytea[]", [b"\x01"], [b"\x01"]),
    ("mood", "glad", "glad"),
    ("mood[]", ["glad", "so so"], ["glad", "so so"]),
    ("pair", None, (7, "x y")),
    ("text", None, None),
    ("int4", None, None),
]
SETUP = """
DO $$ BEGIN
  IF to_regtype('mood') IS NULL THEN CREATE TYPE mood AS ENUM ('glad', 'so so'); CREATE TYPE pair AS (a int, b text); END IF;
END $$
"""


@pytest.fixture
def kinds(gateway: Gateway) -> Gateway:
    gateway.postgres.direct(SETUP)
    gateway.options = {}
    return gateway


def recorded(gateway: Gateway) -> str:
    """The one value of the newest statement that has some."""
    (value,) = [line for line in gateway.recorded("operation") if line.get("arguments")][-1]["arguments"]  # type: ignore[misc,attr-defined]
    return str(value)


def read_by_the_server(gateway: Gateway, kinds_and_texts: list[tuple[str, str]]) -> list[str]:
    """What the server makes of these texts, as it writes it itself."""
    asked = []
    for place, (kind, text) in enumerate(kinds_and_texts):
        value = "NULL" if text == "NULL" else f"$q${text}$q$"
        asked.append(f"SELECT {place}, coalesce(({value}::{kind})::text, 'NULL')")
    shown = gateway.postgres.direct("SET timezone TO 'UTC';\n" + " UNION ALL ".join(asked) + " ORDER BY 1;")
    return [line.partition("|")[2] for line in shown.splitlines()]


async def check(gateway: Gateway, seen: list[tuple[str, str, str | None]]) -> None:
    """``seen`` has the type of each value, what the record holds, and what the server made of the value itself."""
    texts = [(kind, re.sub(r" \(type \d+\)\Z", "", text)) for kind, text, _ in seen]
    assert not [text for text in texts if "\\x" in text[1] and "bytea" not in text[0]]
    found = await asyncio.to_thread(read_by_the_server, gateway, texts)
    wrong = [(each, made) for each, made in zip(seen, found, strict=True) if made != ("NULL" if each[2] is None else each[2])]
    assert wrong == []


@pytest.mark.parametrize("mark", ["%t", "%b"])
async def test_psycopg(kinds: Gateway, mark: str) -> None:
    seen: list[tuple[str, str, str | None]] = []
    async with await psycopg.AsyncConnection.connect(kinds.dsn, autocommit=True) as connection:
        await connection.execute("SET timezone TO 'UTC'")
        for kind, value, _ in VALUES:
            if kind == "pair":
                continue
            made = await (await connection.execute(f"SELECT ({mark}::{kind})::text", (value,))).fetchone()
            assert made is not None
            seen.append((kind, recorded(kinds), made[0]))
    await check(kinds, seen)


async def test_asyncpg(kinds: Gateway) -> None:
    seen: list[tuple[str, str, str | None]] = []
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = await asyncpg.connect(host="127.0.0.1", port=kinds.port, user="ann", database="shop", ssl=context)
    try:
        await connection.execute("SET timezone TO 'UTC'")
        for kind, _, value in VALUES:
            made = await connection.fetchval(f"SELECT ($1::{kind})::text", value)
            seen.append((kind, recorded(kinds), made))
    finally:
        await connection.close()
    assert next(text for kind, text, _ in seen if kind == "mood").startswith("glad (type ")
    await check(kinds, seen)


#: Values whose binary form has to read exactly as the server's own text.
LITERALS = """
true::bool
'\\x00ff'::bytea
'süß'::text
1.5::float4
1e20::float4
0.1::float4
'-Infinity'::float4
1e15::float8
1e14::float8
1e-5::float8
0.0001::float8
-1.5e-300::float8
0::float8
1e6::float4
123456::float4
123456.789::float8
-0.5::numeric
0.000::numeric
10000.0001::numeric
'NaN'::numeric
'2024-02-29'::date
'-infinity'::date
'24:00'::time
'01:02:03.040'::time
'01:02:03.5-05:30'::timetz
'01:02+00'::timetz
'2024-02-29 12:00:00.5'::timestamp
'infinity'::timestamp
'1999-12-31 23:59:59.999999'::timestamp
'2024-02-29 12:00+00'::timestamptz
'0'::interval
'-1 day +2 hours'::interval
'1 year 2 mons 3 days 04:05:06.7'::interval
'-14 mons 1 day'::interval
'100 hours'::interval
'-1 mon'::interval
'6f1ed002-ab5f-4c8e-9a3c-1f2e3d4c5b6a'::uuid
'10.0.0.1'::inet
'10.0.0.1/8'::inet
'10.0.0.0/8'::cidr
'::1'::inet
'2001:db8::/32'::cidr
'08:00:2b:01:02:03'::macaddr
'08:00:2b:01:02:03:04:05'::macaddr8
B'101'::bit(3)
B'10101010101'::varbit
'16/B374D848'::pg_lsn
'{"a": 1}'::json
'{"a": 1}'::jsonb
'$.a[*]'::jsonpath
'[1,5)'::int4range
'empty'::int4range
'(,)'::numrange
'[2024-01-01,)'::daterange
'["2024-01-01 00:00","2024-01-02 00:00")'::tsrange
'{1,NULL,3}'::int4[]
'{{1,2},{3,4}}'::int4[]
'[5:6]={1,2}'::int4[]
'{}'::text[]
'{a,"b c","NULL",NULL,"d\\"e",""}'::text[]
'{t,f}'::bool[]
'{1.50}'::numeric[]
'{"1 day","01:00:00"}'::interval[]
'{10.0.0.1}'::inet[]
'{"\\\\x01"}'::bytea[]
'{"[1,5)"}'::int4range[]
'{"{\\"a\\": 1}"}'::jsonb[]
row(1, 'a b', NULL, '', 'q"q', '(x)')
row(row(1, 2), '{1,2}'::int4[])
'x'::char
'x'::"char"
'a'::name
7::oid
'1'::xid
4711::int8
'42'::xid8
'{"2024-02-29 12:00:00+00"}'::timestamptz[]
"""


async def test_binary_forms_read_as_the_server_writes_them(postgres: Postgres) -> None:
    expressions = LITERALS.strip().splitlines()
    dsn = f"host=127.0.0.1 port={postgres.port} dbname=shop user=app password='{PASSWORD}'"
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("SET timezone TO 'UTC'")
        pairs = []
        for expression in expressions:
            shown = []
            for form in (True, False):
                cursor = await connection.cursor(binary=form).execute(f"SELECT {expression}")
                assert cursor.pgresult is not None
                value = cursor.pgresult.get_value(0, 0)
                assert value is not None
                shown.append(readable(bytes(value), int(form), cursor.pgresult.ftype(0)))
            pairs.append((expression, *shown))
    assert [pair for pair in pairs if pair[1] != pair[2]] == []
