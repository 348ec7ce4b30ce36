"""How clients get in, how the gateway gets in, and how either is refused."""

from __future__ import annotations

import asyncio
import ssl

import asyncssh
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.runtime.agent_tls import HOST_CERTIFICATE
from agent.runtime.serving import Credential
from chalicelib.contracts.faults import Notice
from tests.integration.plugin_listener import eventually
from tests.integration.postgres.conftest import Gateway
from tests.integration.postgres.server import PASSWORD

pytestmark = pytest.mark.servers

PLAIN = " sslmode=disable"


async def test_the_key_of_the_tls_connection_is_the_one_that_the_ssh_ca_vouches_for(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"\0\0\0\x08\x04\xd2\x16\x2f")
    assert await reader.readexactly(1) == b"S"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await writer.start_tls(context)
    shown = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    writer.close()
    vouched = asyncssh.import_certificate(shown.extensions.get_extension_for_oid(HOST_CERTIFICATE).value.public_bytes())
    assert vouched.signing_key.export_public_key().decode().strip() == gateway.identity.ssh_ca
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    line = vouched.key.export_public_key()
    assert serialization.load_ssh_public_key(line).public_bytes(*raw) == shown.public_key().public_bytes(*raw)


async def test_through_the_relay_nothing_is_said_in_clear(gateway: Gateway) -> None:
    gateway.path = "relay"
    ran = await gateway.psql("SELECT 1;", dsn=gateway.dsn + PLAIN)
    assert "needs TLS" in ran.err
    assert (await gateway.psql("SELECT 1;")).out == "1\n"


@pytest.mark.parametrize("mode", ["disable", "require", "verify-full"])
async def test_every_sslmode_reaches_the_server(gateway: Gateway, mode: str) -> None:
    gateway.options = {"sslmode": mode}
    ran = await gateway.psql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid();")
    assert ran.out == ("f\n" if mode == "disable" else "t\n"), ran


async def test_a_certificate_of_somebody_else_is_refused(gateway: Gateway) -> None:
    gateway.options = {"ca_file": None}
    ran = await gateway.psql("SELECT 1;")
    assert "certificate of shop was not accepted" in ran.err
    assert [notice.code for notice in gateway.servings[-1].target_notices] == ["target_host_key"]


@pytest.mark.parametrize(("login", "mode", "works"), [
    ("md5user", "disable", True),
    ("clear", "verify-full", True),
    ("clear", "require", False),
    ("clear", "disable", False),
])  # fmt: skip
async def test_older_ways_to_log_in(gateway: Gateway, login: str, mode: str, works: bool) -> None:
    gateway.options = {"sslmode": mode}
    gateway.login = login
    ran = await gateway.psql("SELECT 1;")
    assert (ran.out == "1\n") is works, ran
    assert works or "asks for the password in clear" in ran.err


async def test_a_wrong_password_is_the_targets_matter_and_shows_nothing(gateway: Gateway) -> None:
    gateway.credential = Credential("password", b"wrong " + PASSWORD.encode())
    ran = await gateway.psql("SELECT 1;")
    assert "refused the credential for app" in ran.err
    assert PASSWORD not in ran.err
    await gateway.idle()
    assert [notice.code for notice in gateway.notices] == ["target_login"]


@pytest.mark.parametrize(("extra", "words"), [
    (" options='-c role=admin'", "Options at connection time"),
    (" replication=database", "Replication is not available"),
    (" client_encoding=SJIS", "Only UTF8"),
])  # fmt: skip
async def test_what_nobody_may_ask_for_as_they_connect(gateway: Gateway, extra: str, words: str) -> None:
    ran = await gateway.psql("SELECT 1;", dsn=gateway.dsn + extra)
    assert words in ran.err
    assert ran.out == ""


async def test_a_search_path_of_the_connections_own(gateway: Gateway) -> None:
    """``currentSchema`` of JDBC, ``server_settings`` of asyncpg: what a name means follows it, and RESET returns to it."""
    gateway.postgres.admin("shop", "CREATE SCHEMA IF NOT EXISTS quiet AUTHORIZATION app")
    gateway.postgres.direct("CREATE TABLE IF NOT EXISTS quiet.customers (id int, ssn text)")
    gateway.postgres.direct("TRUNCATE quiet.customers; INSERT INTO quiet.customers VALUES (1, 'no tag')")
    read = "SELECT ssn FROM customers WHERE id = 1;"
    text = f"{read}\nSET search_path = public;\n{read}\nRESET search_path;\n{read}\nDISCARD ALL;\n{read}"
    ran = await gateway.psql(text, dsn=f"{gateway.dsn} options='-c search_path=quiet,public'")
    assert ran.out.splitlines() == ["no tag", "***-**-****", "no tag", "no tag"], ran
    reads = [line["objects"] for line in gateway.recorded("operation") if "SELECT" in str(line["text"])]
    assert reads == [["quiet.customers"], ["public.customers"], ["quiet.customers"], ["quiet.customers"]]
    ran = await gateway.psql(read)
    assert ran.out == "***-**-****\n"


async def test_another_database_is_another_target(gateway: Gateway) -> None:
    ran = await gateway.psql("SELECT 1;", dsn=gateway.dsn.replace("dbname=shop", "dbname=postgres"))
    assert "This target is the database shop" in ran.err


async def test_a_session_that_ends_takes_its_statement_with_it(gateway: Gateway) -> None:
    running = asyncio.ensure_future(gateway.psql("SELECT pg_sleep(30);"))
    asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(30)%' AND state = 'active'"
    await eventually(lambda: gateway.postgres.admin("shop", asked) == "1")
    gateway.servings[-1].ended.set_result(Notice("session_killed", "Revoked."))
    ran = await running
    assert "Revoked." in ran.err
    await gateway.idle()
    assert gateway.notices[-1].code == "session_killed"
    await eventually(lambda: gateway.postgres.admin("shop", asked) == "0")


async def test_what_cannot_be_recorded_never_reaches_the_server(gateway: Gateway) -> None:
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection:
        await connection.execute("SELECT 1")
        assert gateway.servings[-1].recorder.size()
        gateway.servings[-1].recorder.failing = True
        with pytest.raises(psycopg.Error, match="cannot be written"):
            await connection.execute("SELECT 'unrecorded statement'")
    assert "unrecorded statement" not in gateway.postgres.log.read_text()


async def test_the_password_is_nowhere(gateway: Gateway) -> None:
    ran = await gateway.psql("SELECT 1;\nSELECT oops;")
    assert PASSWORD not in ran.out + ran.err
    assert PASSWORD.encode() not in b"".join(gateway.servings[-1].recorder.written.values())


@pytest.mark.parametrize("form", ["csv", "csv, header"])
async def test_copy_in_csv_is_masked(gateway: Gateway, form: str) -> None:
    ran = await gateway.psql(f"COPY (SELECT id, mail, ssn FROM customers ORDER BY id LIMIT 2) TO STDOUT WITH (FORMAT {form});")
    assert ran.out.replace('"', "").endswith("1,p***@***.com,***-**-****\n2,p***@***.com,***-**-****\n"), ran


async def test_copy_in_another_encoding_is_not_shown(gateway: Gateway) -> None:
    ran = await gateway.psql("COPY (SELECT * FROM customers) TO STDOUT WITH (ENCODING 'LATIN1');")
    assert "cannot be masked" in ran.err
    assert ran.out == ""
