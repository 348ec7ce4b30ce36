"""The analysis against a real PostgreSQL: what it says a statement reads, changes and returns must hold there.

Random queries are grown over a small schema whose tagged columns hold marker values. The server says which relations a plan has,
whether a statement may run in a read-only transaction, and, by the markers, where values really come out.
"""

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent.core.sql import Analysis, Catalogue, Tagged, analyse, catalogue_queries, tagged
from agent.core.sql.builtin_names import COMPUTES, DESCRIBES
from agent.core.sql.builtin_relations import SYSTEM_RELATIONS
from tests.oracle.sql_queries import SCHEMA, TAGS, Grower, changes

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
SEED = int(os.environ.get("SQL_ORACLE_SEED", "7"))
QUERIES = int(os.environ.get("SQL_ORACLE_QUERIES", "1500"))
CHANGES = int(os.environ.get("SQL_ORACLE_CHANGES", "400"))
pytestmark = [pytest.mark.servers, pytest.mark.skipif(not BINARIES, reason="PostgreSQL is not installed")]


class Server:
    """A PostgreSQL of our own, on a socket in a temporary directory."""

    def __init__(self, directory: Path, binaries: Path) -> None:
        self.directory, self.binaries = directory, binaries
        self.account: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
            self.account = {"user": "postgres", "group": "postgres", "extra_groups": []}

    def start(self) -> None:
        data = str(self.directory / "data")
        initialise = [
            str(self.binaries / "initdb"),
            "-D",
            data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "-N",
            "--locale=C",
            "-E",
            "UTF8",
        ]
        subprocess.run(initialise, check=True, capture_output=True, cwd="/", **self.account)
        options = f"-k {self.directory} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
        control = [str(self.binaries / "pg_ctl"), "-D", data, "-w", "-l", str(self.directory / "log"), "-o", options]
        subprocess.run([*control, "start"], check=True, capture_output=True, cwd="/", **self.account)

    def stop(self) -> None:
        control = [str(self.binaries / "pg_ctl"), "-D", str(self.directory / "data"), "-m", "immediate", "-w", "stop"]
        subprocess.run(control, check=False, capture_output=True, cwd="/", **self.account)

    def connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(host=str(self.directory), user="postgres", dbname="postgres", autocommit=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    directory = Path(tempfile.mkdtemp(prefix="sql-oracle-", dir="/tmp"))
    running = Server(directory, BINARIES[-1].parent)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def connection(server: Server) -> "Iterator[psycopg.Connection[Any]]":
    with server.connect() as opened:
        opened.execute(SCHEMA)
        opened.execute("ANALYZE")
        opened.execute("SET search_path = app, other")
        opened.execute("SET statement_timeout = '3s'")
        yield opened


@pytest.fixture(scope="module")
def catalogue(server: Server, connection: "psycopg.Connection[Any]") -> Catalogue:
    """Fetched as the runtime would."""
    with server.connect() as opened, opened.transaction():
        opened.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        opened.execute(catalogue_queries.PREPARE)

        def rows(query: str) -> list[Any]:
            return opened.execute(query).fetchall()

        return Catalogue.build(
            relations=rows(catalogue_queries.RELATIONS),
            columns=rows(catalogue_queries.COLUMNS),
            inherits=rows(catalogue_queries.INHERITS),
            functions=rows(catalogue_queries.functions_query(opened.info.server_version)),
            operators=rows(catalogue_queries.OPERATORS),
            search_path=("app", "other"),
            user="postgres",
        )


def relations_of(plan: Any) -> set[str]:
    """Every relation that a plan names."""
    found = set()
    if isinstance(plan, dict):
        if "Relation Name" in plan:
            found.add(f"{plan['Schema']}.{plan['Relation Name']}")
        for value in plan.values():
            found |= relations_of(value)
    elif isinstance(plan, list):
        for value in plan:
            found |= relations_of(value)
    return found


def marked(cell: object) -> set[str]:
    """The classes whose markers show in a value."""
    text = str(cell).lower()
    return {name for name in TAGS.values() if f"x{name.lower()}x" in text}


def check_rows(text: str, found: Analysis, cursor: "psycopg.Cursor[Any]") -> None:
    facts: Tagged = tagged(found, TAGS)[-1]
    assert cursor.description is not None
    if facts.aligned:
        assert [column.name for column in cursor.description] == [column.name for column in found.statements[-1].outputs], text
    for row in cursor.fetchall():
        for index, cell in enumerate(row):
            assert marked(cell) <= facts.column(index), (text, index, cell, found.statements[-1].outputs)


def test_queries(connection: "psycopg.Connection[Any]", catalogue: Catalogue) -> None:
    """Relations, effects, output names and lineage of generated queries."""
    rng = random.Random(SEED)
    ran = 0
    for _ in range(QUERIES):
        text = Grower(rng).statement()
        found = analyse(text, catalogue)
        try:
            plan = connection.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {text}").fetchall()[0][0]
        except psycopg.Error:
            continue
        assert found.effects == {"read"}, (text, found.effects, found.flags)
        assert relations_of(plan if not isinstance(plan, str) else json.loads(plan)) <= found.tables, text
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ ONLY")
            try:
                with connection.transaction():
                    cursor = connection.execute(text)
                    check_rows(text, found, cursor)
            except (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.UndefinedColumn):
                raise
            except psycopg.Error:
                continue
        ran += 1
    assert ran > QUERIES * 0.5, ran


def test_changes(connection: "psycopg.Connection[Any]", catalogue: Catalogue) -> None:
    """What is called a write fails where only reading is allowed, and what comes back is tagged."""
    rng = random.Random(SEED + 1)
    refused = 0
    for _, text in zip(range(CHANGES), changes(rng), strict=False):
        found = analyse(text, catalogue)
        assert "unknown" not in found.effects, (text, found.flags)
        assert "write" in found.effects, text
        try:
            with connection.transaction(force_rollback=True):
                check = connection.execute(text)
                if check.description is not None and not text.startswith("EXPLAIN"):
                    check_rows(text, found, check)
        except psycopg.Error:
            continue
        connection.execute("BEGIN READ ONLY")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(text)
        connection.execute("ROLLBACK")
        refused += 1
    assert refused > CHANGES * 0.5, refused


def test_the_table_of_functions_covers_the_server(connection: "psycopg.Connection[Any]") -> None:
    """No volatile function of this server is taken to compute only, unless it is named here."""
    harmless = {
        "clock_timestamp", "current_query", "gen_random_uuid", "random", "timeofday", "currval", "lastval",
    }  # fmt: skip
    rows = connection.execute("SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 11 AND provolatile = 'v'").fetchall()
    suspicious = {name for (name,) in rows if name in COMPUTES and not name.startswith(("pg_", "txid_"))}
    assert suspicious == harmless, suspicious ^ harmless
    relations = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 11 AND relkind IN ('r', 'v')").fetchall()
    assert {name for (name,) in relations} <= SYSTEM_RELATIONS


def test_the_functions_of_information_schema_are_known(connection: "psycopg.Connection[Any]") -> None:
    """Drivers call them as they describe tables, and none of them is volatile."""
    theirs = "SELECT proname, provolatile::text FROM pg_proc WHERE pronamespace = 'information_schema'::regnamespace"
    volatility = dict(connection.execute(theirs).fetchall())
    assert set(volatility) <= DESCRIBES
    assert "v" not in volatility.values()


def test_functions_that_compute_run_where_only_reading_is_allowed(connection: "psycopg.Connection[Any]") -> None:
    """Every function without arguments that is said to compute does so in a read-only transaction."""
    rows = connection.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND pronargs = 0 AND prokind = 'f'"
        " AND prorettype NOT IN (2279, 3838)"
    ).fetchall()
    for (name,) in rows:
        if name not in COMPUTES:
            continue
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("SET TRANSACTION READ ONLY")
                connection.execute(f"SELECT pg_catalog.{name}()")
        except psycopg.errors.ReadOnlySqlTransaction:
            pytest.fail(name)
        except psycopg.Error:
            continue
