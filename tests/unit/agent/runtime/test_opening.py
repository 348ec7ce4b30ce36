"""One port for several protocols: whose first bytes these are, cut anywhere, from clients that stall, and from nobody we know."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bootstrap import speak_all
from agent.protocols.postgres.plugin import PostgresPlugin
from agent.protocols.ssh.plugin import SshPlugin
from agent.runtime import opening
from agent.runtime.opening import plugin_for, recognise
from agent.runtime.serving import More, Plugin
from tests.fakes.agent_runtime import FakeIdentity
from tests.unit.agent.runtime.test_client_hello import client_hello

PLUGINS = speak_all(FakeIdentity())
STARTUP = b"\0\0\0\x1d\0\3\0\0user\0ann\0database\0web\0\0"

OPENINGS = {
    "ssh": [b"SSH-2.0-OpenSSH_9.9\r\n", b"SSH-1.99-old\n"],
    "postgres": [
        b"\0\0\0\x08\x04\xd2\x16\x2f",  # SSLRequest
        b"\0\0\0\x08\x04\xd2\x16\x30",  # GSSENCRequest
        b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07four",  # CancelRequest
        STARTUP,
        STARTUP[:4] + b"\0\3\0\2" + STARTUP[8:],  # protocol 3.2
        client_hello("postgresql"),
    ],
    "": [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\0\0\0\x08\0\2\0\0",  # PostgreSQL before 7.4
        b"\0\0\x27\x11\0\3\0\0",  # a startup packet past the server's own limit
        b"\0\0\0\x07\0\3\0\0",
        b"\0\1\0\x08\x04\xd2\x16\x2f",
        b"ssh-2.0-lower\r\n",
        client_hello(),
        client_hello("h2", "http/1.1"),
        client_hello("http/1.1", "postgresql"),
        b"\x16\3\1\0\4\1\0\0\0",
        b"\x15\3\1\0\2\1\0",  # a TLS alert
    ],
}
ALL = [(name, first) for name, each in OPENINGS.items() for first in each]


def name_of(found: Plugin | More | None) -> str:
    return found.announcement.name if isinstance(found, SshPlugin | PostgresPlugin) else ""


@pytest.mark.parametrize(("name", "first"), ALL)
def test_a_client_is_known_by_its_first_bytes_however_they_come(name: str, first: bytes) -> None:
    assert name_of(recognise(PLUGINS, first)) == name
    seen = b""
    while len(seen) < len(first):
        seen = first[: len(seen) + 1]
        found = recognise(PLUGINS, seen)
        if isinstance(found, More):
            assert found.least > len(seen)
            continue
        assert name_of(found) == name
        break


@given(st.binary(min_size=1, max_size=opening.LOOK + 10))
def test_no_two_know_the_same_bytes_and_nobody_asks_for_ever(first: bytes) -> None:
    answers = [plugin.recognise(first) for plugin in PLUGINS]
    assert sum(answer is True for answer in answers) <= 1
    if isinstance(found := recognise(PLUGINS, first), More):
        assert len(first) < found.least <= opening.LOOK


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    for each in (one, other):
        each.setblocking(False)
    yield one, other
    one.close()
    other.close()


@pytest.mark.parametrize(("name", "first"), ALL)
async def test_nothing_is_taken_from_the_plugin(ends: tuple[socket.socket, socket.socket], name: str, first: bytes) -> None:
    client, ours = ends
    choosing = asyncio.ensure_future(plugin_for(PLUGINS, ours, "ssh"))
    step = len(first) // 20 + 1
    for start in range(0, len(first), step):
        client.send(first[start : start + step])
        await asyncio.sleep(0)
    assert name_of(await choosing) == name
    assert ours.recv(len(first) + 1) == first


async def test_who_says_nothing_waits_for_its_server(ends: tuple[socket.socket, socket.socket]) -> None:
    assert name_of(await plugin_for(PLUGINS, ends[1], "ssh", 0.01)) == "ssh"
    assert await plugin_for(PLUGINS, ends[1], "nothing-that-is-spoken", 0.01) is None


@pytest.mark.parametrize("first", [b"SS", b"\0\0\0", client_hello("postgresql")[:200]])
async def test_half_an_opening_is_closed(
    ends: tuple[socket.socket, socket.socket], first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, ours = ends
    client.send(first)
    monkeypatch.setattr(opening, "OPENING_S", 0.02)
    assert await plugin_for(PLUGINS, ours, "ssh") is None
    monkeypatch.setattr(opening, "OPENING_S", 20)
    client.shutdown(socket.SHUT_WR)
    assert await plugin_for(PLUGINS, ours, "ssh") is None


async def test_who_is_gone_is_nobody(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].close()
    assert await plugin_for(PLUGINS, ends[1], "ssh") is None
