"""The tunnel under a real ssh session while everything goes wrong at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from infra.local.chaos import Chaos, SocketView
from tests.e2e.conftest import World

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("e2e")]

MEGABYTES = 50


@pytest.mark.parametrize("direction", ["put", "get"])
def test_a_file_arrives_whole_while_both_sockets_are_killed_every_second(world: World, scratch: Path, direction: str) -> None:
    source, arrived = scratch / "source", scratch / "arrived"
    source.write_bytes(os.urandom(MEGABYTES * 1_000_000))
    killed = []

    def session_sockets(socket: SocketView) -> bool:
        # Not the agent's control socket: it is replaced in its own time, and a new session needs it.
        if {name.lower(): value for name, value in socket.headers.items()}.get("x-sallyport-socket") == "control":
            return False
        killed.append(socket.connection_id)
        return True

    world.cloud.gateway.chaos = Chaos(
        seed=7,
        delay_s=(0.0, 0.01),
        reorder=0.05,
        drop=0.005,
        kill_every_s=1.0,
        kill_if=session_sockets,
    )
    try:
        command = world.alice.command(["sftp", "-q", "-b", "-", "prod-web"])
        run = subprocess.run(
            command,
            input=f"{direction} {source} {arrived}\n",
            env=world.alice.environment | {"SALLYPORT_WAY": "relay"},
            capture_output=True,
            text=True,
        )
    finally:
        world.cloud.gateway.chaos = Chaos()
    assert run.returncode == 0, run.stderr + world.log()[-3000:]
    assert hashlib.sha256(arrived.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()
    assert len(set(killed)) >= 6, "the weather was too good for this test to mean anything"
