"""One spelling per place."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.protocols.ssh.places import Place, destination, listed, listener
from chalicelib.contracts.faults import Fault


@pytest.mark.parametrize(
    ("host", "spelt"),
    [
        ("db.internal", "db.internal"),
        ("DB.Internal", "db.internal"),
        ("db.internal.", "db.internal"),
        ("localhost", "localhost"),
        ("a_b-c", "a_b-c"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:7f00:1", "127.0.0.1"),
        ("10.0.0.7.example", "10.0.0.7.example"),
    ],
)
def test_spellings_of_one_place(host: str, spelt: str) -> None:
    assert destination(host, 22) == Place(spelt, 22)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        ".",
        "db..internal",
        "-db",
        "a b",
        "a\nb",
        "a%00",
        "db.internal..",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.01",
        "0x7f000001",
        "0x7f.0.0.1",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "256.0.0.1",
        "[127.0.0.1]",
        "[::1",
        "fe80::1%eth0",
        ":::",
        "１２７.0.0.1",
        "xn--ü",
        "a" * 64,
        ".".join(["a" * 60] * 5),
    ],
)
def test_what_has_no_one_spelling_is_refused(host: str) -> None:
    with pytest.raises(Fault) as refused:
        destination(host, 22)
    assert refused.value.code == "bad_request"


@pytest.mark.parametrize("port", [0, -1, 65_536, 2**32 - 1])
def test_ports_to_connect_to(port: int) -> None:
    with pytest.raises(Fault):
        destination("db", port)


@pytest.mark.parametrize(("host", "spelt"), [("", "*"), ("*", "*"), ("0.0.0.0", "*"), ("::", "*"), ("LOCALHOST", "localhost")])
def test_places_to_listen_on(host: str, spelt: str) -> None:
    assert listener(host, 0) == Place(spelt, 0)


@pytest.mark.parametrize("asked", [("2130706433", 8080), ("localhost", 65_536), ("localhost", -1)])
def test_no_places_to_listen_on(asked: tuple[str, int]) -> None:
    with pytest.raises(Fault):
        listener(*asked)


@pytest.mark.parametrize(
    ("entry", "host", "port", "result"),
    [
        ("db.internal:5432", "db.internal", 5432, True),
        ("DB.internal.:5432", "db.internal", 5432, True),
        ("db.internal:5432", "db.internal", 5433, False),
        ("db.internal:5432", "xdb.internal", 5432, False),
        ("db.internal:*", "db.internal", 1, True),
        ("*.internal:5432", "db.internal", 5432, True),
        ("*.internal:5432", "a.db.internal", 5432, True),
        ("*.internal:5432", "internal", 5432, False),
        ("*.internal:5432", "db.xinternal", 5432, False),
        ("*.0.0.1:22", "127.0.0.1", 22, False),
        ("*:22", "127.0.0.1", 22, True),
        ("*:*", "anything", 1, True),
        ("[::1]:22", "::1", 22, True),
        ("[0::1]:22", "0::0:1", 22, True),
        ("::1:22", "::1", 22, True),
        ("127.0.0.1:22", "::ffff:127.0.0.1", 22, True),
        ("127.1:22", "127.0.0.1", 22, False),
        ("db.internal", "db.internal", 22, False),
        ("db.internal:", "db.internal", 22, False),
        (":22", "db.internal", 22, False),
        ("db.internal:022", "db.internal", 22, False),
    ],
)
def test_the_list(entry: str, host: str, port: int, result: bool) -> None:
    assert listed(destination(host, port), [entry]) is result


def test_listening_everywhere_is_listed_as_such() -> None:
    everywhere = listener("", 8080)
    assert not listed(everywhere, ["localhost:8080", "0.0.0.0:8080", 8080, None])
    assert listed(everywhere, ["*:8080"])


@given(st.text(max_size=40) | st.ip_addresses().map(str))
def test_a_place_is_spelt_as_it_is_spelt(host: str) -> None:
    try:
        place = destination(host, 22)
    except Fault:
        return
    assert destination(place.host, 22) == place
    assert destination(host.upper(), 22) == place
    assert listed(place, [str(place)])


@given(st.ip_addresses(v=4))
def test_every_address_has_one_spelling_in_both_families(address: ipaddress.IPv4Address) -> None:
    if not address.is_unspecified:
        assert destination(f"::ffff:{address}", 22) == destination(str(address), 22) == Place(str(address), 22)


@settings(max_examples=2_000)
@given(st.text(alphabet="0123456789abcdefxX.:[]%-_ ", min_size=1, max_size=20))
@example("127.1")
@example("0x7f.1")
@example("017700000001")
@example("::ffff:7f00:1")
def test_no_name_is_an_address_to_the_resolver(host: str) -> None:
    """What this machine's resolver reads as an address without asking anybody is that address here, or it is refused."""
    try:
        place = destination(host, 22)
    except Fault:
        return
    try:
        found = socket.getaddrinfo(host, 22, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return
    address = ipaddress.ip_address(found[0][4][0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    assert place.host == str(mapped or address)
