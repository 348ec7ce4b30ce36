"""What a database administrator does all day, through the gateway and directly: psql's commands, and the tools beside it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.postgres.conftest import RUN, Gateway
from tests.integration.postgres.server import PASSWORD, Postgres, binary
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

REVEAL = 'permit(principal, action == Action::"reveal", resource);'
SCRIPT = r"""
\d+ customers
\d+ contacts
\dt+
\di+
\df+
\dn+
\dT+
\dp
\dx
\dy
\dconfig work_mem
\da sum
\do +
\dL
\dFd simple
\dRp
\des
\db
\drds
\sv contacts
\l
\encoding
SELECT id, name FROM customers ORDER BY id LIMIT 2 \g
SELECT 'SELECT ' || n FROM generate_series(1, 3) n \gexec
SELECT id, name, balance FROM customers \gdesc
SELECT 1 AS a, 2 AS b \gset x_
SELECT count(*) FROM customers WHERE id < :x_b;
SELECT id % 3 AS r, id % 2 AS c, count(*) FROM customers GROUP BY 1, 2 ORDER BY 1, 2 \crosstabview
SELECT 1/0;
\errverbose
SELECT nope FROM customers;
\errverbose
SELECT * FROMM customers;
\errverbose
SELECT 1 !;
CREATE POLICY p ON customers AS NEITHER;
\if :x_a
\echo yes
\else
\echo no
\endif
BEGIN;
DECLARE c CURSOR FOR SELECT id, name FROM customers ORDER BY id;
FETCH 3 FROM c;
MOVE 5 IN c;
FETCH NEXT FROM c;
CLOSE c;
SELECT * FROMM customers;
SELECT 2;
ROLLBACK;
BEGIN; SAVEPOINT a; INSERT INTO notes (body) VALUES ('x'); ROLLBACK TO a; COMMIT;
LISTEN ch;
NOTIFY ch, 'hello';
UNLISTEN *;
PREPARE p(int) AS SELECT name FROM customers WHERE id = $1;
EXECUTE p(3);
DEALLOCATE p;
CREATE TEMP TABLE tt AS SELECT 1 a;
\d tt
COPY (SELECT id, name FROM customers ORDER BY id LIMIT 2) TO STDOUT WITH CSV HEADER;
\copy (SELECT id FROM customers ORDER BY id LIMIT 2) TO STDOUT
CREATE TABLE odd (a int GENERATED ALWAYS AS IDENTITY, b text CHECK (b <> ''), c int[] DEFAULT '{1}');
\d+ odd
INSERT INTO odd (b) VALUES ('one'), ('two') RETURNING *;
INSERT INTO odd (b) VALUES ('');
\copy odd(b) FROM STDIN
three
four
\.
UPDATE odd SET b = b || '!' WHERE a = 1 RETURNING a, b;
EXPLAIN (COSTS OFF) SELECT * FROM odd WHERE a = 1;
ANALYZE odd;
VACUUM odd;
REINDEX TABLE odd;
COMMENT ON TABLE odd IS 'hi';
\d+ odd
ALTER TABLE odd ADD d date;
TRUNCATE odd;
DROP TABLE odd;
DO $$ BEGIN RAISE NOTICE 'n % %', 1, 'x'; RAISE WARNING 'w' USING DETAIL = 'd', HINT = 'h'; END $$;
SET work_mem = '5MB'; SHOW work_mem;
RESET ALL;
DISCARD ALL;
SELECT pg_typeof(1), current_user, session_user, current_database();
\x on
SELECT id, name FROM customers ORDER BY id LIMIT 1;
\x off
SELECT 1; SELECT 2 \; SELECT 3;
/* c */ SELECT 5 -- d
;
TABLE notes;
VALUES (1, 2);
LOCK TABLE customers;
"""


def tool(command: list[str], text: str = "") -> str:
    """Run a program with the server's password at hand. Returns its status and everything that it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=HANG_S, check=False,
        env={**kept, "PGPASSWORD": PASSWORD, "PGSSLMODE": "require", "LC_ALL": "C"},
    )  # fmt: skip
    # Of two runs these differ by themselves: whose backend it was, and the word between which pg_dump puts its text.
    return f"{re.sub(r'PID [0-9]+|restrict [A-Za-z0-9]+', '#', done.stdout)}\nstatus {done.returncode}\n"


@pytest.fixture(autouse=True)
def everything(gateway: Gateway) -> None:
    gateway.rules, gateway.options, gateway.login = (RUN, REVEAL), {}, "admin"


async def same(gateway: Gateway, postgres: Postgres, command: list[str], text: str = "") -> str:
    """Assert that ``command``, with the place of the server behind its first word, says the same both ways. Returns that."""
    program, *arguments = command
    said = []
    for port in (postgres.port, gateway.port):
        place = ["-h", "127.0.0.1", "-p", str(port), "-U", "admin"]
        said.append(await asyncio.to_thread(tool, [program, *place, *arguments], text))
    direct, gated = said
    assert gated.splitlines() == direct.splitlines()
    return gated


async def test_psql_says_the_same(gateway: Gateway, postgres: Postgres) -> None:
    said = await same(gateway, postgres, ["psql", "-X", "-a", "shop"], SCRIPT)
    assert "HINT" in said
    assert "sallyport" not in said


async def test_dumps_are_the_same_and_can_be_restored(gateway: Gateway, postgres: Postgres, folder: Path) -> None:
    dumped = await same(gateway, postgres, [binary("pg_dump"), "shop"])
    assert "COPY public.customers" in dumped
    assert "078-05-1001" in dumped
    await same(gateway, postgres, [binary("pg_dump"), "--inserts", "-t", "customers", "shop"])
    await same(gateway, postgres, [binary("pg_dumpall"), "--globals-only", "-l", "shop"])
    archive = folder / "archive"
    place = ["-h", "127.0.0.1", "-p", str(gateway.port), "-U", "admin"]
    made = await asyncio.to_thread(tool, [binary("pg_dump"), *place, "--format=custom", "-f", str(archive), "shop"])
    assert made == "\nstatus 0\n"
    put_back = [binary("pg_restore"), *place, "--clean", "--if-exists", "-1", "-d", "shop", str(archive)]
    assert await asyncio.to_thread(tool, put_back) == "\nstatus 0\n"
    assert await same(gateway, postgres, [binary("pg_dump"), "shop"]) == dumped


async def test_tools_for_upkeep_say_the_same(gateway: Gateway, postgres: Postgres) -> None:
    for command in (["vacuumdb", "--analyze", "-j", "2"], ["reindexdb"], ["clusterdb"]):
        assert "status 0" in await same(gateway, postgres, [binary(command[0]), *command[1:], "shop"])
