"""Cursors that stay open behind a call: what is fetched from them is known, decided and masked like any query."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.postgres.conftest import ADVISED, RUN, Gateway
from tests.integration.postgres.server import Postgres

pytestmark = pytest.mark.servers

REVEAL = 'permit(principal, action == Action::"reveal", resource);'
ROUTINES = """
CREATE FUNCTION walks(lowest int) RETURNS refcursor LANGUAGE plpgsql AS
  $$ DECLARE c refcursor; BEGIN OPEN c FOR SELECT id, name FROM customers WHERE id >= lowest ORDER BY id; RETURN c; END $$;
CREATE FUNCTION walks_loud(c refcursor) RETURNS refcursor LANGUAGE plpgsql AS
  $$ BEGIN OPEN c FOR SELECT id, reverse(ssn) AS turned FROM customers ORDER BY id; RETURN c; END $$;
CREATE PROCEDURE gives(INOUT c refcursor) LANGUAGE plpgsql AS
  $$ BEGIN OPEN c FOR SELECT id, ssn FROM customers ORDER BY id; END $$;
CREATE FUNCTION runs(q text) RETURNS refcursor LANGUAGE plpgsql AS
  $$ DECLARE c refcursor; BEGIN OPEN c FOR EXECUTE q; RETURN c; END $$;
"""
GONE = "DROP FUNCTION IF EXISTS walks, walks_loud, runs; DROP PROCEDURE IF EXISTS gives;"
DAY = """\
BEGIN;
SELECT walks(3);
FETCH 2 IN "<unnamed portal 1>";
MOVE 3 IN "<unnamed portal 1>";
FETCH BACKWARD 1 IN "<unnamed portal 1>";
ROLLBACK;
BEGIN;
SELECT walks_loud('mine');
FETCH FORWARD 2 FROM mine;
CLOSE mine;
CALL gives('given');
FETCH 1 FROM given;
CLOSE ALL;
COMMIT;
BEGIN; SELECT walks(5); FETCH 1 IN "<unnamed portal 2>"; COMMIT;
BEGIN;
DECLARE kept CURSOR WITH HOLD FOR SELECT id, name FROM customers ORDER BY id;
COMMIT;
FETCH 2 FROM kept;
CLOSE kept;
"""


@pytest.fixture(autouse=True)
def routines(postgres: Postgres) -> Iterator[None]:
    postgres.direct(GONE + ROUTINES)
    yield
    postgres.direct(GONE)


async def test_nothing_differs_where_everything_is_revealed(gateway: Gateway) -> None:
    gateway.rules = (RUN, REVEAL)
    direct = gateway.postgres.direct(DAY)
    gated = await gateway.psql(DAY, "-v", "ON_ERROR_STOP=1")
    assert "4|Name 4" in direct
    assert (gated.out.strip(), gated.err) == (direct.strip(), "")


async def test_what_is_fetched_is_permitted_and_masked_by_the_query_behind_it(gateway: Gateway) -> None:
    gateway.rules = (ADVISED,)
    async with await psycopg.AsyncConnection.connect(gateway.dsn) as connection:
        cursor = await connection.execute("SELECT walks_loud('mine')")
        assert await (await connection.execute("FETCH 2 FROM mine")).fetchall() == [(1, "***-**-****"), (2, "***-**-****")]
        cursor = await connection.execute("CALL gives('given')")
        assert await cursor.fetchall() == [("given",)]
        assert await (await connection.execute("FETCH 1 FROM given")).fetchall() == [(1, "***-**-****")]
        await connection.commit()
        (portal,) = await (await connection.execute("SELECT walks(3)")).fetchone() or ("",)
        # Nothing is left of what other transactions had opened.
        assert await (await connection.execute(f'FETCH 2 FROM "{portal}"')).fetchall() == [(3, "Name 3"), (4, "Name 4")]
        await connection.execute(f'MOVE 1 IN "{portal}"')
        await connection.execute(f'CLOSE "{portal}"')
    fetched = [line for line in gateway.recorded("operation") if str(line["text"]).startswith('FETCH 2 FROM "')]
    assert [line["objects"] for line in fetched] == [["public.customers"]] * len(fetched)
    assert fetched


@pytest.mark.parametrize("before", [["SELECT 1"], ["SELECT walks(1)", "COMMIT", "BEGIN"], ["SELECT walks(1)", "LOAD 'plpgsql'"]])
async def test_a_cursor_that_nobody_knows_is_refused(gateway: Gateway, before: list[str]) -> None:
    gateway.rules = (RUN, 'forbid(principal, action == Action::"run", resource) when { context.effects.contains("unknown") };')
    async with await psycopg.AsyncConnection.connect(gateway.dsn) as connection:
        for text in before:
            try:
                await connection.execute(text)
            except psycopg.errors.InsufficientPrivilege:
                await connection.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute('FETCH ALL FROM "<unnamed portal 1>"')


async def test_where_a_trigger_opens_cursors_nobody_knows_whose_it_is(gateway: Gateway, postgres: Postgres) -> None:
    gateway.rules = (ADVISED,)
    postgres.direct(
        "CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ DECLARE c refcursor; BEGIN OPEN c FOR SELECT NEW.ssn; RETURN NEW; END $$"
    )
    try:
        async with await psycopg.AsyncConnection.connect(gateway.dsn) as connection:
            await connection.execute("SELECT walks(1)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute('FETCH ALL FROM "<unnamed portal 1>"')
    finally:
        postgres.direct("DROP FUNCTION fires")
