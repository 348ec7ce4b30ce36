"""An agent that dies in mid-session: the session says so, and everything up to its last uploaded chunk can be replayed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from infra.demo.stack import Person, Stack
from tests.e2e import seen

pytestmark = pytest.mark.servers


def until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.5)


def test_kill_minus_nine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    # An agent speaks of its live sessions every 20 s; one that has been silent for longer is gone.
    monkeypatch.setenv("SALLYPORT_STALE_S", "25")
    folder = tmp_path_factory.mktemp("killed")
    with Stack(folder) as stack:
        # The reaper comes every minute; here a minute is a second.
        stack.database.prepare()
        stack.start_cloud("--schedule-speed", "60")
        stack.target.start()
        stack.database.wait()
        alice = stack.furnish()
        shell = begin(alice, ["ssh", "-tt", "prod-web"], "echo before-$((40+2))\n")
        query = begin(alice, ["sallyport", "connect", "prod-db", "--", "psql", "-X"], "select 'before-' || 40 + 2;\n")
        until(lambda: len(recorded(stack)) == 2, "a chunk of each is uploaded")
        sids = recorded(stack)

        stack.kill_agent()

        until(lambda: states(stack, sids) == {"interrupted"}, "the sessions are interrupted")
        for sid, seen in sids.items():
            replay = alice.run(["sallyport", "replay", sid])
            assert replay.returncode == 0, replay.stderr
            assert {"prod-web": "before-42", "prod-db": "select 'before-' || 40 + 2"}[seen] in replay.stdout
        for client in (shell, query):
            client.terminate()
            client.wait(timeout=30)

        # The agent comes back: what it still held is delivered, and the sessions are closed, never reopened.
        stack.restart_agent()
        until(lambda: states(stack, sids) == {"ended"}, "the returning agent closes what it was recording")


def begin(person: Person, words: list[str], typed: str) -> subprocess.Popen[bytes]:
    """Start a client that stays, and type a line at it."""
    client = subprocess.Popen(
        person.command(words), env=person.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert client.stdin is not None
    client.stdin.write(typed.encode())
    client.stdin.flush()
    return client


def recorded(stack: Stack) -> dict[str, str]:
    """Live sessions of which something is stored, and their targets."""
    return {
        str(each["sid"]): str(each["target"])
        for each in seen.sessions(stack.person("alice"))
        if each["state"] == "live" and each.get("chunks")
    }


def states(stack: Stack, sids: dict[str, str]) -> set[object]:
    return {each["state"] for each in seen.sessions(stack.person("alice")) if each["sid"] in sids}
