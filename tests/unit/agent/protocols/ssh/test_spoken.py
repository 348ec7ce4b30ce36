"""First bytes of real clients and servers, and of nothing in particular."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.ssh.spoken import HEAD, WORDS, guess


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("ssh", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        ("tls", bytes.fromhex("16030102000100 01fc0303")),
        ("tls", bytes.fromhex("1603030200010001fc0303")),
        ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("http", b"POST /login HTTP/1.1\r\n"),
        ("http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("postgresql", bytes.fromhex("00000054 00030000") + b"user\0ann\0"),
        ("postgresql", bytes.fromhex("00000054 00030002") + b"user\0ann\0"),
        ("postgresql", bytes.fromhex("00000008 04d2162f")),
        ("postgresql", bytes.fromhex("00000008 04d21630")),
        ("mysql", b"\x4a\0\0\0\x0a8.0.36\0"),
        ("mysql", b"\x5b\0\0\0\x0a5.5.5-10.11.6-MariaDB\0"),
        ("redis", b"*1\r\n$4\r\nPING\r\n"),
        ("rdp", bytes.fromhex("0300002b26e00000000000") + b"Cookie: mstshash=ann"),
        ("ldap", bytes.fromhex("300c020101600702010304008000")),
        ("mongodb", bytes.fromhex("1b000000 01000000 00000000 dd070000 00000000")),
        ("vnc", b"RFB 003.008\n"),
    ],
)
def test_what_clients_and_servers_begin_with(word: str, first: bytes) -> None:
    assert guess(first[:HEAD], b"") == word
    assert guess(b"", first[:HEAD]) == word


@pytest.mark.parametrize("first", [b"", b"SSH", b"\x16\x03", b"GETAWAY", b"hello\r\n", b"*\r\n", bytes(24), b"\xff" * 24])
def test_what_could_be_anything(first: bytes) -> None:
    assert guess(first, b"") == ""


@given(st.binary(max_size=HEAD), st.binary(max_size=HEAD))
def test_nothing_of_the_bytes_is_told(sent: bytes, received: bytes) -> None:
    assert guess(sent, received) in WORDS | {""}
