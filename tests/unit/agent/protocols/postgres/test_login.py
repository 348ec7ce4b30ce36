from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism  # type: ignore[import-untyped]

from agent.protocols.postgres import messages
from agent.protocols.postgres.codec import Message
from agent.protocols.postgres.login import ITERATIONS_LIMIT, ServerLogin, read_hello, startup, wishes
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import SID
from tests.unit.agent.protocols.postgres.conversation import fault_of

PASSWORD = b"pencil"


def asks(code: int, rest: bytes = b"") -> Message:
    return Message("R", messages.authentication(code, rest))


def login(*, verified: bool = False, binding: bytes | None = None) -> ServerLogin:
    return ServerLogin("shop", "app", PASSWORD, verified=verified, binding=binding)


OFFER = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"


@pytest.mark.parametrize("binding", [None, hashlib.sha256(b"certificate").digest()])
def test_scram_with_and_without_channel_binding(binding: bytes | None) -> None:
    name = "SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256"
    mechanism = ScramMechanism(name)
    info = mechanism.make_auth_info(PASSWORD.decode())
    server = mechanism.make_server(lambda user: info, channel_binding=("tls-server-end-point", binding) if binding else None)
    ours = login(binding=binding)
    first = ours.receive(asks(10, OFFER))
    chosen, _, rest = first[5:].partition(b"\0")
    assert chosen.decode() == name
    server.set_client_first(rest[4:].decode())
    final = ours.receive(asks(11, server.get_server_first().encode()))
    server.set_client_final(final[5:].decode())
    ours.receive(asks(12, server.get_server_final().encode()))
    ours.receive(asks(0))
    ours.receive(Message("S", messages.parameter_status("server_version", "15.1")))
    ours.receive(Message("K", messages.key_data(7, b"four")))
    ours.receive(Message("Z", messages.ready("I")))
    assert ours.ready()
    assert (ours.pid, ours.secret, ours.settings) == (7, b"four", [("server_version", "15.1")])
    assert PASSWORD not in first + final


def test_a_server_that_skips_the_end_of_scram_is_refused() -> None:
    ours = login()
    ours.receive(asks(10, OFFER))
    with pytest.raises(Fault, match=r"target_login.*did not prove"):
        ours.receive(asks(0))


def test_more_iterations_than_are_worth_it_are_refused() -> None:
    ours = login()
    nonce = ours.receive(asks(10, OFFER)).rpartition(b"r=")[2]
    with pytest.raises(Fault, match="iterations"):
        ours.receive(asks(11, b"r=" + nonce + b"x,s=c2FsdHNhbHRzYWx0c2FsdA==,i=%d" % (ITERATIONS_LIMIT + 1)))


def test_md5() -> None:
    inner = hashlib.md5(PASSWORD + b"app", usedforsecurity=False).hexdigest()
    expected = b"md5" + hashlib.md5(inner.encode() + b"salt", usedforsecurity=False).hexdigest().encode() + b"\0"
    assert login().receive(asks(5, b"salt"))[5:] == expected


def test_a_password_in_clear_needs_a_verified_certificate() -> None:
    with pytest.raises(Fault, match="in clear"):
        login(binding=b"x" * 32).receive(asks(3))
    assert login(verified=True).receive(asks(3))[5:] == PASSWORD + b"\0"


@pytest.mark.parametrize("code", [2, 6, 7, 8, 9, 11, 12, 99])
def test_any_other_authentication_is_refused(code: int) -> None:
    with pytest.raises(Fault, match="target_login"):
        login().receive(asks(code))


def test_only_plus_without_a_binding_is_refused() -> None:
    with pytest.raises(Fault, match="offers no SCRAM"):
        login().receive(asks(10, b"SCRAM-SHA-256-PLUS\0\0"))


@given(st.sampled_from("REKSZNv1D"), st.binary(max_size=60))
def test_nonsense_from_the_server_is_a_fault(kind: str, body: bytes) -> None:
    assert fault_of(lambda: login().receive(Message(kind, messages.message(kind, body)))) in (
        "",
        "target_login",
        "target_closed",
        "target_protocol",
    )


@given(st.binary(min_size=4, max_size=100))
def test_nonsense_from_the_client_is_a_fault(packet: bytes) -> None:
    assert fault_of(lambda: read_hello(packet)) in ("", "protocol_error")


def test_the_first_packets() -> None:
    assert read_hello(messages.request(messages.SSL_REQUEST)[4:]).kind == "ssl"
    assert read_hello(messages.request(messages.GSS_REQUEST)[4:]).kind == "gss"
    cancel = read_hello(messages.cancel(7, b"four")[4:])
    assert (cancel.kind, cancel.pid, cancel.secret) == ("cancel", 7, b"four")
    hello = read_hello(messages.startup({"user": "ann"})[4:])
    assert (hello.kind, hello.parameters, hello.minor) == ("startup", {"user": "ann"}, 0)
    assert read_hello(struct.pack(">I", messages.PROTOCOL_3_2) + b"user\0ann\0\0").minor == 2


@pytest.mark.parametrize(
    "packet", [struct.pack(">I", 2 << 16), messages.startup({"a": "b"})[4:] + b"x", b"\0\3\0\0user\0a\0user\0b\0\0"]
)
def test_first_packets_that_are_refused(packet: bytes) -> None:
    with pytest.raises(Fault, match="protocol_error"):
        read_hello(packet)


@pytest.mark.parametrize("parameters", [
    {"replication": "DATABASE"},
    {"replication": "o"},
    {"Replication": "true"},
    {"database": "replication"},
    {"database": "replication", "replication": "database"},
    {"options": "-c role=admin"},
    {"options": "-c replication=database"},
    {"options": "-c datestyle=ISO -c role=admin"},
    {"options": "-c datestyle=ISO\\ -crole=admin"},
    {"options": "-c datestyle='ISO -c role=admin'"},
    {"options": "--datestyle=ISO"},
    {"options": "-cdatestyle=ISO extra"},
    {"client_encoding": "SJIS"},
    {"role": "admin"},
    {"session_authorization": "admin"},
    {"search_path": "Evil"},
    {"search_path": 'a"b'},
    {"search_path": "a b"},
    {"search_path": ""},
    {"search_path": ",".join("a" * 40)},
    {"database": "other"},
])  # fmt: skip
def test_what_may_not_be_asked_for(parameters: dict[str, str]) -> None:
    with pytest.raises(Fault, match=r"not_supported|not_found|bad_request"):
        wishes({"user": "ann", **parameters}, "shop", "prod-shop")


@pytest.mark.parametrize(("said", "path"), [
    ("app", ("app",)),
    (' "$user" , public', ("$user", "public")),
    ("$user,app_1", ("$user", "app_1")),
    ('"A, b",c', ("A, b", "c")),
])  # fmt: skip
def test_where_names_are_looked_for(said: str, path: tuple[str, ...]) -> None:
    asked = wishes({"user": "ann", "search_path": said}, "shop", "prod-shop")
    assert (asked.path, asked.settings) == (path, {"search_path": said})


@pytest.mark.parametrize("database", ["", "shop", "prod-shop", "ann"])
def test_what_drivers_ask_for(database: str) -> None:
    parameters = {"user": "ann", "database": database, "client_encoding": "'utf-8'", "datestyle": "ISO", "_pq_.new": "1"}
    asked = wishes(parameters | {"application_name": "psql"}, "shop", "prod-shop")
    assert (asked.settings, asked.application) == ({"DateStyle": "ISO"}, "psql")


def test_limits_of_time_and_writing_are_settings() -> None:
    options = {"options": "-c lock_timeout=5s -c default_transaction_read_only=on"}
    asked = wishes({"user": "ann", "jit": "off", **options}, "shop", "prod-shop")
    assert asked.settings == {"jit": "off", "lock_timeout": "5s", "default_transaction_read_only": "on"}


def test_the_options_of_a_subscriber_are_settings() -> None:
    options = "-c datestyle=ISO  -c intervalstyle=postgres -cextra_float_digits=3"
    asked = wishes({"user": "ann", "options": options, "DateStyle": "German"}, "shop", "prod-shop")
    assert asked.settings == {"DateStyle": "German", "IntervalStyle": "postgres", "extra_float_digits": "3"}
    assert "options" not in messages.read_startup(startup("app", asked, SID)[4:])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("true", "true"),
        ("on", "true"),
        ("T", "true"),
        ("1", "true"),
        ("database", "database"),
        ("off", ""),
        ("FALSE", ""),
        ("n", ""),
    ],
)
def test_replication_is_asked_for_in_one_spelling(said: str, meant: str) -> None:
    asked = wishes({"user": "ann", "replication": said}, "shop", "prod-shop")
    assert asked.replication == meant
    assert messages.read_startup(startup("app", asked, SID)[4:]).get("replication", "") == meant


def test_physical_clients_name_no_database() -> None:
    assert wishes({"user": "ann", "database": "replication", "replication": "on"}, "shop", "prod-shop").database == "shop"


def test_the_servers_own_log_names_the_session() -> None:
    sent = messages.read_startup(startup("app", wishes({"application_name": "x" * 80}, "shop", "shop"), SID)[4:])
    assert sent["application_name"].startswith(f"sallyport {SID} x")
    assert len(sent["application_name"]) == 63
    assert sent["user"] == "app"
