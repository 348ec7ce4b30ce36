"""``connect --stdio`` as ssh starts it: a process with pipes."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import msgspec
import pytest

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli.home import Home, write_atomically
from tests.fakes.http_control_plane import FakeControlPlane
from tests.fakes.websocket_relay import CLIENT, FakeRelay
from tests.patience import HANG_S
from tests.unit.cli.test_relay_way import Agent, echo

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"


def connect(*words: str, stdin: bytes = b"hello") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "cli", "connect", "--stdio", *words, "prod-web"],
        input=stdin,
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )


def offer(plane: FakeControlPlane, *ways: api.Way) -> None:
    plane.offer = api.SessionOffer(
        sid=SID,
        ticket=CLIENT,
        expires_ms=plane.now_ms,
        deadline_ms=plane.now_ms,
        ways=list(ways),
        host_alias="prod-web.sallyport",
    )


@pytest.fixture(autouse=True)
def _still_logged_in(logged_in: FakeControlPlane, home: Home) -> None:
    """The process has the real clock."""
    login = msgspec.structs.replace(home.login(), expires_ms=4_000_000_000_000)
    write_atomically(home.session_file, msgspec.json.encode(login))


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def listener() -> Iterator[api.Way]:
    """An agent's listener that answers one connection with what it heard."""

    def answer() -> None:
        with server.accept()[0] as peer:
            peer.sendall(b"".join(iter(lambda: peer.recv(1000), b"")))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield api.Way(kind="direct", address=f"127.0.0.1:{server.getsockname()[1]}")


@pytest.fixture
def nobody() -> api.Way:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return api.Way(kind="direct", address=f"127.0.0.1:{server.getsockname()[1]}")


def test_direct_comes_first(logged_in: FakeControlPlane, listener: api.Way) -> None:
    offer(logged_in, api.Way(kind="relay", address="ws://127.0.0.1:1"), listener)
    ran = connect()
    assert (ran.stdout, ran.stderr, ran.returncode) == (f"SALLYPORT/1 {SID}\nhello".encode(), b"", 0)


def test_the_relay_comes_second(logged_in: FakeControlPlane, nobody: api.Way, relay: FakeRelay) -> None:
    offer(logged_in, nobody, api.Way(kind="relay", address=relay.url))
    with Agent(relay, echo):
        ran = connect()
    assert (ran.stdout, ran.stderr, ran.returncode) == (b"hello", b"", 0)


def test_a_way_can_be_forced(logged_in: FakeControlPlane, listener: api.Way, relay: FakeRelay) -> None:
    offer(logged_in, listener, api.Way(kind="relay", address=relay.url))
    with Agent(relay, echo):
        assert connect("--way", "relay").stdout == b"hello"
    assert connect("--way", "direct").stdout.endswith(b"hello")


def test_no_way(logged_in: FakeControlPlane, nobody: api.Way) -> None:
    offer(logged_in, nobody)
    ran = connect()
    assert ran.returncode == 5
    assert f"No way leads to the agent of prod-web (tried direct at {nobody.address}). [agent_offline]".encode() in ran.stderr
    assert b"(tried relay, which was not offered). [agent_offline]" in connect("--way", "relay").stderr


def test_a_denial_is_said_on_stderr(logged_in: FakeControlPlane) -> None:
    logged_in.offer = Fault("denied", "Production is for the sre team.", hint="Ask in #platform.")
    ran = connect()
    assert (ran.returncode, ran.stdout) == (126, b"")
    assert ran.stderr == b"sallyport: Production is for the sre team. [denied]\n  Ask in #platform.\n"


@pytest.mark.parametrize("address", ["ws://relay.example.com", "http://127.0.0.1:1", "relay", "wss://user@host"])
def test_a_ticket_never_travels_in_the_clear(logged_in: FakeControlPlane, address: str) -> None:
    offer(logged_in, api.Way(kind="relay", address=address))
    ran = connect()
    assert ran.returncode == 2
    assert b"relay's address" in ran.stderr


def test_what_is_asked_for(logged_in: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_REASON", "from the environment")
    connect("--login", "root")
    connect("--reason", "typed")
    asked = [msgspec.json.decode(request.body, type=api.SessionOpen) for request in logged_in.requests]
    assert asked == [
        api.SessionOpen(target="prod-web", login="root", reason="from the environment"),
        api.SessionOpen(target="prod-web", reason="typed"),
    ]
