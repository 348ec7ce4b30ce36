"""An agent that dies in mid-session: the session says so, and everything up to its last uploaded chunk can be replayed."""

from __future__ import annotations

import subprocess

import pytest

from infra.demo.stack import Person
from tests.e2e import seen
from tests.e2e.conftest import World
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers

TYPED = {"prod-web": "echo before-$((40+2))\n", "prod-db": "select 'before-' || 40 + 2;\n"}
RECORDED = {"prod-web": "before-42", "prod-db": "select 'before-' || 40 + 2"}
CLIENTS = {"prod-web": ["ssh", "-tt", "prod-web"], "prod-db": ["sallyport", "connect", "prod-db", "--", "psql", "-X"]}


def test_kill_minus_nine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {each["sid"] for each in seen.sessions(world.alice)}
    clients = [begin(world.alice, CLIENTS[target], TYPED[target]) for target in CLIENTS]
    until(lambda: len(recorded(world, before)) == len(clients), "what each was told is uploaded")
    sids = recorded(world, before)

    world.stack.kill_agent()
    # From here on nobody has to be patient with it: an agent speaks of its live sessions every 20 s, and is given a minute more.
    monkeypatch.setenv("SALLYPORT_STALE_S", "1")

    def interrupted() -> bool:
        world.cloud.pump.fire("reap")
        return states(world, sids) == {"interrupted"}

    until(interrupted, "the sessions are interrupted")
    monkeypatch.delenv("SALLYPORT_STALE_S")
    for sid, target in sids.items():
        assert RECORDED[target] in replay(world, sid)
    for client in clients:
        client.terminate()
        client.communicate(timeout=HANG_S)

    # The agent comes back: what it still held is delivered, and the sessions are closed, never reopened.
    world.stack.restart_agent()
    until(lambda: states(world, sids) == {"ended"}, "the returning agent closes what it was recording")
    world.stack.until_online(world.stack.person("pat"))


def begin(person: Person, words: list[str], typed: str) -> subprocess.Popen[bytes]:
    """Start a client that stays, and type a line at it."""
    client = subprocess.Popen(
        person.command(words), env=person.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert client.stdin is not None
    client.stdin.write(typed.encode())
    client.stdin.flush()
    return client


def recorded(world: World, before: set[str]) -> dict[str, str]:
    """New live sessions whose stored chunks hold what was done in them, and their targets."""
    live = {str(each["sid"]): str(each["target"]) for each in seen.sessions(world.alice, state="live") if each.get("chunks")}
    return {sid: target for sid, target in live.items() if sid not in before and RECORDED[target] in replay(world, sid)}


def replay(world: World, sid: str) -> str:
    done = world.alice.run(["sallyport", "replay", sid])
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(world: World, sids: dict[str, str]) -> set[object]:
    return {each["state"] for each in seen.sessions(world.alice) if each["sid"] in sids}
