"""Two people: alice works, bob looks on and ends it. Stock ssh and psql, the real agent, the relay between."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest

from infra.demo.stack import Person
from tests.e2e import seen
from tests.e2e.conftest import World
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers

REASON = "that is the wrong machine"


@pytest.fixture(scope="module")
def bob(world: World) -> Person:
    bob = world.stack.person("bob")
    assert bob.login(world.stack.url).returncode == 0
    return bob


@contextlib.contextmanager
def terminal(person: Person, words: list[str], **more: str) -> Iterator[pexpect.spawn[str]]:
    """A program as a person starts it in a terminal."""
    command = person.command(words)
    environment = person.environment | {"TERM": "xterm", "SALLYPORT_WAY": "relay", "SALLYPORT_DEBUG": "1"} | more
    process = pexpect.spawn(
        command[0], command[1:], env=environment, encoding="utf-8", timeout=HANG_S, dimensions=(24, 120),  # type: ignore[arg-type]
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.isalive():
            process.kill(signal.SIGHUP)
            process.expect(pexpect.EOF)
        process.close(force=True)


def live(person: Person, target: str) -> str:
    """Return the one live session on ``target`` that ``person`` sees."""

    def found() -> list[str]:
        return [each["sid"] for each in seen.sessions(person, target=target, state="live")]

    # What was there before may still be on its way to its end.
    return until(lambda: len(sids := found()) == 1 and sids[0], "one session is live") or ""


def session(person: Person, sid: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(person.run(["sallyport", "session", sid, "--json"]).stdout)
    return found


def text(process: pexpect.spawn[str], words: str) -> None:
    process.expect(re.escape(words))


def test_a_shell_is_watched_and_ended(world: World, bob: Person) -> None:
    with terminal(world.alice, ["ssh", "-tt", "prod-web"]) as alice:
        text(alice, "recorded")
        alice.send("echo be''fore\r")
        text(alice, "before")
        sid = live(bob, "prod-web")
        with terminal(bob, ["sallyport", "watch", sid]) as watching:
            text(watching, "Watching alice@example.com")
            text(watching, "before")  # what was there already
            text(alice, "bob@example.com is watching this session.")
            alice.send("echo du''ring\r")
            text(watching, "during")
            watching.send("rm -rf /nothing\r")  # a watcher's keys go nowhere
            watching.sendintr()
            text(watching, "You watch no more.")
            watching.expect(pexpect.EOF)
        text(alice, "bob@example.com stopped watching this session.")
        with terminal(bob, ["sallyport", "watch", sid, "--text"]) as watching:
            text(watching, "during")
            ended = bob.run(["sallyport", "kill", sid, "--reason", REASON])
            assert ended.returncode == 0, ended.stderr
            text(alice, f"bob@example.com ended this session: {REASON} (session_killed, {sid})")
            alice.expect(pexpect.EOF)
            text(watching, f"It is over: bob@example.com ended this session: {REASON}")
            watching.expect(pexpect.EOF)
    over = until(lambda: (found := session(world.alice, sid))["state"] == "killed" and found, "it is killed")
    assert (over["killed_by"], over["message"]) == ("bob@example.com", f"bob@example.com ended this session: {REASON}")
    told = world.alice.run(["sallyport", "replay", sid, "--text"])
    assert told.returncode == 0, told.stderr
    assert "bob@example.com is watching this session." in told.stdout
    assert f"ended this session: {REASON}" in told.stdout
    assert "/nothing" not in told.stdout


def test_a_watch_goes_on_when_every_socket_breaks(world: World, bob: Person) -> None:
    with terminal(world.alice, ["ssh", "-tt", "prod-web"]) as alice:
        text(alice, "recorded")
        sid = live(bob, "prod-web")
        with terminal(bob, ["sallyport", "watch", sid]) as watching:
            text(watching, "Watching alice@example.com")
            alice.send("echo be''fore\r")
            text(watching, "before")
            world.cloud.gateway.kill()
            alice.send("echo af''ter\r")
            text(alice, "after")
            text(watching, "after")
            watching.sendintr()
            text(watching, "You watch no more.")
        alice.send("exit\r")
        alice.expect(pexpect.EOF)


def test_statements_are_watched_and_the_session_ended(world: World, bob: Person) -> None:
    with terminal(world.alice, ["sallyport", "connect", "prod-db"], PSQLRC="/dev/null", PAGER="", TERM="dumb") as alice:
        alice.expect("prod-db=> ")
        alice.send("select 40 + 2 as answer;\r")
        text(alice, "42")
        sid = live(bob, "prod-db")
        with terminal(bob, ["sallyport", "watch", sid]) as watching:
            text(watching, "select 40 + 2")
            text(watching, "42")
            alice.send("select 'still ' || 'here' as words;\r")
            text(alice, "bob@example.com is watching this session.")
            text(watching, "still here")
            ended = bob.run(["sallyport", "kill", sid, "--reason", REASON])
            assert ended.returncode == 0, ended.stderr
            text(watching, f"It is over: bob@example.com ended this session: {REASON}")
        alice.send("select 1;\r")
        text(alice, f"bob@example.com ended this session: {REASON}")
    told = until(lambda: _told(world.alice, sid), "its recording is there")
    assert REASON in told


def _told(person: Person, sid: str) -> str:
    told = person.run(["sallyport", "replay", sid])
    return told.stdout if REASON in told.stdout else ""


def test_nobody_watches_or_ends_without_a_rule(world: World, bob: Person) -> None:
    mallory = world.stack.person("mallory")
    assert mallory.login(world.stack.url).returncode == 0
    with terminal(world.alice, ["ssh", "-tt", "prod-web"]) as alice:
        text(alice, "recorded")
        sid = live(world.alice, "prod-web")
        for words in (["watch", sid], ["kill", sid, "--reason", "x"]):
            refused = mallory.run(["sallyport", *words])
            assert refused.returncode == 4, refused.stderr
            assert "unknown_session" in refused.stderr
        own = world.alice.run(["sallyport", "watch", sid])
        assert (own.returncode, "denied" in own.stderr) == (126, True)
        done = world.alice.run(["sallyport", "kill", sid, "--reason", "my own"])
        assert done.returncode == 0, done.stderr
        text(alice, "alice@example.com ended this session: my own")
