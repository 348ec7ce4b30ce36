"""Attacks on the native way in: tickets that are stolen, bent and raced, and clients that never get as far as showing one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.bypass.world import World
from tests.integration.plugin_listener import eventually
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
ALICE = "alice@example.com"
FLAT = "The user name, the database or the ticket is not good here"
ASK_CLEARTEXT = b"R\0\0\0\x08\0\0\0\3"


def words(world: World, password: str, **more: str) -> str:
    host, port = world.listener()
    fields = {"host": host, "port": str(port), "user": ALICE, "dbname": "prod-db", "sslmode": "require", "password": password}
    return " ".join(f"{name}='{value}'" for name, value in (fields | more).items())


def refused(world: World, password: str, **more: str) -> str:
    with pytest.raises(psycopg.OperationalError) as caught, psycopg.connect(words(world, password, **more)):
        pass
    return str(caught.value)


def state_of(world: World, sid: str, who: str = "alice") -> str:
    status, session = world.api("GET", f"/sessions/{sid}", who=who)
    assert status == 200
    return str(session["state"])


def test_a_ticket_is_good_once_and_for_what_it_says(world: World) -> None:
    offer = world.offer("prod-db")
    for changes in ({"user": "bob@example.com"}, {"user": "alice"}, {"dbname": "prod-web"}, {"dbname": "shop"}):
        assert FLAT in refused(world, offer["ticket"], **changes)
    assert state_of(world, offer["sid"]) == "offered"
    with psycopg.connect(words(world, offer["ticket"])) as connection:
        shown = connection.execute("SELECT mail FROM customers ORDER BY id LIMIT 1").fetchone()
        assert shown is not None
        assert "***" in shown[0]
        assert FLAT in refused(world, offer["ticket"])
    assert FLAT in refused(world, offer["ticket"])


@pytest.mark.parametrize("more", [{"sslnegotiation": "direct"}, {"max_protocol_version": "latest"}, {"sslmode": "prefer"}])
def test_its_innocent_twins(world: World, more: dict[str, str]) -> None:
    with psycopg.connect(words(world, world.offer("prod-db")["ticket"], **more)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_somebody_elses_ticket_does_not_make_me_them(world: World) -> None:
    offer = world.offer("prod-db", who="pat")
    assert FLAT in refused(world, offer["ticket"])
    assert state_of(world, offer["sid"], "pat") == "offered"


def test_a_ticket_for_ssh_opens_no_database(world: World) -> None:
    offer = world.offer("prod-web")
    assert FLAT in refused(world, offer["ticket"], dbname="prod-web")
    assert FLAT in refused(world, offer["ticket"])
    assert state_of(world, offer["sid"]) == "offered"


async def test_of_many_that_race_with_one_ticket_one_gets_in(world: World) -> None:
    offer = await asyncio.to_thread(world.offer, "prod-db")
    told = await asyncio.to_thread(words, world, offer["ticket"])
    found = await asyncio.gather(*(psycopg.AsyncConnection.connect(told) for _ in range(8)), return_exceptions=True)
    inside = [each for each in found if isinstance(each, psycopg.AsyncConnection)]
    assert len(inside) == 1
    assert all(FLAT in str(each) for each in found if isinstance(each, BaseException))
    await inside[0].close()


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bent(ticket: str) -> Iterator[tuple[str, str]]:
    header, payload, signature = ticket.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = encoded(json.dumps(claims | {"sub": "mallory@example.com"}).encode())
    none = encoded(json.dumps({"alg": "none", "typ": "sallyport-ticket+jwt"}).encode())
    symmetric = encoded(b'{"alg":"HS256","typ":"sallyport-ticket+jwt"}')
    access = encoded(b'{"alg":"ES256","typ":"sallyport-access+jwt"}')
    yield "cut short", ticket[:-20]
    yield "no signature", f"{header}.{payload}."
    yield "another's claims", f"{header}.{forged}.{signature}"
    yield "no algorithm", f"{none}.{payload}."
    yield "a symmetric algorithm", f"{symmetric}.{payload}.{signature}"
    yield "nested without end", f"{encoded(b'[' * 9000)}.{payload}.{signature}"
    yield "a header that is a list", f"{encoded(b'[]')}.{payload}.{signature}"
    yield "unicode", "\u202e" + ticket
    yield "empty", " "
    yield "an access token's kind", f"{access}.{payload}.{signature}"


def test_bent_tickets_are_all_told_the_same(world: World) -> None:
    offer = world.offer("prod-db")
    for name, ticket in bent(offer["ticket"]):
        assert FLAT in refused(world, ticket), name
    assert FLAT in refused(world, world.saved()["token"]), "an access token is no ticket"
    assert state_of(world, offer["sid"]) == "offered"
    assert "internal_fault" not in world.log()
    psycopg.connect(words(world, offer["ticket"])).close()


def secured(world: World) -> ssl.SSLSocket:
    """Return a connection inside TLS that has said who it would be."""
    connection = socket.create_connection(world.listener(), timeout=HANG_S)
    connection.sendall(SSL_REQUEST)
    assert connection.recv(1) == b"S"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    inside = context.wrap_socket(connection)
    inside.sendall(startup())
    assert inside.recv(9) == ASK_CLEARTEXT
    return inside


def startup(database: bytes = b"prod-db") -> bytes:
    packet = b"\0\3\0\0user\0" + ALICE.encode() + b"\0database\0" + database + b"\0\0"
    return (len(packet) + 4).to_bytes(4) + packet


def heard(connection: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(OSError):
        while data := connection.recv(4096):
            said += data
    connection.close()
    return said


@pytest.mark.parametrize(
    "answer",
    [
        b"p\0\x10\0\0" + b"x" * 70_000,
        b"p\x7f\xff\xff\xff" + b"x" * 70_000,
        b"p\0\0\0\3",
        b"p\0\0\0\4",
        b"p\0\0\0\x08abcd",
        b"p\0\0\0\x09a\0bcd",
        b"Q\0\0\0\x0eSELECT 1;\0",
        b"p\0\0\0\x06a\0" * 2,
        b"\0" * 64,
    ],
    ids=["a megabyte", "two gigabytes", "no length", "empty", "no end", "two ends", "a query", "two passwords", "zeros"],
)
def test_what_is_no_password_is_refused_before_it_is_kept(world: World, answer: bytes) -> None:
    inside = secured(world)
    with contextlib.suppress(OSError):
        inside.sendall(answer)
    said = heard(inside)
    assert ASK_CLEARTEXT not in said
    assert b"Z\0\0\0\x05" not in said
    assert b"internal" not in said


def test_in_the_clear_nobody_is_asked_for_a_password(world: World) -> None:
    offer = world.offer("prod-db")
    assert "only inside TLS" in refused(world, offer["ticket"], sslmode="disable")
    for first in (startup(), b"\0\0\0\x08\x04\xd2\x16\x30" + startup()):
        connection = socket.create_connection(world.listener(), timeout=HANG_S)
        connection.sendall(first)
        said = heard(connection).removeprefix(b"N")
        assert said.startswith(b"E")
        assert ASK_CLEARTEXT not in said
    # Text that was put before the encrypted is not taken for the client's own (CVE-2021-23214).
    connection = socket.create_connection(world.listener(), timeout=HANG_S)
    connection.sendall(SSL_REQUEST + startup())
    said = heard(connection)
    assert b"more before TLS" in said
    assert b"R\0\0\0" not in said
    assert state_of(world, offer["sid"]) == "offered"


def test_a_flood_of_openings_starves_neither_sessions_nor_other_addresses(world: World) -> None:
    offer = world.offer("prod-db")
    host, port = world.listener()
    hello = b"\x16\3\1\2\0\1\0\1\xfc\3\3"
    openings = [b"", b"\0\0\0\x08\x04", startup()[:-4], hello, b"SSH", SSL_REQUEST]
    with psycopg.connect(words(world, offer["ticket"]), autocommit=True) as inside:
        flood = []
        for number in range(150):
            each = socket.create_connection((host, port), timeout=HANG_S)
            with contextlib.suppress(OSError):
                each.sendall(openings[number % len(openings)])
            flood.append(each)
        # Whoever was inside does not notice, and neither does somebody at another address.
        assert inside.execute("SELECT 1").fetchone() == (1,)
        elsewhere = socket.create_connection((host, port), timeout=HANG_S, source_address=("127.0.0.2", 0))
        elsewhere.sendall(SSL_REQUEST)
        assert elsewhere.recv(1) == b"S"
        elsewhere.close()
        for each in flood:
            each.close()
    psycopg.connect(words(world, world.offer("prod-db")["ticket"])).close()


def test_who_stalls_in_the_middle_of_tls_is_cut_off(world: World) -> None:
    stalled = socket.create_connection(world.listener(), timeout=HANG_S)
    stalled.sendall(b"\x16\3\1\2\0\1\0\1\xfc\3\3")
    begun = socket.create_connection(world.listener(), timeout=HANG_S)
    begun.sendall(SSL_REQUEST)
    assert begun.recv(1) == b"S"
    asked = secured(world)
    asked.settimeout(HANG_S)
    # Half a ClientHello, no ClientHello at all, and no password: all three end by the agent's own hand.
    assert heard(stalled) == b""
    assert heard(begun) == b""
    assert ASK_CLEARTEXT not in heard(asked)


async def test_a_cancel_request_without_the_key_costs_no_session(world: World) -> None:
    offer = await asyncio.to_thread(world.offer, "prod-db")
    told = await asyncio.to_thread(words, world, offer["ticket"])
    address = await asyncio.to_thread(world.listener)
    before = {each["sid"] for each in await asyncio.to_thread(world.sessions)}
    async with await psycopg.AsyncConnection.connect(told, autocommit=True) as connection:
        running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(2)"))
        for number in range(100):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"\0\0\0\x10\x04\xd2\x16\x2e" + connection.info.backend_pid.to_bytes(4) + number.to_bytes(4))
            assert await reader.read() == b""
            writer.close()
        await running
        slow = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"
        await eventually(lambda: world.stack.database.ask(asked) == "1")
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await slow
    assert {each["sid"] for each in await asyncio.to_thread(world.sessions)} == before
    await world.over(offer["sid"])
    assert [line for line in world.recorded(offer["sid"]) if '"event":"cancel"' in line] != []


def test_one_port_and_no_way_across(world: World) -> None:
    """An SSH client may not be led to a database, and what nobody speaks gets no answer."""
    run = world.run("ssh", "-o", "BatchMode=yes", "prod-web", "true")
    assert run.returncode == 0, run.stderr
    host, port = world.listener()
    key, certificate = world.home() / "id_ed25519", world.home() / "id_ed25519-cert.pub"
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", f"CertificateFile={certificate}", "IdentitiesOnly=yes"]
    command = ["ssh", "-F", "none", "-p", str(port), "-i", str(key), *(word for each in options for word in ("-o", each))]
    done = subprocess.run(
        [*command, f"prod-db@{host}", "true"], capture_output=True, text=True, timeout=HANG_S, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 126
    assert "speaks postgres" in done.stdout + done.stderr
    for first in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\0\0\x08\0\2\0\0", b"\xff" * 16):
        connection = socket.create_connection((host, port), timeout=HANG_S)
        connection.sendall(first)
        assert heard(connection) == b""


def test_sallyport_ticket_prints_what_works(world: World) -> None:
    made: dict[str, Any] = json.loads(world.run("sallyport", "ticket", "prod-db", "--json", "--reason", "INC-7").stdout)
    done = subprocess.run(["psql", "-XAtc", "SHOW application_name", made["dsn"]], capture_output=True, text=True, timeout=HANG_S)
    assert done.stdout == f"sallyport {made['sid']} psql\n", done.stderr
    again = subprocess.run(["psql", "-XAtc", "SELECT 1", made["dsn"]], capture_output=True, text=True, timeout=HANG_S)
    assert FLAT in again.stderr


async def test_tickets_are_in_no_log_and_no_recording(world: World) -> None:
    used, lost = [await asyncio.to_thread(world.offer, "prod-db") for _ in range(2)]
    told = await asyncio.to_thread(words, world, used["ticket"])
    async with await psycopg.AsyncConnection.connect(told) as connection:
        await connection.execute("SELECT 1")
    await asyncio.to_thread(refused, world, used["ticket"])
    await asyncio.to_thread(refused, world, lost["ticket"][:-1])
    await world.over(used["sid"])
    assert world.recorded(used["sid"]) != []
    places = [world.log(), world.log("cloud"), "\n".join(world.recorded(used["sid"])), json.dumps(world.rows(), default=str)]
    for offer in (used, lost):
        for part in offer["ticket"].split(".")[1:]:
            assert not any(part[:40] in place for place in places)
