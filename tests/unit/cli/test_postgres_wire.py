from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.postgres import login, messages
from chalicelib.contracts.faults import Fault, Notice
from cli import postgres_wire as wire


def packet(body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4) + body


def test_questions_for_encryption() -> None:
    assert wire.read_hello(wire.SSL_REQUEST).kind == "encrypt"
    assert wire.read_hello(packet((80877104).to_bytes(4))).kind == "encrypt"


def test_a_startup_as_the_agent_reads_it() -> None:
    raw = messages.startup({"user": "app", "database": "prod-db"})
    hello = wire.read_hello(raw)
    assert (hello.kind, hello.raw) == ("startup", raw)
    assert hello.parameters == {"user": "app", "database": "prod-db"} == login.read_hello(raw[4:]).parameters


@pytest.mark.parametrize(
    ("asked", "database"), [({}, "prod-db"), ({"database": "app"}, "prod-db"), ({"database": "else"}, "else")]
)
def test_a_client_that_names_no_database_means_the_target(asked: dict[str, str], database: str) -> None:
    hello = wire.read_hello(messages.startup({"user": "app", "application_name": "x", **asked}))
    read = login.read_hello(wire.startup(hello, "prod-db")[4:])
    assert read.parameters == {"user": "app", "application_name": "x", "database": database}
    assert read.minor == 0


@pytest.mark.parametrize("asked", [{"replication": "true", "database": "replication"}, {"replication": "database"}])
def test_a_replication_connection_is_passed_on_as_one(asked: dict[str, str]) -> None:
    read = login.read_hello(wire.startup(wire.read_hello(messages.startup({"user": "app", **asked})), "prod-db")[4:])
    wished = login.wishes(read.parameters, "shop", "prod-db")
    assert (wished.replication, wished.database) == (asked["replication"], "shop")


def test_a_cancel_request() -> None:
    raw = messages.cancel(4711, b"\1\2\3\4")
    assert wire.read_hello(raw) == wire.Hello("cancel", raw, key=(4711, b"\1\2\3\4"))


@pytest.mark.parametrize(
    "raw", [b"GET / HTTP/1.1\r\n", packet(b""), packet((80877103).to_bytes(4) + b"x"), packet(b"\0\2\0\0\0\0")]
)
def test_what_is_no_client(raw: bytes) -> None:
    with pytest.raises(Fault, match="not a client of PostgreSQL"):
        wire.read_hello(raw)


@given(st.binary(max_size=200))
def test_any_packet_is_read_or_refused(body: bytes) -> None:
    try:
        read = wire.read_hello(packet(body)).raw
    except Fault as fault:
        read = fault.code.encode()
    assert read in {packet(body), b"protocol_error"}


def test_a_farewell_says_why_with_its_code_and_the_next_step() -> None:
    raw = wire.farewell(Notice("denied", "Production is for the sre team.", "Ask them."))
    fields = messages.read_fields(raw[5:])
    assert fields["S"] == "FATAL"
    assert fields["C"] == "28000"
    assert fields["M"] == "sallyport: Production is for the sre team. [denied]"
    assert fields["H"] == "Ask them."


def test_a_password_there_and_back() -> None:
    assert wire.read_password(wire.password("secret")[5:]) == b"secret"


@pytest.mark.parametrize("state", ["I", "T", "E"])
def test_an_idle_stream(state: str) -> None:
    assert wire.is_ready(b"...." + messages.ready(state))
    assert not wire.is_ready(messages.ready(state)[:-1])
    assert not wire.is_ready(b"")
