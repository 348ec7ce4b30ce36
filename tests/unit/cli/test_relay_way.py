from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping

import pytest

from agent.runtime.tunnel import Tunnel
from chalicelib.contracts.faults import Fault
from tests.fakes.websocket_relay import AGENT, CLIENT, FakeRelay
from tests.patience import HANG_S

#: The command line's side, in a process of its own: signals and descriptors are the point.
PROGRAM = """
import sys
from chalicelib.contracts.faults import Fault
from cli.relay_way import carry
try:
    carry(sys.argv[1], sys.argv[2], 0, 1)
except Fault as fault:
    sys.exit(f"{fault.code}: {fault.message}")
"""

Behaviour = Callable[[Tunnel], Awaitable[None]]


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


class Agent:
    """The agent's side of the tunnel, on a thread."""

    def __init__(self, relay: FakeRelay, behave: Behaviour) -> None:
        self.opening = b""
        self._relay = relay
        self._behave = behave
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Agent:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        async def credentials(_: str | None) -> Mapping[str, str]:
            return {"Authorization": f"Agent {AGENT}"}

        try:
            async with Tunnel.connect(self._relay.url, credentials) as tunnel:
                self.opening = await tunnel.opened()
                await self._behave(tunnel)
        except Fault:
            return


async def echo(tunnel: Tunnel) -> None:
    while data := await tunnel.read():
        await tunnel.write(data)
    tunnel.write_eof()


def client(relay: FakeRelay, ticket: str = CLIENT) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", PROGRAM, relay.url, ticket]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_bytes_go_both_ways_and_the_ticket_opens_the_stream(relay: FakeRelay) -> None:
    data = os.urandom(1_500_000)
    with Agent(relay, echo) as agent:
        out, err = client(relay).communicate(data, timeout=HANG_S)
    assert (out, err) == (data, b"")
    assert agent.opening == CLIENT.encode()
    assert f"Bearer {CLIENT}" in relay.headers


def test_small_writes_come_back_one_by_one(relay: FakeRelay) -> None:
    with Agent(relay, echo), client(relay) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for n in range(20):
            process.stdin.write(b"%02d" % n)
            process.stdin.flush()
            assert process.stdout.read(2) == b"%02d" % n
        process.stdin.close()
        assert process.wait(HANG_S) == 0


def test_a_broken_connection_is_resumed_unnoticed(relay: FakeRelay) -> None:
    with Agent(relay, echo), client(relay) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"one", b"two"):
            process.stdin.write(word)
            process.stdin.flush()
            assert process.stdout.read(3) == word
            relay.cut("client")
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(HANG_S) == 0
    assert f"Resume {CLIENT}" in relay.headers


def test_what_was_said_before_a_hangup_is_delivered(relay: FakeRelay) -> None:
    heard: list[bytes] = []

    async def listen(tunnel: Tunnel) -> None:
        await tunnel.write(b"ready")
        while data := await tunnel.read():
            heard.append(data)

    with Agent(relay, listen), client(relay) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(5) == b"ready"
        process.stdin.write(b"goodbye")
        process.stdin.flush()
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        process.stdout.close()
        process.wait(HANG_S)
    assert b"".join(heard) == b"goodbye"


def test_the_agents_reason_is_told(relay: FakeRelay) -> None:
    async def kill(tunnel: Tunnel) -> None:
        await tunnel.abort("session_killed", "Revoked by carol@example.com.")

    with Agent(relay, kill):
        process = client(relay)
        assert process.stdout is not None
        _, err = process.communicate(timeout=HANG_S)
    assert err == b"session_killed: Revoked by carol@example.com.\n"


def test_a_refused_ticket_is_told(relay: FakeRelay) -> None:
    _, err = client(relay, "forged").communicate(timeout=HANG_S)
    assert err.startswith(b"tunnel_refused: ")


def test_a_file_as_input(relay: FakeRelay, tmp_path: object) -> None:
    with Agent(relay, echo), open(__file__, "rb") as source:  # noqa: PTH123
        words = [sys.executable, "-c", PROGRAM, relay.url, CLIENT]
        ran = subprocess.run(words, stdin=source, capture_output=True, timeout=HANG_S, check=True)
    assert ran.stdout == open(__file__, "rb").read()  # noqa: PTH123, SIM115
