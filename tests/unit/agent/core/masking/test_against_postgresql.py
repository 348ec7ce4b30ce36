"""PostgreSQL is the judge: what masking makes of a value is accepted by the type's own input and receive functions."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.masking.classes import BUILT_IN
from agent.core.masking.detectors import Detectors
from agent.core.masking.values import Scrubber, mask_value

psycopg = pytest.importorskip("psycopg")
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not BINARIES, reason="PostgreSQL is not installed"),
]

SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'alice@example.com');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN mail AS text;
"""
VALUES = [
    "true",
    "'\\x61'::bytea",
    "'a'::\"char\"",
    "'alice'::name",
    "9007199254740993::int8",
    "7::int2",
    "7::int4",
    "'x'::text",
    "7::oid",
    '\'{"a":[1,"x",true,null,{"b":1.50}]}\'::json',
    '\'{"a":[1,"x",true,null,{"b":1.50}]}\'::jsonb',
    "'<a>x</a>'::xml",
    "'10.0.0.0/8'::cidr",
    "1.5::float4",
    "'NaN'::float8",
    "'08:00:2b:01:02:03'::macaddr",
    "'08:00:2b:01:02:03:04:05'::macaddr8",
    "12.5::money",
    "'10.1.2.3/8'::inet",
    "'x'::char(8)",
    "'x'::varchar(20)",
    "'2024-05-01'::date",
    "'infinity'::date",
    "'12:30:01.5'::time",
    "'2024-05-01 12:00'::timestamp",
    "'2024-05-01 12:00+02'::timestamptz",
    "'1 mon 2 days 3 h'::interval",
    "'12:30+02'::timetz",
    "B'101'::bit(3)",
    "B'101'::varbit",
    "123456789012345678.90::numeric",
    "'NaN'::numeric",
    "gen_random_uuid()",
    "'fat & cat'::tsvector",
    "'[1,5)'::int4range",
    "'[1,5)'::int8range",
    "'[1.5,2]'::numrange",
    "'[2024-01-01,2024-02-01)'::daterange",
    "'[2024-01-01,2024-02-01)'::tsrange",
    "'[2024-01-01,2024-02-01)'::tstzrange",
    "'{[1,2),[5,6)}'::int4multirange",
    "'{}'::datemultirange",
    "ARRAY['a','b c','\"q\\\"', NULL, '', 'NULL']",
    "ARRAY[[1,2],[3,4]]",
    "'[0:1]={a,b}'::text[]",
    "'{}'::text[]",
    "ARRAY[1.5,NULL]::numeric[]",
    "ARRAY['2024-05-01'::date]",
    "ARRAY['{\"a\":1}'::jsonb]",
    "ARRAY['10.0.0.1'::inet]",
    "ARRAY[gen_random_uuid()]",
    "ARRAY['\\x6162'::bytea]",
    "ARRAY[true]",
    "ARRAY['[1,2)'::int4range]",
    "'alice@example.com'::mail",
]
OPAQUE = ["'sad'::mood", "'(1,2)'::point", "ROW(1,'x')::pair", "ARRAY['sad'::mood]"]
SECRETS = [
    "'mail alice@example.com'::text",
    "'alice@example.com'::varchar",
    '\'{"a":"alice@example.com","n":4111111111111111}\'::jsonb',
    '\'{"a":"alice@example.com"}\'::json',
    "4111111111111111::int8",
    "4111111111111111::numeric",
    "4111111111111111::float8",
    "'alice@example.com'::bytea",
    "ARRAY['alice@example.com','a,b']",
    "ARRAY[[4111111111111111]]",
    "'alice@example.com'::name",
    'ARRAY[\'{"a":"alice@example.com"}\'::jsonb]',
    "'<a>alice@example.com</a>'::xml",
    "ARRAY['alice@example.com'::bytea]",
]


@pytest.fixture(scope="module")
def connection() -> Iterator[object]:
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    folder.chmod(0o777)
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    bin_folder = BINARIES[-1].parent
    data = folder / "data"
    subprocess.run(
        [*as_user, bin_folder / "initdb", "-D", data, "-U", "probe", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    control = [*as_user, bin_folder / "pg_ctl", "-D", data, "-w"]
    try:
        subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], check=True, capture_output=True, cwd=folder)
        with psycopg.connect(f"host={folder} user=probe dbname=postgres", autocommit=True) as opened:
            opened.execute(SETUP)
            yield opened
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)


def fetched(connection: object, expression: str, form: int) -> tuple[int, bytes]:
    result = connection.pgconn.exec_params(f"SELECT {expression}".encode(), None, result_format=form)  # type: ignore[attr-defined]
    assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
    value = result.get_value(0, 0)
    assert value is not None
    return result.ftype(0), value


def accepted(connection: object, oid: int, form: int, value: bytes | None) -> bytes | None:
    """Send ``value`` as a parameter of type ``oid`` and return what PostgreSQL writes for it."""
    sent = connection.pgconn.exec_params(  # type: ignore[attr-defined]
        b"SELECT $1", [value], param_types=[oid], param_formats=[form], result_format=0
    )
    assert sent.status == psycopg.pq.ExecStatus.TUPLES_OK, sent.error_message
    return sent.get_value(0, 0)


@pytest.mark.parametrize("form", [0, 1], ids=["text", "binary"])
@pytest.mark.parametrize("expression", VALUES)
def test_a_masked_value_is_valid_in_its_type(connection: object, expression: str, form: int) -> None:
    oid, value = fetched(connection, expression, form)
    for name in BUILT_IN:
        masked = mask_value(name, oid, form, value)
        assert masked is not None
        accepted(connection, oid, form, masked)
        assert mask_value(name, oid, form, masked) == masked


@pytest.mark.parametrize("form", [0, 1], ids=["text", "binary"])
@pytest.mark.parametrize("expression", OPAQUE)
def test_a_type_that_cannot_be_masked_becomes_null(connection: object, expression: str, form: int) -> None:
    oid, value = fetched(connection, expression, form)
    assert mask_value("secret", oid, form, value) is None


@pytest.mark.parametrize("form", [0, 1], ids=["text", "binary"])
@pytest.mark.parametrize("expression", SECRETS)
def test_a_scrubbed_value_is_valid_and_holds_the_secret_no_more(connection: object, expression: str, form: int) -> None:
    oid, value = fetched(connection, expression, form)
    scrubber = Scrubber(Detectors())
    shown = scrubber.scrub_value(oid, form, value)
    assert shown != value
    assert sum(scrubber.tally.take().hits.values()) > 0
    text = accepted(connection, oid, form, shown) or b""
    for secret in (b"alice", b"4111111111111111", b"alice".hex().encode()):
        assert secret not in text
    assert scrubber.scrub_value(oid, form, shown) == shown


@pytest.mark.parametrize("form", [0, 1], ids=["text", "binary"])
@pytest.mark.parametrize("expression", [*VALUES[:-1], *OPAQUE])
def test_a_harmless_value_is_not_touched(connection: object, expression: str, form: int) -> None:
    oid, value = fetched(connection, expression, form)
    assert Scrubber(Detectors()).scrub_value(oid, form, value) == value


@pytest.mark.parametrize("form", [0, 1], ids=["text", "binary"])
def test_records_are_read(connection: object, form: int) -> None:
    oid, value = fetched(connection, "ROW(1, 'alice@example.com', ARRAY['bob@example.com'], NULL, 'x \"y\" (z)')", form)
    shown = Scrubber(Detectors()).scrub_value(oid, form, value)
    assert shown is not None
    assert b"alice" not in shown
    assert b"bob" not in shown
    masked = mask_value("email", oid, form, value)
    assert masked is not None
    assert b"alice" not in masked
    assert b"y" not in masked
