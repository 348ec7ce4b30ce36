"""Tables that others make while a session is open."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from agent.protocols.postgres.missing import REST_MS
from tests.integration.postgres.conftest import RUN, Gateway
from tests.integration.postgres.server import Postgres

pytestmark = pytest.mark.servers

NO_UNKNOWN = 'forbid(principal, action == Action::"run", resource) when { context.effects.contains("unknown") };'
SELECT = "SELECT said FROM made_beside"


@pytest.fixture
def beside(postgres: Postgres) -> Iterator[Postgres]:
    yield postgres
    postgres.direct("DROP TABLE IF EXISTS made_beside")


@pytest.fixture
async def person(gateway: Gateway) -> psycopg.AsyncConnection:
    gateway.rules = (RUN, NO_UNKNOWN)
    connection = await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True)
    await connection.execute("SELECT 1")
    return connection


async def said(person: psycopg.AsyncConnection, prepare: bool = False) -> str:
    """What the table says, or what the gateway says about it."""
    try:
        row = await (await person.execute(SELECT, prepare=prepare)).fetchone()
    except psycopg.Error as error:
        return type(error).__name__
    return str(row and row[0])


@pytest.mark.parametrize("prepare", [False, True])
async def test_they_are_found_by_the_first_statement(
    gateway: Gateway, beside: Postgres, person: psycopg.AsyncConnection, prepare: bool
) -> None:
    beside.direct("CREATE TABLE made_beside AS SELECT 'hello' AS said")
    assert await said(person, prepare) == "InsufficientPrivilege", "the catalogue has only just been read"
    gateway.servings[-1].clock_ms += REST_MS + 1
    assert await said(person, prepare) == "hello"
    await person.close()


async def test_not_inside_of_a_block(gateway: Gateway, beside: Postgres, person: psycopg.AsyncConnection) -> None:
    """Reading what the block has locked would wait for the block."""
    beside.direct("CREATE TABLE made_beside AS SELECT 'hello' AS said")
    gateway.servings[-1].clock_ms += REST_MS + 1
    await person.execute("BEGIN")
    await person.execute("ALTER TABLE notes ADD COLUMN more int")
    assert await said(person) == "InsufficientPrivilege"
    await person.execute("ROLLBACK")
    assert await said(person) == "hello"
    await person.close()


async def test_what_is_not_there_is_looked_for_less_often(
    gateway: Gateway, beside: Postgres, person: psycopg.AsyncConnection
) -> None:
    catalogues = gateway.plugin._plant.catalogues
    before, looked = catalogues.readings, []
    for _ in range(12):
        gateway.servings[-1].clock_ms += REST_MS + 1
        assert await said(person) == "InsufficientPrivilege"
        looked.append(catalogues.readings - before)
    assert looked == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]
    await person.close()
