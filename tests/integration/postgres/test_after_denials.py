"""What a denial leaves behind is what an error leaves behind: the same answers through the gateway and directly.

Directly, the account may not do what is tried, so PostgreSQL itself says 42501; through the gateway, policy denies it before.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from tests.integration.postgres.conftest import RUN, Gateway
from tests.integration.postgres.server import LOGIN, PASSWORD, Postgres
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

DENY = 'forbid(principal, action == Action::"run", resource) when { context.objects.contains("public.closed") };'
NO = "DELETE FROM closed"
IN = "INSERT INTO steps VALUES ({})"
COUNT = "SELECT count(*) FROM steps"
SCRIPTS = {
    "alone": [IN.format(1), NO, COUNT],
    "in one text": [f"{IN.format(1)}; {NO}; {IN.format(2)}", COUNT],
    "first in one text": [f"{NO}; {IN.format(2)}", COUNT],
    "in a block": ["BEGIN", IN.format(1), NO, COUNT, "COMMIT", COUNT],
    "a block in one text": [f"BEGIN; {IN.format(1)}; {NO}; COMMIT", COUNT, "ROLLBACK", COUNT],
    "a block with a savepoint in one text": [
        f"START TRANSACTION READ WRITE; SAVEPOINT s; ROLLBACK TO s; {NO}",
        COUNT,
        "COMMIT",
        COUNT,
    ],
    "a block that has ended in one text": [f"BEGIN; ROLLBACK; {NO}", COUNT],
    "a block that is chained in one text": [f"BEGIN; ROLLBACK AND CHAIN; {NO}", COUNT, "ROLLBACK", COUNT],
    "a block behind it in one text": [f"{NO}; BEGIN; {IN.format(1)}", COUNT],
    "begun again in a block": ["BEGIN", f"BEGIN; {NO}", COUNT, "ROLLBACK", COUNT],
    "in a block that is rolled back": ["BEGIN", IN.format(1), NO, "ROLLBACK", COUNT],
    "behind a savepoint": [
        "BEGIN",
        IN.format(1),
        "SAVEPOINT s",
        IN.format(2),
        NO,
        "ROLLBACK TO s",
        IN.format(3),
        "COMMIT",
        COUNT,
    ],
    "beside a cursor": ["BEGIN", "DECLARE c CURSOR FOR VALUES (1), (2)", "FETCH c", NO, "FETCH c", "ROLLBACK", "FETCH c"],
    "a chain": ["BEGIN", NO, "COMMIT AND CHAIN", IN.format(1), "COMMIT", COUNT],
    "copy": ["COPY closed FROM STDIN", "COPY closed TO STDOUT", COUNT],
}


@pytest.fixture(autouse=True)
def tables(gateway: Gateway, postgres: Postgres) -> Iterator[None]:
    postgres.direct("DROP TABLE IF EXISTS steps; CREATE TABLE steps (n int)")
    postgres.admin("shop", "DROP TABLE IF EXISTS closed; CREATE TABLE closed (n int)")
    gateway.rules = (RUN, DENY)
    gateway.options = {}
    yield
    postgres.direct("DROP TABLE steps")
    postgres.admin("shop", "DROP TABLE closed")


def play(dsn: str, script: list[str]) -> list[object]:
    """Play ``script``. Returns each answer, and the state of the transaction behind it."""
    found: list[object] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for text in script:
            result = connection.pgconn.exec_(text.encode())
            rows = [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]
            state = result.error_field(pq.DiagnosticField.SQLSTATE)
            status = pq.TransactionStatus(connection.pgconn.transaction_status).name
            found.append((pq.ExecStatus(result.status).name, state, result.command_status, rows, status))
    return found


@pytest.mark.parametrize("name", SCRIPTS)
async def test_the_client_is_told_the_same(gateway: Gateway, postgres: Postgres, name: str) -> None:
    server = f"host=127.0.0.1 port={postgres.port} user={LOGIN} dbname=shop password='{PASSWORD}' sslmode=require"
    direct = await asyncio.to_thread(play, server, SCRIPTS[name])
    postgres.direct("TRUNCATE steps")
    gated = await asyncio.to_thread(play, gateway.dsn, SCRIPTS[name])
    assert "42501" in str(direct), "it was to be an error"
    assert gated == direct
    assert gateway.servings[-1].denied > 0


#: Statements that are sent together, with the messages that end their parts.
PIPELINES = {
    "one part": [IN.format(1), NO, IN.format(2), "sync"],
    "three parts": [IN.format(1), "sync", NO, IN.format(2), "sync", IN.format(3), "sync"],
    "a block": ["BEGIN", IN.format(1), NO, "COMMIT", "sync", COUNT, "sync", "ROLLBACK", "sync"],
    "a savepoint": ["BEGIN", "SAVEPOINT s", NO, "sync", "ROLLBACK TO s", IN.format(1), "COMMIT", "sync"],
    "several in a row": [NO, NO, "sync", NO, "sync"],
}


def play_together(dsn: str, script: list[str]) -> list[object]:
    """Send ``script`` at once. Returns each answer, and how many rows there are in the end."""
    found: list[object] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        raw = connection.pgconn
        raw.enter_pipeline_mode()
        for text in script:
            raw.pipeline_sync() if text == "sync" else raw.send_query_params(text.encode(), None)
        syncs = script.count("sync")
        while syncs:
            # libpq would wait without letting the gateway go on, which is in this process.
            raw.flush()
            select.select([raw.socket], [], [], 0.2)
            raw.consume_input()
            while syncs and not raw.is_busy():
                result = raw.get_result()
                if result is not None:
                    found.append((pq.ExecStatus(result.status).name, result.error_field(pq.DiagnosticField.SQLSTATE)))
                    syncs -= result.status == pq.ExecStatus.PIPELINE_SYNC
        found.append(pq.TransactionStatus(raw.transaction_status).name)
        raw.exit_pipeline_mode()
        found.append(connection.execute(COUNT).fetchone())
    return found


@pytest.mark.parametrize("name", PIPELINES)
async def test_so_it_is_in_a_pipeline(gateway: Gateway, postgres: Postgres, name: str) -> None:
    server = f"host=127.0.0.1 port={postgres.port} user={LOGIN} dbname=shop password='{PASSWORD}' sslmode=require"
    async with asyncio.timeout(HANG_S):
        direct = await asyncio.to_thread(play_together, server, PIPELINES[name])
        postgres.direct("TRUNCATE steps")
        gated = await asyncio.to_thread(play_together, gateway.dsn, PIPELINES[name])
    assert "42501" in str(direct), "it was to be an error"
    assert gated == direct
