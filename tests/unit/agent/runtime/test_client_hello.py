"""ALPN as it stands in a ClientHello: of real clients, cut anywhere, and of nobody's."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.client_hello import protocols
from agent.runtime.serving import More


def client_hello(*names: str, hostname: str | None = None) -> bytes:
    """Return what a real client sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if names:
        context.set_alpn_protocols(list(names))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=hostname).do_handshake()
    return outgoing.read()


def spread(first: bytes, *, at: int, byte: int) -> bytes:
    return first[:at] + bytes([byte]) + first[at + 1 :]


@pytest.mark.parametrize("names", [(), ("postgresql",), ("h2", "http/1.1")])
@pytest.mark.parametrize("hostname", [None, "db.example.com"])
def test_what_real_clients_offer(names: tuple[str, ...], hostname: str | None) -> None:
    first = client_hello(*names, hostname=hostname)
    assert protocols(first) == [name.encode() for name in names]
    assert protocols(first + b"more") == [name.encode() for name in names]


def test_a_part_asks_for_as_much_as_it_needs() -> None:
    first = client_hello("postgresql")
    for length in range(1, len(first)):
        found = protocols(first[:length])
        assert isinstance(found, More)
        assert length < found.least <= len(first)


def test_a_hello_in_several_records_is_not_read() -> None:
    first = client_hello("postgresql")
    record = int.from_bytes(first[3:5])
    assert protocols(first[:3] + (record - 1).to_bytes(2) + first[5:]) == []


@given(st.binary(min_size=1, max_size=600))
def test_garbage_offers_nothing(data: bytes) -> None:
    found = protocols(data)
    assert isinstance(found, More) or found == []


@given(st.integers(5, 300), st.integers(0, 255))
def test_one_wrong_byte_never_breaks_the_reader(at: int, byte: int) -> None:
    found = protocols(spread(client_hello("postgresql"), at=at, byte=byte))
    assert isinstance(found, More) or all(isinstance(name, bytes) for name in found)


def test_a_hello_of_nothing_but_extensions_is_not_read_to_its_end() -> None:
    extensions = b"\x7f\x7f\0\0" * 4000 + b"\0\x10\0\x0d\0\x0b\x0apostgresql"
    body = b"\3\3" + b"r" * 32 + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(extensions).to_bytes(2) + extensions
    first = b"\x16\3\1" + (len(body) + 4).to_bytes(2) + b"\1" + len(body).to_bytes(3) + body
    assert protocols(first) == []
    few = extensions[-17 - 4 * 10 :]
    body = body[: 2 + 32 + 1 + 4 + 2] + len(few).to_bytes(2) + few
    first = b"\x16\3\1" + (len(body) + 4).to_bytes(2) + b"\1" + len(body).to_bytes(3) + body
    assert protocols(first) == [b"postgresql"]
