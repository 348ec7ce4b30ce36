"""pgjdbc, as database tools drive it: everything that it is answered through the gateway is what it is answered directly."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.plugin_listener import run_text
from tests.integration.postgres.conftest import ADVISED, RUN, Gateway
from tests.integration.postgres.server import LOGIN, PASSWORD, Postgres

pytestmark = pytest.mark.servers

JAR = Path("/usr/share/java/postgresql.jar")
PROGRAM = Path(__file__).with_name("jdbc.py")
DENY = 'forbid(principal, action == Action::"run", resource) when { context.objects.contains("public.closed") };'
REVEAL = 'permit(principal, action == Action::"reveal", resource);'
TABLES = """
CREATE TABLE parcel (id int PRIMARY KEY, name varchar(20) NOT NULL);
INSERT INTO parcel VALUES (1, 'one'), (2, 'two');
CREATE TABLE line (
  id serial PRIMARY KEY, parcel int NOT NULL REFERENCES parcel ON DELETE CASCADE, since timestamptz DEFAULT now());
CREATE INDEX line_parcel ON line (parcel);
CREATE TYPE colour AS ENUM ('red', 'blue');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE FUNCTION adds(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b';
CREATE FUNCTION walks() RETURNS refcursor LANGUAGE plpgsql AS
  $$ DECLARE c refcursor; BEGIN OPEN c FOR SELECT id, name FROM parcel ORDER BY id; RETURN c; END $$;
CREATE PROCEDURE does(x int) LANGUAGE sql AS 'SELECT 1';
"""
GONE = """
DROP TABLE IF EXISTS line, parcel; DROP TYPE IF EXISTS colour, pair; DROP DOMAIN IF EXISTS positive;
DROP FUNCTION IF EXISTS adds, walks; DROP PROCEDURE IF EXISTS does;
"""
#: Properties of the driver that change what it sends. The steps are all of them, or those named.
MODES: list[tuple[dict[str, str], tuple[str, ...]]] = [
    ({"prepareThreshold": "3"}, ()),
    ({"preferQueryMode": "simple"}, ("metadata", "prepared", "several", "batch", "keys", "savepoint", "fetched", "errors",
      "denied", "denied_in_a_batch", "denied_in_a_block")),
    # Prepared, described and asked for in binary from the first time on, and cached.
    ({"prepareThreshold": "-1", "preferQueryMode": "extendedCacheEverything"}, ("described", "prepared", "types", "several",
      "batch", "keys", "savepoint", "fetched", "called", "errors", "denied", "denied_in_a_batch", "denied_in_a_block")),
    ({"prepareThreshold": "0", "binaryTransfer": "false", "reWriteBatchedInserts": "true", "autosave": "always",
      "defaultRowFetchSize": "3"}, ("prepared", "types", "several", "batch", "keys", "savepoint", "fetched", "errors", "denied",
      "denied_in_a_batch", "denied_in_a_block")),
    ({"preferQueryMode": "extendedForPrepared", "prepareThreshold": "1"}, ("prepared", "types", "batch", "keys", "fetched",
      "called", "denied", "denied_in_a_batch", "denied_in_a_block")),
]  # fmt: skip


@pytest.fixture(autouse=True)
def tables(gateway: Gateway, postgres: Postgres) -> Iterator[None]:
    postgres.direct(GONE + TABLES)
    postgres.admin("shop", "DROP TABLE IF EXISTS closed; CREATE TABLE closed (n int)")
    yield
    postgres.direct(GONE)
    postgres.admin("shop", "DROP TABLE closed")


@pytest.fixture(scope="module", autouse=True)
def jar() -> None:
    if not JAR.exists():
        pytest.fail("pgjdbc is missing: apt-get install libpostgresql-jdbc-java default-jre-headless")


async def answers(connections: list[dict[str, object]]) -> list[dict[str, object]]:
    """What pgjdbc is answered on each of ``connections``."""
    ran = await run_text([sys.executable, str(PROGRAM)], json.dumps({"jar": str(JAR), "connections": connections}))
    assert ran.status == 0, ran.err[-3000:]
    return [json.loads(line) for line in ran.out.splitlines()]


def connection(port: int, user: str, password: str, properties: dict[str, str], steps: tuple[str, ...]) -> dict[str, object]:
    made = {"user": user, "password": password, "sslmode": "require", "ApplicationName": "DBeaver 24 - Main"}
    return {"url": f"jdbc:postgresql://127.0.0.1:{port}/shop", "properties": made | properties, "steps": steps}


async def test_everything_is_as_it_is_directly(gateway: Gateway, postgres: Postgres) -> None:
    gateway.rules = (RUN, REVEAL, DENY)
    asked = []
    for properties, steps in MODES:
        asked.append(connection(postgres.port, LOGIN, PASSWORD, properties, steps))
        asked.append(connection(gateway.port, "ann", "", properties, steps))
    found = await answers(asked)
    assert len(found) == len(asked)
    for (properties, steps), direct, gated in zip(MODES, found[::2], found[1::2], strict=True):
        assert list(direct) == list(gated)
        assert "42501" in str(direct["denied"]), "it was to be an error"
        if not steps:
            # Calls of functions by number are refused, which is how the driver works with large objects.
            assert (direct.pop("large_object"), gated.pop("large_object")) == (True, ["0A000", "", []])
        for step in direct:
            assert gated[step] == direct[step], (properties, step)


async def test_the_advised_rules_let_tools_describe_tables_and_masked_values_stay_valid(
    gateway: Gateway, postgres: Postgres
) -> None:
    gateway.rules = (ADVISED,)
    asked = [connection(postgres.port, LOGIN, PASSWORD, {}, ("metadata", "called"))]
    modes = [{"preferQueryMode": "simple"}, {"prepareThreshold": "-1"}]
    asked += [connection(gateway.port, "ann", "", mode, ("metadata", "prepared")) for mode in modes]
    # Where a call gives back a cursor, the driver fetches what is in it.
    asked.append(connection(gateway.port, "ann", "", {}, ("called",)))
    direct, *gated, calling = await answers(asked)
    assert calling == {"called": direct["called"]}
    for each in gated:
        assert each["metadata"] == direct["metadata"]
        masked = [[str(number), f"Name {number}", "p***@***.com", "***-**-****", "0"] for number in range(1, 8)]
        assert each["prepared"] == masked
