"""Drivers as people use them: psycopg, asyncpg, SQLAlchemy, and pgbench."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa

from tests.integration.plugin_listener import eventually, run_text
from tests.integration.postgres.conftest import RUN, Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


async def connect(gateway: Gateway, **options: object) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True, **options)  # type: ignore[arg-type]


async def test_psycopg_binds_values_and_they_are_recorded(gateway: Gateway) -> None:
    async with await connect(gateway) as connection:
        cursor = await connection.execute("SELECT id, name FROM customers WHERE id = %s AND name = %s", (3, "Name 3"))
        assert await cursor.fetchall() == [(3, "Name 3")]
    executed = [line for line in gateway.recorded("operation") if line["kind"] == "execute"]
    assert [line["arguments"] for line in executed] == [["3", "Name 3"]]


@pytest.mark.parametrize("binary", [False, True])
async def test_psycopg_sees_masked_values_of_the_right_type(gateway: Gateway, binary: bool) -> None:
    async with await connect(gateway) as connection:
        cursor = connection.cursor(binary=binary)
        await cursor.execute("SELECT id, mail, ssn, balance FROM customers WHERE id < %s ORDER BY id", (30,))
        rows = await cursor.fetchall()
    assert len(rows) == 29
    assert {(mail, ssn, balance) for _, mail, ssn, balance in rows} == {("p***@***.com", "***-**-****", 0)}
    assert gateway.recorded("done")[-1]["masked"] == 3 * 29


async def test_psycopg_prepares_after_a_few_times(gateway: Gateway) -> None:
    async with await connect(gateway) as connection:
        for number in range(1, 12):
            cursor = await connection.execute("SELECT ssn FROM customers WHERE id = %s", (number,))
            assert await cursor.fetchall() == [("***-**-****",)]


async def test_psycopg_pipeline_with_a_denial_in_its_middle(gateway: Gateway) -> None:
    async with await connect(gateway) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="Tables stay"):  # noqa: PT012 - raised as the block ends
            async with connection.pipeline():
                first = await connection.execute("SELECT 1")
                await connection.execute("DROP TABLE notes")
                await connection.execute("SELECT 2")
        assert await first.fetchone() == (1,)
        cursor = await connection.execute("SELECT 3")
        assert await cursor.fetchone() == (3,)
    assert "DROP TABLE notes" not in gateway.postgres.log.read_text()


async def test_psycopg_transaction_rolls_back_after_a_denial(gateway: Gateway) -> None:
    async with await connect(gateway) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):  # noqa: PT012 - the block is what rolls back
            async with connection.transaction():
                await connection.execute("INSERT INTO notes (body) VALUES ('never')")
                await connection.execute("DROP TABLE notes")
        cursor = await connection.execute("SELECT count(*) FROM notes WHERE body = 'never'")
        assert await cursor.fetchone() == (0,)


async def test_psycopg_copies_in_and_out(gateway: Gateway) -> None:
    gateway.postgres.direct("CREATE TABLE IF NOT EXISTS bulk (a int, b text)")
    async with await connect(gateway) as connection:
        cursor = connection.cursor()
        async with cursor.copy("COPY bulk (a, b) FROM STDIN") as copy:
            for number in range(1000):
                await copy.write_row((number, f"row {number}"))
        async with cursor.copy("COPY (SELECT id, ssn FROM customers ORDER BY id) TO STDOUT") as copy:
            rows = [row async for row in copy.rows()]
    assert gateway.postgres.direct("SELECT count(*) FROM bulk") == "1000"
    assert rows == [(str(number), "***-**-****") for number in range(1, 51)]
    kinds = [(line["kind"], line["verdict"]) for line in gateway.recorded("operation")]
    assert ("copy", "allowed") in kinds
    gateway.postgres.direct("DROP TABLE bulk")


async def test_psycopg_copy_is_denied_without_a_transfer(gateway: Gateway) -> None:
    gateway.rules = ('permit(principal, action == Action::"run", resource);',)
    async with await connect(gateway) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with connection.cursor().copy("COPY customers TO STDOUT") as copy:
                await copy.read()
        cursor = await connection.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)


async def test_psycopg_server_side_cursor(gateway: Gateway) -> None:
    async with await connect(gateway) as connection, connection.transaction(), connection.cursor("walk") as cursor:
        await cursor.execute("SELECT id, mail FROM customers ORDER BY id")
        rows = await cursor.fetchmany(7)
    assert [mail for _, mail in rows] == ["p***@***.com"] * 7


async def test_psycopg_cancels_a_statement(gateway: Gateway) -> None:
    async with await connect(gateway) as connection:
        sleeping = asyncio.ensure_future(connection.execute("SELECT pg_sleep(30)"))
        active = "SELECT query FROM pg_stat_activity WHERE state = 'active'"
        await eventually(lambda: "pg_sleep" in gateway.postgres.admin("shop", active))
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await sleeping
    await gateway.idle()
    assert [line["event"] for serving in gateway.servings for line in serving.recorder.lines(1, "jsonl")[1:]].count("cancel") == 1


async def test_asyncpg(gateway: Gateway) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = await asyncpg.connect(host="127.0.0.1", port=gateway.port, user="ann", database="shop", ssl=context)
    try:
        rows = await connection.fetch("SELECT id, mail, ssn, balance FROM customers WHERE id <= $1 ORDER BY id", 20)
        assert [row["id"] for row in rows] == list(range(1, 21))
        assert {row["ssn"] for row in rows} == {"***-**-****"}
        assert {row["balance"] for row in rows} == {0}
        async with connection.transaction():
            seen = [row["mail"] async for row in connection.cursor("SELECT mail FROM customers", prefetch=10)]
        assert seen == ["p***@***.com"] * 50
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="Tables stay"):
            await connection.execute("DROP TABLE notes")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO customers (id) VALUES ($1)", 1)
        assert await connection.fetchval("SELECT 7") == 7
    finally:
        await connection.close()


async def test_sqlalchemy(gateway: Gateway) -> None:
    def work() -> list[tuple[object, ...]]:
        url = f"postgresql+psycopg://ann@127.0.0.1:{gateway.port}/shop?sslmode=require"
        engine = sa.create_engine(url)
        customers = sa.Table("customers", sa.MetaData(), autoload_with=engine)
        with engine.begin() as connection:
            found = connection.execute(sa.select(customers.c.id, customers.c.ssn).where(customers.c.id < 3).order_by("id"))
            rows = [tuple(row) for row in found]
        with engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError, match="Tables stay"):
            connection.execute(sa.text("DROP TABLE notes"))
        engine.dispose()
        assert [column.name for column in customers.columns] == ["id", "name", "mail", "ssn", "balance"]
        return rows

    assert await asyncio.to_thread(work) == [(1, "***-**-****"), (2, "***-**-****")]


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
async def test_pgbench(gateway: Gateway, mode: str, tmp_path: Path) -> None:
    gateway.rules = (RUN,)
    gateway.options = {}
    bench = ["pgbench", "-h", "127.0.0.1", "-p", str(gateway.port), "-U", "ann"]
    initialised = await run_text([*bench, "-i", "-s", "1", "--quiet", "shop"])
    assert initialised.status == 0, initialised
    ran = await run_text([*bench, "-M", mode, "-c", "4", "-j", "2", "-t", "25", "shop"])
    assert ran.status == 0, ran
    assert "number of transactions actually processed: 100/100" in ran.out
    assert gateway.postgres.direct("SELECT count(*) FROM pgbench_history") == "100"


async def test_a_client_knows_its_own_backend(gateway: Gateway) -> None:
    async with await connect(gateway) as connection:
        told = connection.info.backend_pid
        cursor = await connection.execute("SELECT pg_backend_pid(), count(*) FROM pg_stat_activity WHERE pid = %s", (told,))
        assert await cursor.fetchone() == (told, 1)
        await connection.execute("LISTEN own")
        await connection.execute("NOTIFY own")
        assert [each.pid async for each in connection.notifies(timeout=HANG_S, stop_after=1)] == [told]


async def test_notifications_are_masked(gateway: Gateway) -> None:
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        await connection.execute("LISTEN news")
        await connection.execute("SELECT pg_notify('news', 'call ' || mail) FROM customers WHERE id = 1")
        found = [each.payload async for each in connection.notifies(timeout=HANG_S, stop_after=1)]
    assert found == ["***@***"], "only its own words are told, and a detector has looked"


async def told(gateway: Gateway, *statements: str) -> list[tuple[str, str]]:
    """Listen on ``news``, run ``statements``, and return the channels and payloads that arrive, one for each."""
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        await connection.execute("LISTEN news")
        for statement in statements:
            await connection.execute(statement)
        return [(each.channel, each.payload) async for each in connection.notifies(timeout=HANG_S, stop_after=len(statements))]


async def test_a_tagged_value_is_not_told(gateway: Gateway) -> None:
    """No detector knows a name, and no tag follows it to a channel."""
    gateway.postgres.direct("CREATE TABLE IF NOT EXISTS patients (name text); INSERT INTO patients VALUES ('Zbigniew Okonkwo')")
    gateway.options = {"columns": ["public.patients.name=personal"]}
    texts = [
        "SELECT pg_notify('news', name) FROM patients LIMIT 1",
        "SELECT pg_notify('news', upper(name) || ' Zbigniew') FROM patients LIMIT 1",
        "SELECT pg_notify('news', 'row of ' || left(name, 4) || ' 4711') FROM patients LIMIT 1",
    ]
    found = await told(gateway, *texts)
    assert found == [("news", "***"), ("news", "***"), ("news", "***")]
    flags = [set(line["flags"]) for line in gateway.recorded("operation")[1:]]  # type: ignore[call-overload]
    assert all("stores_tagged" in each for each in flags), flags


async def test_what_the_client_has_written_itself_is_told(gateway: Gateway) -> None:
    assert await told(gateway, "NOTIFY news, 'job 5 is done'") == [("news", "job 5 is done")]
    gateway.options = {"columns": []}
    assert await told(gateway, "SELECT pg_notify('news', 'order ' || (40 + 2))") == [("news", "order 42")]


async def test_what_is_revealed_is_told(gateway: Gateway) -> None:
    gateway.rules = (*gateway.rules, 'permit(principal, action == Action::"reveal", resource);')
    assert await told(gateway, "SELECT pg_notify('news', mail) FROM customers WHERE id = 1") == [("news", "person1@example.com")]


@pytest.mark.parametrize("binary", [False, True])
async def test_masked_values_of_every_type_stay_readable(gateway: Gateway, binary: bool) -> None:
    gateway.postgres.direct(
        "CREATE TABLE IF NOT EXISTS kinds (u uuid, d date, t timestamptz, n numeric, i int8, b bytea, a text[], j jsonb,"
        " f float8);"
        "TRUNCATE kinds; INSERT INTO kinds VALUES ('6f1ed002-ab5f-4c8e-9a3c-1f2e3d4c5b6a', '1980-02-03', '1980-02-03 04:05+00',"
        " 47.11, 4711, 'secret', ARRAY['one', 'two'], '{\"k\": [\"deep\", 4711]}', 4711.5)"
    )
    columns = ("u", "d", "t", "n", "i", "b", "a", "j", "f")
    gateway.options = {"columns": [f"public.kinds.{name}=personal" for name in columns]}
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        cursor = await connection.cursor(binary=binary).execute("SELECT * FROM kinds")
        (shown,) = await cursor.fetchall()
    told = " ".join(map(str, shown))
    for secret in ("6f1ed002", "1980", "4711", "47.11", "secret", "one", "deep"):
        assert secret not in told, shown
    assert [type(value).__name__ for value in shown] == [
        "UUID", "date", "datetime", "Decimal", "int", "bytes", "list", "dict", "float"
    ]  # fmt: skip


async def test_a_block_is_dynamic_and_replication_is_refused(gateway: Gateway) -> None:
    await gateway.psql("DO $$ BEGIN EXECUTE 'SELECT 1'; END $$;")
    (line,) = gateway.recorded("operation")
    assert "dynamic" in line["flags"]
    assert "unknown" in line["effects"]
    ran = await gateway.psql("IDENTIFY_SYSTEM;", dsn=gateway.dsn + " replication=database")
    assert "Replication is not available" in ran.err


async def test_a_probe_is_visible_to_policy(gateway: Gateway) -> None:
    forbid = 'forbid(principal, action == Action::"run", resource) when { context.flags.contains("probes_tagged") };'
    gateway.rules = ('permit(principal, action in [Action::"run", Action::"transfer"], resource);', forbid)
    ran = await gateway.psql("SELECT count(*) FROM customers WHERE ssn LIKE '1%';\nSELECT count(*) FROM customers WHERE id < 3;")
    assert ran.out == "2\n"
    assert "42501" in (await gateway.psql("\\set VERBOSITY verbose\nSELECT 1 FROM customers ORDER BY ssn;")).err
