"""A real PostgreSQL behind the whole gateway, through stock psql: both ways, and everything that can go wrong on them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import psycopg
import pytest

from infra.demo.database import LOGIN
from tests.e2e import seen
from tests.e2e.conftest import World
from tests.fakes.chunks import text_of
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers

WAYS = ["relay", "direct"]
#: What a signed token looks like: the base64 of ``{"``, twice.
TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.")


def environment(world: World, **more: str) -> dict[str, str]:
    return (
        {name: value for name, value in world.alice.environment.items() if not name.startswith("PG")}
        | {"PAGER": "", "SALLYPORT_WAY": "relay"}
        | more
    )


def connect(world: World, *words: str, way: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """``sallyport connect`` to its end."""
    return subprocess.run(
        world.alice.command(["sallyport", "connect", *words]),
        env=environment(world, **({"SALLYPORT_WAY": way} if way else {}), **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


def psql(world: World, statement: str, *words: str, target: str = "prod-db", way: str = "") -> subprocess.CompletedProcess[str]:
    return connect(world, target, *words, "--", "psql", "-XAt", "-c", statement, way=way)


def sessions(world: World, target: str = "prod-db") -> list[dict[str, Any]]:
    """Alice's sessions on ``target``, newest first."""
    return seen.sessions(world.alice, target=target)


def replay(world: World, sid: str) -> str:
    done = world.alice.run(["sallyport", "replay", sid])
    assert done.returncode == 0, done.stderr
    return done.stdout


def running(world: World, text: str) -> bool:
    asked = f"select count(*) from pg_stat_activity where state = 'active' and query like '{text}%'"
    return world.stack.database.ask(asked) != "0"


@contextlib.contextmanager
def terminal(world: World, way: str) -> Iterator[pexpect.spawn[str]]:
    """``sallyport connect prod-db`` as a person starts it: psql in a terminal."""
    words = world.alice.command(["sallyport", "connect", "prod-db", "--way", way])
    process = pexpect.spawn(
        words[0],
        words[1:],
        env=environment(world, TERM="dumb", PSQLRC="/dev/null"),
        encoding="utf-8",
        timeout=HANG_S,  # type: ignore[arg-type]
    )
    try:
        process.expect("prod-db=> ")
        yield process
    finally:
        # As closing the window does; what is left behind is not to depend on how a session ended.
        if process.isalive():
            process.kill(signal.SIGHUP)
            process.expect(pexpect.EOF)
        process.close(force=True)


class Listening:
    """``sallyport connect prod-db --port 0 --json`` while it runs."""

    def __init__(self, world: World, way: str = "relay") -> None:
        self.process = subprocess.Popen(
            world.alice.command(["sallyport", "connect", "prod-db", "--port", "0", "--json", "--way", way]),
            env=environment(world),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.offer: dict[str, Any] = json.loads(self.process.stdout.readline())

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C; return status and what was said."""
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=HANG_S)[1]
        return self.process.returncode, said


@pytest.mark.parametrize("way", WAYS)
def test_masked_refused_allowed(world: World, way: str) -> None:
    shown = psql(world, "select lower(mail), card, note from customers order by id", way=way)
    assert shown.stdout.splitlines() == [
        "a***@***.com|**** **** **** 1111|prefers to be called",
        "g***@***.com|**** **** **** 0004|moved; write to g***@***.org",
        "e***@***.com|**** **** **** 1881|no phone",
    ], shown.stderr
    refused = psql(world, "drop table customers", way=way)
    assert refused.returncode == 1
    assert "ERROR:  sallyport: Tables go with a reviewed migration, not by hand." in refused.stderr
    assert "rule no-dropped-tables" in refused.stderr
    assert psql(world, "update customers set name = name where id = 3", way=way).stdout == "UPDATE 1\n"
    assert world.stack.database.ask("select count(*) from customers") == "3"
    until(lambda: all(each["state"] == "ended" for each in sessions(world)[:3]), "the sessions end")
    found = sessions(world)[:3]
    assert [each["path"] for each in found] == [way] * 3
    assert [each.get("denied", 0) for each in found] == [0, 1, 0]
    assert {each["login"] for each in found} == {LOGIN}
    said = [replay(world, each["sid"]) for each in found]
    assert "→ UPDATE 1" in said[0]
    assert "denied    drop table customers" in said[1]
    assert "→ 3 rows, 7 values masked" in said[2]


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_in_psql_cancels_the_statement_and_leaves_the_session(world: World, way: str) -> None:
    with terminal(world, way) as process:
        process.send("select pg_sleep(60);\r")
        until(lambda: running(world, "select pg_sleep(60)"), "the statement runs")
        process.send("\x03")
        process.expect("canceling statement due to user request")
        process.expect("prod-db=> ")
        process.send("select 40 + 2;\r")
        process.expect("42")
        process.send("\\q\r")
        process.expect(pexpect.EOF)
        process.close()
        assert process.exitstatus == 0
    assert not running(world, "select pg_sleep(60)")


def test_two_sessions_at_once(world: World) -> None:
    with terminal(world, "relay") as one, terminal(world, WAYS[-1]) as other:
        for process, place in ((one, 1), (other, 3)):
            process.send(f"begin; update customers set note = 'by {place}' where id = {place};\r")
            process.expect("UPDATE 1")
        for process, place in ((one, 1), (other, 3)):
            process.send("select note from customers where note like 'by%';\r")
            process.expect(f"by {place}")
            process.expect("1 row")
            process.send("rollback;\r")
            process.expect("ROLLBACK")
        ways = lambda: sorted(each["path"] for each in sessions(world) if each["state"] == "live")  # noqa: E731
        until(lambda: ways() == sorted([WAYS[0], WAYS[-1]]), "those two are live, and what came before them is over")


def test_one_psql_that_connects_again_has_another_session(world: World) -> None:
    before = len(sessions(world))
    done = connect(world, "prod-db", "--", "psql", "-XAt", "-c", "select 1", "-c", "\\c", "-c", "select 2")
    assert done.stdout.splitlines()[-1] == "2", done.stderr
    assert len(sessions(world)) == before + 2


@pytest.mark.parametrize("way", WAYS)
def test_a_port_for_every_client(world: World, way: str) -> None:
    with Listening(world, way) as listening:
        with psycopg.connect(listening.offer["dsn"]) as connection:
            assert connection.execute("select mail from customers where id = %s", (1,)).fetchone() == ("a***@***.com",)
        ran = subprocess.run(["sh", "-c", f"{listening.offer['psql']} -XAtc 'select 42'"], capture_output=True, text=True)
        assert ran.stdout == "42\n", ran.stderr
        assert sessions(world)[0]["path"] == way
        status, said = listening.stop()
    assert status == 130
    assert said.count("opened as") == said.count("ended") == 2


@pytest.mark.parametrize("password", [None, "", "guess"])
def test_another_user_of_this_machine_gets_nothing(world: World, password: str | None) -> None:
    with Listening(world) as listening:
        before = len(sessions(world))
        offer = listening.offer
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(
                host=offer["host"],
                port=offer["port"],
                user=offer["user"],
                dbname="prod-db",
                password=password,
                passfile="/dev/null",
            )
        assert len(sessions(world)) == before


def test_the_socket_of_a_program_is_its_users_alone(world: World) -> None:
    done = connect(world, "prod-db", "--", "sh", "-c", 'stat -c "%a %u" "$PGHOST"; echo "$PGHOST"; echo "${PGPASSWORD-none}"')
    mode, folder, password = done.stdout.splitlines()
    assert mode == f"700 {os.getuid()}"
    assert password == "none"
    assert not Path(folder).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_somebody_else_cannot_enter_the_socket(world: World) -> None:
    before = len(sessions(world))
    done = connect(world, "prod-db", "--", "setpriv", "--reuid=65534", "--clear-groups", "psql", "-Xc", "select 1")
    assert "Permission denied" in done.stderr
    assert len(sessions(world)) == before


def test_ctrl_c_ends_everything_that_a_port_serves(world: World) -> None:
    with Listening(world) as listening:
        connection = psycopg.connect(listening.offer["dsn"], autocommit=True)
        connection.execute("select 1")
        status, said = listening.stop()
        assert status == 130
        with pytest.raises(psycopg.OperationalError, match="was stopped"):
            connection.execute("select 2")
        connection.close()
        assert "Traceback" not in said
    until(lambda: sessions(world)[0]["state"] == "ended", "the session ends with it")


def test_a_program_that_is_ended_by_a_signal(world: World) -> None:
    assert connect(world, "prod-db", "--", "sh", "-c", "kill -TERM $$").returncode == 143
    assert connect(world, "prod-db", "--", "sh", "-c", "exit 7").returncode == 7
    missing = connect(world, "prod-db", "--", "no-such-program")
    assert (missing.returncode, "There is no program no-such-program" in missing.stderr) == (4, True)


def test_replication_is_refused_where_nobody_offers_it(world: World) -> None:
    done = connect(world, "prod-db", "--", "psql", "-XAt", "replication=database", "-c", "IDENTIFY_SYSTEM")
    assert done.returncode == 2
    assert "Replication is not available on prod-db" in done.stderr


def test_policy_denies_the_session_in_its_own_words(world: World) -> None:
    done = psql(world, "select 1", "--reason", "just curious")
    assert done.returncode == 126
    assert done.stderr.startswith("sallyport: Curiosity is no reason. [denied]")
    assert sessions(world)[0]["state"] == "denied"


def test_somebody_whom_no_rule_lets_in_is_refused_on_record(world: World) -> None:
    bob = world.stack.person("bob")
    assert bob.login(world.stack.url).returncode == 0
    done = bob.run(["sallyport", "connect", "prod-db", "--", "psql", "-c", "select 1"])
    assert done.returncode == 126
    assert done.stderr.startswith("sallyport: No policy permits this. [denied]")
    found = json.loads(bob.run(["sallyport", "sessions", "-n", "1000", "--json"]).stdout)["sessions"]
    assert (found[0]["target"], found[0]["state"]) == ("prod-db", "denied")


@pytest.mark.parametrize(
    ("target", "words", "code"),
    [
        ("down-db", "The agent cannot reach down-db.", "target_unreachable"),
        ("wrong-db", "wrong-db refused the credential for shop_app.", "target_login"),
        ("no-password", "The agent does not hold the target's credential.", "credential_missing"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_the_target_does_not_let_us_in(world: World, target: str, words: str, code: str, way: str) -> None:
    done = psql(world, "select 1", target=target, way=way)
    assert done.returncode == 2
    assert f"sallyport: {words}" in done.stderr
    assert code in done.stderr
    assert world.stack.database.password not in done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_an_agent_that_another_ca_vouches_for_gets_nothing(world: World, scratch: Path, way: str) -> None:
    import shutil

    home = scratch / "home"
    shutil.copytree(world.alice.environment["SALLYPORT_HOME"], home)
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(scratch / "ca")], check=True)
    trust = json.loads((home / "trust.json").read_text())
    trust["ssh_ca"] = (scratch / "ca.pub").read_text().rsplit(" ", 1)[0]
    (home / "trust.json").write_text(json.dumps(trust))
    done = connect(world, "prod-db", "--", "psql", "-Xc", "select 1", way=way, SALLYPORT_HOME=str(home))
    assert done.returncode == 2
    assert "signed by somebody else. [agent_unverified]" in done.stderr


def test_a_database_that_is_stopped_in_mid_session_and_comes_back(world: World) -> None:
    with terminal(world, "relay") as process:
        world.stack.database.stop()
        try:
            process.send("select 1;\r")
            process.expect("sallyport: prod-db ended the connection|terminating connection")
        finally:
            world.stack.database.restart()
    assert psql(world, "select 1").stdout == "1\n"


@pytest.mark.parametrize("way", WAYS)
def test_secrets_are_nowhere(world: World, way: str) -> None:
    password = world.stack.database.password.encode()
    with terminal(world, way) as process:
        process.send("select name from customers;\r")
        process.expect("Edsger")
        listing = b"".join(_command_lines())
        sid = sessions(world)[0]["sid"]
    until(lambda: sessions(world)[0]["state"] == "ended", "the session ends")
    recorded = b"".join(_recorded(world, sid))
    assert b"select name" in recorded
    log = (world.stack.folder / "agent.log").read_bytes()
    for what, text in (("ps", listing), ("recording", recorded), ("log", log)):
        assert password not in text, what
        assert not TOKEN.search(text), what
    held = [path for path in world.alice.folder.rglob("*") if path.is_file() and password in path.read_bytes()]
    assert held == []
    assert password.decode() not in json.dumps(sessions(world))


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def _recorded(world: World, sid: str) -> Iterator[bytes]:
    for key, _ in world.stack.recordings():
        if sid in key and key.endswith(".zst"):
            yield text_of(world.stack.stored(key))
