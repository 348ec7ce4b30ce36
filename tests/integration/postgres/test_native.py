"""Native clients on the agent's own listener: the ticket is the password, inside TLS and nowhere else."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import asyncpg
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.protocols.postgres.plugin import PostgresPlugin
from agent.runtime.agent_tls import HOST_CERTIFICATE
from agent.runtime.native_tls import NativeTls
from agent.runtime.operator_tls import OperatorCertificate
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import SID, FakeDoor, FakeIdentity, FakeServing
from tests.integration.plugin_listener import eventually, run
from tests.integration.postgres.conftest import Gateway
from tests.integration.postgres.server import LOGIN, PASSWORD

pytestmark = pytest.mark.servers

TICKET = "e30." + "t" * 900 + ".sig"
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
GSS_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"


class TicketDoor(FakeDoor):
    """Opens one session to whoever has the ticket."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(None)
        self._gateway = gateway
        self.good = [TICKET]

    async def ticketed(self, ticket: str, user: str, target: str) -> FakeServing:
        self.asked.append(("ticketed", ticket, user, target))
        if ticket not in self.good or (user, target) != ("ann@example.com", "shop"):
            raise Fault("ticket_invalid", "Not good here.", hint="Get another.")
        self.good.remove(ticket)
        return self._gateway.serving()


@pytest.fixture
def door(gateway: Gateway) -> TicketDoor:
    gateway.door = TicketDoor(gateway)
    return gateway.door


@pytest.fixture
def dsn(gateway: Gateway, door: TicketDoor) -> str:
    return f"host=127.0.0.1 port={gateway.port} user=ann@example.com dbname=shop password={TICKET}"


@pytest.mark.parametrize("mode", ["require", "prefer", "allow"])
async def test_psql_with_a_ticket_as_its_password(gateway: Gateway, door: TicketDoor, dsn: str, mode: str) -> None:
    ran = await gateway.psql("SHOW application_name;\nSELECT mail FROM customers WHERE id = 1;", dsn=f"{dsn} sslmode={mode}")
    claims = gateway.servings[-1].claims
    assert ran.out == f"sallyport {claims.sid} psql\np***@***.com\n", ran
    assert door.asked == [("ticketed", TICKET, "ann@example.com", "shop")]
    assert [line["text"] for line in gateway.recorded("operation")][:1] == ["SHOW application_name"]
    assert TICKET.encode() not in b"".join(gateway.servings[-1].recorder.written.values())


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
async def test_a_modern_libpq(gateway: Gateway, dsn: str, negotiation: str) -> None:
    assert psycopg.pq.version() >= 17_00_00, "the libpq that psycopg brings can begin with TLS"
    words = f"{dsn} sslmode=require sslnegotiation={negotiation}"
    async with await psycopg.AsyncConnection.connect(words) as connection:
        cursor = await connection.execute("SELECT ssn FROM customers WHERE id = %s", (3,))
        assert await cursor.fetchall() == [("***-**-****",)]


@pytest.fixture
def operator(gateway: Gateway, folder: Path) -> OperatorCertificate:
    """A certificate of an authority that clients may know, for this address."""
    files = OperatorCertificate(folder / "agent.crt", folder / "agent.key")
    files.certificate.write_bytes((gateway.postgres.data / "server.crt").read_bytes())
    files.key.touch(0o600)
    files.key.write_bytes((gateway.postgres.data / "server.key").read_bytes())
    gateway.identity.operator = files
    gateway.plugin = PostgresPlugin(gateway.identity)
    return files


async def test_psql_verifies_the_operators_certificate(gateway: Gateway, dsn: str, operator: OperatorCertificate) -> None:
    words = f"{dsn} sslmode=verify-full sslrootcert={gateway.postgres.ca_file}"
    elsewhere = await gateway.psql("SELECT 1;", dsn=words.replace("host=127.0.0.1", "host=gateway.example hostaddr=127.0.0.1"))
    assert "does not match host name" in elsewhere.err
    ran = await gateway.psql("SELECT 1;", dsn=words)
    assert ran.out == "1\n", ran


async def test_psql_verifies_the_agents_own_root(gateway: Gateway, door: TicketDoor, dsn: str, folder: Path) -> None:
    for name, identity in (("mine", gateway.identity), ("other", FakeIdentity())):
        root = x509.load_der_x509_certificate(NativeTls(identity, lambda _: None).root)
        (folder / name).write_bytes(root.public_bytes(Encoding.PEM))
    ran = await gateway.psql("SELECT 1;", dsn=f"{dsn} sslmode=verify-ca sslrootcert={folder}/other")
    assert "certificate verify failed" in ran.err
    assert door.asked == []
    ran = await gateway.psql("SELECT 1;", dsn=f"{dsn} sslmode=verify-ca sslrootcert={folder}/mine")
    assert ran.out == "1\n", ran


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_a_client_that_knows_nothing_newer_than_p256(gateway: Gateway, door: TicketDoor, version: str) -> None:
    """What Java before 16 and Windows' own TLS offer: no Ed25519 and no X25519."""
    ran = await run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-starttls", "postgres", version, "-brief",
         "-sigalgs", "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256", "-groups", "P-256"]
    )  # fmt: skip
    said = (ran.out + ran.err).decode()
    assert "CONNECTION ESTABLISHED" in said
    assert "Signature type: ECDSA" in said or "Signature type: ecdsa_secp256r1_sha256" in said, said


async def test_without_one_nobody_is_verified_and_no_ticket_is_sent(gateway: Gateway, door: TicketDoor, dsn: str) -> None:
    ran = await gateway.psql("SELECT 1;", dsn=f"{dsn} sslmode=verify-full sslrootcert={gateway.postgres.ca_file}")
    assert "certificate verify failed" in ran.err
    assert door.asked == []


async def test_the_command_line_is_shown_the_agents_own_key(
    gateway: Gateway, door: TicketDoor, operator: OperatorCertificate
) -> None:
    gateway.sid = SID
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(SSL_REQUEST)
    assert await reader.readexactly(1) == b"S"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await writer.start_tls(context)
    shown = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    assert shown.extensions.get_extension_for_oid(HOST_CERTIFICATE)
    packet = b"\0\3\0\0user\0app\0\0"
    writer.write((len(packet) + 4).to_bytes(4) + packet)
    assert await reader.readexactly(9) == b"R\0\0\0\x08\0\0\0\3"
    writer.write(b"p" + (5 + len(TICKET)).to_bytes(4) + TICKET.encode() + b"\0")
    await reader.read()
    # It named its session: whose that is and which target is not said again.
    assert door.asked == [("ticketed", TICKET, "", "")]
    writer.close()


async def test_direct_tls_for_another_protocol_is_not_spoken_to(gateway: Gateway, door: TicketDoor) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=context)
    assert await reader.read() == b""
    writer.close()
    assert door.asked == []


async def test_without_tls_nobody_is_asked_for_a_ticket(gateway: Gateway, door: TicketDoor, dsn: str) -> None:
    ran = await gateway.psql("SELECT 1;", dsn=f"{dsn} sslmode=disable")
    assert ran.status == 2
    assert "only inside TLS" in ran.err
    assert "sslmode=require" in ran.err
    assert door.asked == []
    # The same as bytes: what comes back is an error, and no request for a password.
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    packet = b"\0\3\0\0user\0ann@example.com\0database\0shop\0\0"
    writer.write(GSS_REQUEST)
    assert await reader.readexactly(1) == b"N"
    writer.write((len(packet) + 4).to_bytes(4) + packet)
    answer = await reader.read()
    assert answer.startswith(b"E")
    assert b"C28000\0" in answer
    writer.close()


@pytest.mark.parametrize("change", [
    ("user=ann@example.com", "user=ann"),
    ("dbname=shop", "dbname=SHOP"),
    ("dbname=shop", ""),
    ("password=e30", "password=e31"),
])  # fmt: skip
async def test_a_wrong_ticket_is_refused_as_a_wrong_password_is(
    gateway: Gateway, door: TicketDoor, dsn: str, change: tuple[str, str]
) -> None:
    ran = await gateway.psql("SELECT 1;", dsn=dsn.replace(*change) + " sslmode=require")
    assert ran.status == 2
    assert "Not good here. (ticket_invalid)" in ran.err
    assert TICKET not in ran.err
    assert gateway.servings == []
    # 28P01 is what drivers take for a wrong password.
    with pytest.raises(psycopg.OperationalError) as caught:
        await psycopg.AsyncConnection.connect(dsn.replace(*change) + " sslmode=require")
    assert caught.value.sqlstate is None or caught.value.sqlstate == "28P01"


async def test_what_no_session_may_have_does_not_use_the_ticket_up(gateway: Gateway, door: TicketDoor, dsn: str) -> None:
    ran = await gateway.psql("SELECT 1;", dsn=f"{dsn} sslmode=require options='-c role=admin'")
    assert "Options at connection time" in ran.err
    assert door.asked == []
    assert (await gateway.psql("SELECT 1;", dsn=f"{dsn} sslmode=require")).out == "1\n"


async def test_a_ticket_is_one_connection(gateway: Gateway, dsn: str) -> None:
    assert (await gateway.psql("SELECT 1;", dsn=f"{dsn} sslmode=require")).out == "1\n"
    assert "ticket_invalid" in (await gateway.psql("SELECT 1;", dsn=f"{dsn} sslmode=require")).err


@pytest.mark.parametrize("direct", [False, True])
async def test_asyncpg(gateway: Gateway, door: TicketDoor, direct: bool) -> None:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=gateway.port, user="ann@example.com", database="shop", password=TICKET, ssl="require",
        direct_tls=direct,
    )  # fmt: skip
    assert await connection.fetchval("SELECT mail FROM customers WHERE id = $1", 2) == "p***@***.com"
    await connection.close()


async def test_a_cancel_request_ends_the_right_statement_and_needs_no_session(
    gateway: Gateway, door: TicketDoor, dsn: str
) -> None:
    door.good.append(TICKET)
    one, two = [await psycopg.AsyncConnection.connect(f"{dsn} sslmode=require", autocommit=True) for _ in range(2)]
    slow = [asyncio.ensure_future(each.execute("SELECT pg_sleep(100)")) for each in (one, two)]
    asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(100)%' AND state = 'active'"
    await eventually(lambda: gateway.postgres.admin("shop", asked) == "2")
    await one.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        await slow[0]
    assert gateway.postgres.admin("shop", asked) == "1"
    assert len(door.asked) == 2
    assert len(gateway.servings) == 2
    assert [line["event"] for line in gateway.recorded("cancel", 0)] == ["cancel"]
    assert gateway.recorded("cancel", 1) == []
    await two.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        await slow[1]
    for each in (one, two):
        await each.close()


async def test_a_cancel_request_with_a_wrong_key_does_nothing(gateway: Gateway, door: TicketDoor, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(f"{dsn} sslmode=require", autocommit=True) as connection:
        running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(1)"))
        before = gateway.postgres.log.read_text().count("connection received")
        for secret in (b"\0\0\0\0", b"\0" * 32, b"\0" * 3):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write((12 + len(secret)).to_bytes(4) + b"\x04\xd2\x16\x2e" + connection.info.backend_pid.to_bytes(4) + secret)
            answer = await reader.read()
            assert answer == b"" or (len(secret) < 4 and b"protocol_error" in answer)
            writer.close()
        await running
        assert gateway.postgres.log.read_text().count("connection received") == before
    assert gateway.recorded("cancel") == []


async def test_a_client_of_the_relay_is_not_cancelled_from_the_listener(gateway: Gateway, dsn: str) -> None:
    door, gateway.door = gateway.door, None
    past = f"host=127.0.0.1 port={gateway.postgres.port} user={LOGIN} dbname=shop"
    async with (
        await psycopg.AsyncConnection.connect(past, password=PASSWORD, autocommit=True) as holder,
        await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as connection,
    ):
        gateway.door = door
        await holder.execute("SELECT pg_advisory_lock(47)")
        running = asyncio.ensure_future(connection.execute("SELECT pg_advisory_lock(47)"))
        asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await eventually(lambda: gateway.postgres.admin("shop", asked) == "1")
        await connection.cancel_safe()
        await holder.execute("SELECT pg_advisory_unlock(47)")
        await running
    assert gateway.recorded("cancel") == []
