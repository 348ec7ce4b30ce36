"""A program that works through pgjdbc as database tools do, and tells what it was answered. Its JVM is its own (JPype).

Reads from its standard input, as JSON, the driver's jar and a list of connections: an URL, the driver's properties, and the names
of the steps to take. Writes the answers of each as one line of JSON: by step, what came of it, or its error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jpype
import jpype.imports

ASKED = json.load(sys.stdin)
# A small, quick JVM: it lives for seconds, beside many tests.
jpype.startJVM("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx128m", classpath=[ASKED["jar"]], convertStrings=True)

from java.io import StringReader, StringWriter  # type: ignore[import-not-found]  # noqa: E402 - there is no Java before this line
from java.math import BigDecimal  # type: ignore[import-not-found]  # noqa: E402
from java.sql import (  # type: ignore[import-not-found]  # noqa: E402
    BatchUpdateException,
    Date,
    DriverManager,
    ResultSet,
    SQLException,
    Statement,
    Timestamp,
    Types,
)
from java.util import UUID, Properties  # type: ignore[import-not-found]  # noqa: E402
from org.postgresql import PGConnection  # type: ignore[import-not-found]  # noqa: E402

Step = Callable[[Any], Any]
STEPS: dict[str, Step] = {}


def step(work: Step) -> Step:
    STEPS[work.__name__] = work
    return work


def rows(result: Any, *, columns: tuple[int, ...] = ()) -> list[list[str | None]]:
    """Every row of ``result`` as text, or some of its columns."""
    wanted = columns or range(1, result.getMetaData().getColumnCount() + 1)
    found = []
    while result.next():
        values = [result.getString(column) for column in wanted]
        found.append([None if value is None else str(value) for value in values])
    result.close()
    return found


def told(error: Any) -> list[Any]:
    """What an exception says, without the words of whoever denied it."""
    state = str(error.getSQLState())
    words = str(error.getMessage()).split("\n")
    place = [word.strip() for word in words if "Position" in word]
    return [state, "" if "42501" in state or state == "0A000" else words[0], place]


def trying(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except SQLException as error:
        return told(error)


def query(connection: Any, text: str) -> list[list[str | None]]:
    statement = connection.createStatement()
    found = rows(statement.executeQuery(text))
    statement.close()
    return found


def update(connection: Any, text: str) -> int:
    statement = connection.createStatement()
    found = int(statement.executeUpdate(text))
    statement.close()
    return found


def in_block(work: Step) -> Step:
    def wrapped(connection: Any) -> Any:
        connection.setAutoCommit(False)
        try:
            return work(connection)
        finally:
            connection.rollback()
            connection.setAutoCommit(True)

    wrapped.__name__ = work.__name__
    return wrapped


# -- what a tool's tree of objects is made of --------------------------------------------------------------------------------


@step
def metadata(connection: Any) -> Any:
    about = connection.getMetaData()
    return {
        "version": str(about.getDatabaseProductVersion()),
        "schemas": rows(about.getSchemas()),
        "catalogs": rows(about.getCatalogs()),
        "tables": rows(about.getTables(None, "public", "%", None)),
        "of the system": len(rows(about.getTables(None, "pg_catalog", "%", None))),
        "columns": rows(about.getColumns(None, "public", "%", "%")),
        "primary keys": rows(about.getPrimaryKeys(None, "public", "line")),
        "imported keys": rows(about.getImportedKeys(None, "public", "line")),
        "exported keys": rows(about.getExportedKeys(None, "public", "parcel")),
        "cross": rows(about.getCrossReference(None, "public", "parcel", None, "public", "line")),
        # Behind the eleventh column stand estimates, which a vacuum changes.
        "indexes": rows(about.getIndexInfo(None, "public", "line", False, True), columns=(3, 4, 6, 8, 9, 10)),
        "functions": rows(about.getFunctions(None, "public", "%")),
        "of functions": rows(about.getFunctionColumns(None, "public", "%", "%")),
        "procedures": rows(about.getProcedures(None, "public", "%")),
        "of procedures": rows(about.getProcedureColumns(None, "public", "%", "%")),
        "types": len(rows(about.getTypeInfo())),
        "own types": rows(about.getUDTs(None, "public", "%", None)),
        "privileges": rows(about.getTablePrivileges(None, "public", "customers")),
        "of columns": rows(about.getColumnPrivileges(None, "public", "customers", "%")),
        "best": rows(about.getBestRowIdentifier(None, "public", "customers", 1, True)),
        "keywords": str(about.getSQLKeywords()),
    }


@step
def described(connection: Any) -> Any:
    prepared = connection.prepareStatement("SELECT id, name FROM customers WHERE id = ? AND name = ?")
    values, result = prepared.getParameterMetaData(), prepared.getMetaData()
    return [
        [str(values.getParameterTypeName(at)) for at in (1, 2)],
        [[str(result.getColumnName(at)), str(result.getTableName(at)), int(result.isNullable(at))] for at in (1, 2)],
    ]


# -- statements --------------------------------------------------------------------------------------------------------------


@step
def prepared(connection: Any) -> Any:
    statement = connection.prepareStatement("SELECT id, name, mail, ssn, balance FROM customers WHERE id = ? AND name LIKE ?")
    found = []
    for number in range(1, 8):
        statement.setInt(1, number)
        statement.setString(2, "Name%")
        found += rows(statement.executeQuery())
    statement.close()
    return found


@step
def types(connection: Any) -> Any:
    text = "SELECT ?::int8, ?::numeric, ?::timestamptz, ?::date, ?::uuid, encode(?::bytea, 'hex'), ?::bool, ?::float8, ?::text[]"
    statement = connection.prepareStatement(text)
    found = []
    for number in range(6):
        statement.setLong(1, 2**40 + number)
        statement.setBigDecimal(2, BigDecimal("12345.678"))
        statement.setTimestamp(3, Timestamp.valueOf("2024-01-02 03:04:05.678"))
        statement.setDate(4, Date.valueOf("2024-02-29"))
        statement.setObject(5, UUID.fromString("6f1ed002-ab5f-4c8e-9a3c-1f2e3d4c5b6a"))
        statement.setBytes(6, jpype.JArray(jpype.JByte)(b"\0\1\2abc"))
        statement.setBoolean(7, number % 2 == 0)
        statement.setDouble(8, 1.5e300)
        statement.setArray(9, connection.createArrayOf("text", ["a", "b,{}"]))
        found += rows(statement.executeQuery())
    statement.close()
    return found


@step
def several(connection: Any) -> Any:
    statement = connection.createStatement()
    found: list[Any] = []
    is_result = statement.execute("SELECT 1; SELECT 2; UPDATE parcel SET name = name WHERE id < 3; SELECT 'x'")
    while is_result or statement.getUpdateCount() != -1:
        found.append(rows(statement.getResultSet()) if is_result else int(statement.getUpdateCount()))
        is_result = statement.getMoreResults()
    return found


@step
@in_block
def batch(connection: Any) -> Any:
    statement = connection.prepareStatement("INSERT INTO parcel (id, name) VALUES (?, ?)")
    for number in range(200, 240):
        statement.setInt(1, number)
        statement.setString(2, f"n{number}")
        statement.addBatch()
    counts = [int(count) for count in statement.executeBatch()]
    return [counts, query(connection, "SELECT count(*), min(name), max(name) FROM parcel WHERE id >= 200")]


@step
@in_block
def keys(connection: Any) -> Any:
    update(connection, "ALTER SEQUENCE line_id_seq RESTART")
    every = connection.prepareStatement("INSERT INTO line (parcel) VALUES (?)", Statement.RETURN_GENERATED_KEYS)
    every.setInt(1, 1)
    found = [[int(every.executeUpdate()), rows(every.getGeneratedKeys(), columns=(1, 2))]]
    named = connection.prepareStatement("INSERT INTO line (parcel) VALUES (?)", jpype.JArray(jpype.JString)(["id"]))
    for _ in range(3):
        named.setInt(1, 2)
        named.addBatch()
    found.append([[int(count) for count in named.executeBatch()], rows(named.getGeneratedKeys())])
    return found


@step
@in_block
def savepoint(connection: Any) -> Any:
    update(connection, "INSERT INTO parcel VALUES (500, 'a')")
    mark = connection.setSavepoint("mark")
    found = [trying(lambda: update(connection, "INSERT INTO parcel VALUES (500, 'b')"))]
    connection.rollback(mark)
    unnamed = connection.setSavepoint()
    update(connection, "INSERT INTO parcel VALUES (501, 'c')")
    connection.releaseSavepoint(unnamed)
    return [*found, query(connection, "SELECT id, name FROM parcel WHERE id >= 500 ORDER BY id")]


@step
@in_block
def fetched(connection: Any) -> Any:
    statement = connection.prepareStatement("SELECT id, name FROM customers ORDER BY id")
    statement.setFetchSize(7)
    found: list[Any] = [rows(statement.executeQuery())]
    scrolling = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)
    result = scrolling.executeQuery("SELECT id FROM customers ORDER BY id")
    for move in (result.last, result.first):
        move()
        found.append([int(result.getRow()), int(result.getInt(1))])
    return found


@step
@in_block
def updated_in_place(connection: Any) -> Any:
    statement = connection.createStatement(ResultSet.TYPE_SCROLL_SENSITIVE, ResultSet.CONCUR_UPDATABLE)
    result = statement.executeQuery("SELECT id, name FROM parcel WHERE id = 1")
    result.next()
    result.updateString(2, "changed")
    result.updateRow()
    result.refreshRow()
    return str(result.getString(2))


@step
@in_block
def called(connection: Any) -> Any:
    adding = connection.prepareCall("{? = call adds(?, ?)}")
    adding.registerOutParameter(1, Types.INTEGER)
    adding.setInt(2, 3)
    adding.setInt(3, 4)
    adding.execute()
    walking = connection.prepareCall("{? = call walks()}")
    walking.registerOutParameter(1, Types.OTHER)
    walking.execute()
    return [int(adding.getInt(1)), rows(jpype.JObject(walking.getObject(1), ResultSet))]


@step
@in_block
def copied(connection: Any) -> Any:
    copying = connection.unwrap(PGConnection).getCopyAPI()
    taken = int(copying.copyIn("COPY parcel FROM STDIN WITH (FORMAT csv)", StringReader("900,x\n901,y\n")))
    shown = StringWriter()
    given = int(copying.copyOut("COPY (SELECT id, name FROM parcel WHERE id >= 900 ORDER BY 1) TO STDOUT", shown))
    return [taken, given, str(shown.toString())]


@step
def notified(connection: Any) -> Any:
    update(connection, "LISTEN news")
    update(connection, "NOTIFY news, 'fresh'")
    return [str(each.getParameter()) for each in connection.unwrap(PGConnection).getNotifications(10_000)]


@step
def settings(connection: Any) -> Any:
    connection.setClientInfo("ApplicationName", "DBeaver - Main")
    connection.setReadOnly(True)
    refused = trying(lambda: update(connection, "DELETE FROM line WHERE id = 0"))
    connection.setReadOnly(False)
    connection.setTransactionIsolation(8)
    connection.setSchema("public")
    return [refused, bool(connection.isValid(60)), int(connection.getTransactionIsolation()), str(connection.getSchema())]


# -- what fails --------------------------------------------------------------------------------------------------------------


@step
def errors(connection: Any) -> Any:
    texts = ["SELECT nothere FROM customers", "SELEC 1", "SELECT 1/0", "INSERT INTO parcel VALUES (1, 'dup')", "SELECT 'x'::int"]
    statement = connection.createStatement()
    found = [trying(lambda text=text: rows(statement.executeQuery(text))) for text in texts]
    statement.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    return [*found, str(statement.getWarnings().getMessage())]


@step
def denied(connection: Any) -> Any:
    statement = connection.prepareStatement("DELETE FROM closed WHERE n = ?")
    found = []
    for number in range(7):
        statement.setInt(1, number)
        found.append(trying(statement.executeUpdate))
    return [*found, query(connection, "SELECT 2")]


@step
def denied_in_a_batch(connection: Any) -> Any:
    statement = connection.createStatement()
    for text in ("INSERT INTO parcel VALUES (600, 'a')", "UPDATE closed SET n = 1", "INSERT INTO parcel VALUES (601, 'b')"):
        statement.addBatch(text)
    try:
        return [int(count) for count in statement.executeBatch()]
    except BatchUpdateException as error:
        counts = [int(count) for count in error.getUpdateCounts()]
        return [counts, told(error), query(connection, "SELECT count(*) FROM parcel WHERE id >= 600")]
    finally:
        update(connection, "DELETE FROM parcel WHERE id >= 600")


@step
@in_block
def denied_in_a_block(connection: Any) -> Any:
    update(connection, "INSERT INTO parcel VALUES (600, 'a')")
    refused = trying(lambda: update(connection, "DELETE FROM closed WHERE n = 1"))
    after = trying(lambda: query(connection, "SELECT count(*) FROM parcel WHERE id >= 600"))
    ended = trying(connection.commit)
    found = [refused, after, ended, query(connection, "SELECT count(*) FROM parcel WHERE id >= 600")]
    update(connection, "DELETE FROM parcel WHERE id >= 600")
    connection.commit()
    return found


@step
def timed_out(connection: Any) -> Any:
    statement = connection.createStatement()
    statement.setQueryTimeout(1)
    return [trying(lambda: rows(statement.executeQuery("SELECT pg_sleep(600)"))), query(connection, "SELECT 1")]


@step
@in_block
def large_object(connection: Any) -> Any:
    return trying(lambda: int(connection.unwrap(PGConnection).getLargeObjectAPI().createLO()) > 0)


def main() -> None:
    for asked in ASKED["connections"]:
        properties = Properties()
        for name, value in asked["properties"].items():
            properties.setProperty(name, value)
        connection = DriverManager.getConnection(asked["url"], properties)
        found = {name: trying(partial(STEPS[name], connection)) for name in asked["steps"] or STEPS}
        connection.close()
        sys.stdout.write(json.dumps(found) + "\n")


main()
