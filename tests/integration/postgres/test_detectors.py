"""Every class that is found by its looks, on every road back from a real server: nothing of it is shown, and its twin is."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import asyncpg
import psycopg
import pytest
from psycopg import sql

from tests.integration.postgres.conftest import Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

#: Class, a value, and one of the same dress that is none.
VALUES = {
    "email": ("zoe.zimmer@example.org", "zoe.zimmer at example.org"),
    "card": ("4111 1111 1111 1111", "4111 1111 1111 1112"),
    "ssn": ("219-09-9321", "219-00-9321"),
    "iban": ("DE89370400440532013000", "DE88370400440532013000"),
    "phone": ("+14155552671", "+1415555"),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ6b2UifQ.c2lnbmF0dXJlLW9mLWl0", "eyJ.no.token"),
    "aws": ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSF"),
    "google": ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "AIzaSy"),
    "github": ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abc"),
    "pem": (
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA",
    ),
    "custom": ("EMP-4711", "EMP-471"),
}
#: Of each value, a part that no mask leaves standing.
SECRETS = {
    "email": "zimmer@",
    "card": "4111 1111 1111 1111",
    "ssn": "219-09",
    "iban": "DE8937040044",
    "phone": "+141555526",
    "jwt": "eyJzdWIi",
    "aws": "IOSFODNN",
    "google": "SyA12345",
    "github": "abcdefgh",
    "pem": "MIIEvQIBADANBgkqhk",
    "custom": "EMP-4711",
}
REVEAL = 'permit(principal, action == Action::"reveal", resource);'

Connection = psycopg.AsyncConnection[tuple[object, ...]]
Road = Callable[[Gateway, list[str]], Awaitable[str]]


@pytest.fixture
def gate(gateway: Gateway) -> Gateway:
    gateway.options = {"patterns": [r"badge=\bEMP-[0-9]{4}\b"]}
    return gateway


def literal(value: str) -> str:
    return sql.Literal(value).as_string() + "::text"


def each(one: Callable[[Connection, str], Awaitable[str]]) -> Road:
    """A road that takes one value at a time, on one connection of psycopg's."""

    async def road(gateway: Gateway, values: list[str]) -> str:
        async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
            return "\n".join([await one(connection, value) for value in values])

    return road


def selected(expression: str, *, binary: bool = False) -> Road:
    """The value is the literal ``{}`` of a query."""

    async def one(connection: Connection, value: str) -> str:
        text = "SELECT " + expression.replace("{}", literal(value))
        cursor = await connection.cursor(binary=binary).execute(text)
        return " ".join(_text(value) for row in await cursor.fetchall() for value in row)

    return each(one)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def copied(how: str) -> Road:
    async def one(connection: Connection, value: str) -> str:
        async with connection.cursor().copy(f"COPY (SELECT 'x' AS a, {literal(value)} AS b) TO STDOUT ({how})") as copy:
            return "".join([bytes(part).decode("latin-1") async for part in copy])

    return each(one)


def psql(text: str) -> Road:
    async def road(gateway: Gateway, values: list[str]) -> str:
        script = "\n".join(text.replace("{}", literal(value)) for value in values)
        ran = await gateway.psql("\\set VERBOSITY verbose\n" + script)
        return ran.out + ran.err

    return road


@each
async def returned(connection: Connection, value: str) -> str:
    cursor = await connection.execute(f"INSERT INTO notes (body) VALUES ({literal(value)}) RETURNING body")
    return str(await cursor.fetchall())


@each
async def fetched(connection: Connection, value: str) -> str:
    async with connection.transaction():
        await connection.execute(f"DECLARE c CURSOR FOR SELECT {literal(value)} AS body")
        return str(await (await connection.execute("FETCH ALL FROM c")).fetchall())


@each
async def notified(connection: Connection, value: str) -> str:
    await connection.execute("LISTEN looks")
    await connection.execute(f"SELECT pg_notify('looks', 'about ' || {literal(value)})")
    return " ".join([found.payload async for found in connection.notifies(timeout=HANG_S, stop_after=1)])


async def bound(gateway: Gateway, values: list[str]) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = await asyncpg.connect(host="127.0.0.1", port=gateway.port, user="ann", database="shop", ssl=context)
    try:
        return "\n".join([str(await connection.fetch("SELECT $1::text AS a, ARRAY[$1::text] AS b", value)) for value in values])
    finally:
        await connection.close()


_RAISE = "DO $do$ BEGIN RAISE {kind} '%', 'about ' || {} USING DETAIL = 'd ' || {}, HINT = 'h ' || {}; END $do$;"
ROADS: dict[str, Road] = {
    "text": selected("{}"),
    "binary": selected("{}", binary=True),
    "bound, asyncpg": bound,
    "varchar": selected("{}::varchar(400)"),
    "array": selected("ARRAY['x', {}]"),
    "array in binary": selected("ARRAY[ARRAY['x', {}]]", binary=True),
    "json": selected("json_build_object('k', json_build_array({}))"),
    "jsonb": selected("jsonb_build_object({}, {})"),
    "jsonb in binary": selected("jsonb_build_object('k', {})", binary=True),
    "row": selected("ROW('x', {})"),
    "row as text": selected("ROW('x', {})::text"),
    "row_to_json": selected("row_to_json(r) FROM (SELECT 7 AS n, {} AS body) r"),
    "bytea": selected("convert_to({}, 'UTF8')"),
    "xml": selected("xmlelement(name a, {})"),
    "copy text": copied("FORMAT text"),
    "copy csv": copied("FORMAT csv, HEADER"),
    "copy binary": copied("FORMAT binary"),
    "returning": returned,
    "cursor": fetched,
    "notice": psql(_RAISE.replace("{kind}", "NOTICE")),
    "error": psql(_RAISE.replace("{kind}", "EXCEPTION")),
    "error of a cast": psql("SELECT {}::bool;"),
    "notification": notified,
}


@pytest.mark.parametrize("road", ROADS)
async def test_no_class_takes_this_road(gate: Gateway, road: str) -> None:
    shown = await ROADS[road](gate, [text for both in VALUES.values() for text in both])
    kept = str(gate.record)
    leaks = [(name, where) for name, secret in SECRETS.items() for where in (shown, kept) if secret in where]
    assert leaks == []
    lost = [name for name, (_, twin) in VALUES.items() if twin.splitlines()[0] not in shown]
    assert lost == [], "what only looks alike is shown"


@pytest.mark.parametrize("road", ROADS)
async def test_the_road_is_one(gate: Gateway, road: str) -> None:
    """Without masking it shows all of them, so the other test looks where they would be."""
    gate.rules = (*gate.rules, REVEAL)
    shown = await ROADS[road](gate, [value for value, _ in VALUES.values()])
    assert [name for name, secret in SECRETS.items() if secret not in shown] == []


@pytest.mark.parametrize("patterns", [["badge"], ["badge=("], ["badge=x*"], ["Badge=x"], "badge=x", [7]])
async def test_a_pattern_that_finds_nothing_refuses_the_session(gateway: Gateway, patterns: object) -> None:
    gateway.options = {"patterns": patterns}
    ran = await gateway.psql("SELECT 1;")
    assert ran.status != 0
    assert "attern" in ran.err
    await gateway.idle()
    assert gateway.notices[-1].code == "config_invalid"
