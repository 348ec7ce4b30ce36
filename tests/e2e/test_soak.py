"""The tunnel under real sessions while everything goes wrong at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.chaos import Chaos, SocketView
from tests.e2e.conftest import World, socket_kind

pytestmark = pytest.mark.servers

MEGABYTES = 50
#: Messages that a socket has carried when it is killed. One that dies before it was of any use, on a machine that needs a second
#: to open it, is a network that is away, and not one that breaks.
OF_USE = 20


@contextmanager
def storm(world: World) -> Iterator[None]:
    """Frames late, out of order and lost; both sockets of every session killed every second, once they were of use."""
    killed = []
    gateway = world.cloud.gateway

    def session_sockets(socket: SocketView) -> bool:
        # Not the agent's control socket: it is replaced in its own time, and a new session needs it.
        if socket_kind(socket) == "control":
            return False
        if gateway.live[socket.connection_id].received < OF_USE:
            return False
        killed.append(socket.connection_id)
        return True

    gateway.chaos = Chaos(
        seed=7,
        delay_s=(0.0, 0.01),
        reorder=0.05,
        drop=0.005,
        kill_every_s=1.0,
        kill_if=session_sockets,
    )
    try:
        yield
    finally:
        gateway.chaos = Chaos()
    assert len(set(killed)) >= 6, "the weather was too good for this test to mean anything"


@pytest.mark.parametrize("direction", ["put", "get"])
def test_a_file_arrives_whole_while_both_sockets_are_killed_every_second(world: World, scratch: Path, direction: str) -> None:
    source, arrived = scratch / "source", scratch / "arrived"
    source.write_bytes(os.urandom(MEGABYTES * 1_000_000))
    with storm(world):
        command = world.alice.command(["sftp", "-q", "-b", "-", "prod-web"])
        run = subprocess.run(
            command,
            input=f"{direction} {source} {arrived}\n",
            env=world.alice.environment | {"SALLYPORT_WAY": "relay"},
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr + world.log()[-3000:]
    assert hashlib.sha256(arrived.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()


def test_a_result_arrives_whole_while_both_sockets_are_killed_every_second(world: World) -> None:
    rows = 1_000_000
    with storm(world):
        run = subprocess.run(
            world.alice.command(["sallyport", "connect", "prod-db", "--", "psql", "-XAt", "-v", "ON_ERROR_STOP=1"]),
            input=f"select i, md5(i::text) from generate_series(1, {rows}) i;\nselect 'and the next';\n",
            env=world.alice.environment | {"SALLYPORT_WAY": "relay"},
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr + world.log()[-3000:]
    *found, last = run.stdout.splitlines()
    assert last == "and the next"
    assert found == [f"{i}|{hashlib.md5(str(i).encode()).hexdigest()}" for i in range(1, rows + 1)]
