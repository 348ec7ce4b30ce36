"""An agent that dies in mid-session: the session says so, and everything up to its last uploaded chunk can be replayed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

import pytest

from infra.demo.stack import Stack

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("e2e")]


def sessions(stack: Stack) -> list[dict[str, object]]:
    said = stack.person("alice").run(["sallyport", "sessions", "--json"]).stdout
    found: list[dict[str, object]] = json.loads(said)["sessions"]
    return found


def until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


def test_kill_minus_nine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    # An agent speaks of its live sessions every 20 s; one that has been silent for longer is gone.
    monkeypatch.setenv("SALLYPORT_STALE_S", "25")
    folder = tmp_path_factory.mktemp("killed")
    with Stack(folder) as stack:
        # The reaper comes every minute; here a minute is a second.
        stack.start_cloud("--schedule-speed", "60")
        stack.target.start()
        alice = stack.furnish()
        client = subprocess.Popen(
            alice.command(["ssh", "-tt", "prod-web"]),
            env=alice.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert client.stdin is not None
        client.stdin.write(b"echo before-$((40+2))\n")
        client.stdin.flush()
        until(lambda: any(each.get("state") == "live" and each.get("chunks") for each in sessions(stack)), "a chunk is uploaded")
        sid = next(str(each["sid"]) for each in sessions(stack) if each.get("state") == "live")

        stack.kill_agent()

        until(lambda: state(stack, sid) == "interrupted", "the session is interrupted")
        replay = alice.run(["sallyport", "replay", sid])
        assert replay.returncode == 0, replay.stderr
        assert "before-42" in replay.stdout
        client.kill()
        client.wait()

        # The agent comes back: what it still held is delivered, and the session is closed, never reopened.
        stack.restart_agent()
        until(lambda: state(stack, sid) == "ended", "the returning agent closes what it was recording")


def state(stack: Stack, sid: str) -> object:
    return next(each["state"] for each in sessions(stack) if each["sid"] == sid)
