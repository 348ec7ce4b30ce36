"""Replication connections, with PostgreSQL's own tools: nothing without a rule, and everything decided and recorded with one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.protocols.postgres import messages
from chalicelib.contracts.faults import Notice
from tests.fakes.agent_runtime import FakeDoor, FakeServing, make_policy
from tests.integration.plugin_listener import Ran, eventually, run
from tests.integration.postgres.conftest import RUN, TAGS, Gateway
from tests.integration.postgres.server import Postgres, binary
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

REPLICATE = 'permit(principal, action == Action::"replicate", resource);'
REVEAL = 'permit(principal, action == Action::"reveal", resource);'
ALL_BUT_SSN = 'permit(principal, action == Action::"reveal", resource) unless { context.data_class == "ssn" };'
ASKS = (
    '@approval("group:dba") @message("Ask.") forbid(principal, action == Action::"replicate", resource) '
    'when { context.verbs.containsAny(["CREATE_REPLICATION_SLOT", "START_REPLICATION"]) } '
    'unless { context.approvals.contains("dba") };'
)
NO_DROP = 'forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") };'


@pytest.fixture
def open_gate(gateway: Gateway) -> Gateway:
    """A gateway whose policy permits replication to somebody who may see everything."""
    gateway.login = "admin"
    gateway.options = {"columns": TAGS, "replication": True}
    gateway.rules = (RUN, REPLICATE, REVEAL)
    return gateway


@pytest.fixture
async def slots(postgres: Postgres) -> AsyncIterator[None]:
    yield
    await nobody_streams(postgres)
    postgres.admin("postgres", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


async def nobody_streams(postgres: Postgres) -> None:
    """Wait until the server knows that whoever streamed is gone."""
    count = "SELECT count(*) FROM pg_replication_slots WHERE active"
    await eventually(lambda: postgres.admin("postgres", count) == "0")


def said(gateway: Gateway, session: int = -1) -> list[tuple[str, str]]:
    """The first word of each operation of a session, and what was decided."""
    return [
        (str(line["text"]).split(" ")[0].rstrip(";"), str(line["verdict"])) for line in gateway.recorded("operation", session)
    ]


async def tool(gateway: Gateway, name: str, *arguments: str) -> Ran[bytes]:
    return await run([binary(name), *arguments, "-d", gateway.dsn], env={"PGPASSWORD": "none"})


async def commands(gateway: Gateway, text: str, mode: str = "database") -> Ran[str]:
    """Run commands one by one, each as a message of its own."""
    return await gateway.psql(text, dsn=f"{gateway.dsn} replication={mode}")


# -- refused unless policy says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["true", "database", "on", "1", "yes", "t"])
async def test_nothing_without_the_targets_word(gateway: Gateway, mode: str) -> None:
    gateway.login, gateway.rules = "admin", (RUN, REPLICATE, REVEAL)
    ran = await commands(gateway, "IDENTIFY_SYSTEM;", mode)
    assert ran.status != 0
    assert "Replication is not available on shop" in ran.err


@pytest.mark.parametrize("mode", ["true", "database"])
async def test_nothing_without_a_rule(open_gate: Gateway, mode: str) -> None:
    open_gate.rules = (RUN, REVEAL)
    ran = await commands(open_gate, "IDENTIFY_SYSTEM;", mode)
    assert "No policy permits this" in ran.err
    assert said(open_gate) == [(f"replication={mode}", "denied")]
    assert ("denied", f"replication={mode}") in open_gate.servings[-1].happened


@pytest.mark.parametrize("mode", ["true", "database"])
async def test_nothing_for_whom_something_is_hidden(open_gate: Gateway, mode: str) -> None:
    open_gate.rules = (RUN, REPLICATE, ALL_BUT_SSN)
    ran = await commands(open_gate, "IDENTIFY_SYSTEM;", mode)
    assert "needs a rule that reveals every class of data to you: ssn." in ran.err


async def test_each_command_is_decided(open_gate: Gateway, slots: None) -> None:
    forbid = '@message("No slots.") forbid(principal, action == Action::"replicate", resource) '
    open_gate.rules = (*open_gate.rules, forbid + 'when { context.verbs.contains("CREATE_REPLICATION_SLOT") };')
    ran = await commands(open_gate, "IDENTIFY_SYSTEM;\nCREATE_REPLICATION_SLOT kept PHYSICAL;\nSHOW wal_level;\nSELECT 1;")
    assert "No slots." in ran.err
    assert ran.out.splitlines()[1:] == ["logical", "1"]
    decided = [("IDENTIFY_SYSTEM", "allowed"), ("CREATE_REPLICATION_SLOT", "denied"), ("SHOW", "allowed"), ("SELECT", "allowed")]
    assert said(open_gate) == decided
    assert open_gate.postgres.admin("postgres", "SELECT count(*) FROM pg_replication_slots") == "0"


async def test_sql_stays_sql(open_gate: Gateway) -> None:
    open_gate.rules = (*open_gate.rules, NO_DROP)
    ran = await commands(open_gate, "SELECT count(*) FROM public.customers;\nDROP TABLE customers;\nSELECT 2;")
    assert (ran.out, "A policy forbids this" in ran.err) == ("50\n2\n", True)
    assert [line["outcome"] for line in open_gate.recorded("done")] == ["ok", "ok"]


async def test_what_is_no_command_does_not_run(open_gate: Gateway, slots: None) -> None:
    texts = [
        "CREATE_REPLICATION_SLOT a PHYSICAL; DROP_REPLICATION_SLOT b;",
        "IDENTIFY_SYSTEM /* x */",
        "create_replication_slot a physical",
        "START_REPLICATION 0/0 PHYSICAL",
        "SHOW wal_level; CREATE_REPLICATION_SLOT a PHYSICAL",
    ]
    for text in texts:
        ran = await open_gate.psql("", "-c", text, dsn=f"{open_gate.dsn} replication=database")
        assert ran.status == 1, text
        assert said(open_gate)[-1][1] == "denied", text
    assert open_gate.postgres.admin("postgres", "SELECT count(*) FROM pg_replication_slots") == "0"
    physical = await commands(open_gate, "SELECT 1;", "true")
    assert "takes replication commands only" in physical.err


async def test_commands_are_nothing_elsewhere(open_gate: Gateway) -> None:
    ran = await open_gate.psql("", "-c", "IDENTIFY_SYSTEM")
    assert ran.status == 1
    # Everything is permitted here, so the server itself was asked what is wrong with it.
    assert "syntax error" in ran.err
    assert [(line["kind"], line["flags"]) for line in open_gate.recorded("operation")] == [("prepare", ["unreadable"])]


async def test_a_command_waits_for_others(open_gate: Gateway, slots: None) -> None:
    open_gate.rules = (*open_gate.rules, ASKS)
    running = asyncio.ensure_future(commands(open_gate, "CREATE_REPLICATION_SLOT kept PHYSICAL;\nSHOW wal_level;"))
    await eventually(lambda: open_gate.servings and open_gate.servings[-1].approvals.asked)
    approvals = open_gate.servings[-1].approvals
    ((operation, _),) = approvals.asked
    assert (operation.action, operation.text) == ("replicate", "CREATE_REPLICATION_SLOT kept PHYSICAL;")
    assert open_gate.postgres.admin("postgres", "SELECT count(*) FROM pg_replication_slots") == "0"
    approvals.release.set()
    ran = await running
    assert ran.out.splitlines()[-1] == "logical", ran
    assert open_gate.postgres.admin("postgres", "SELECT slot_name FROM pg_replication_slots") == "kept"
    assert approvals.used == [("req_1", operation.digest())]
    assert open_gate.recorded("operation")[0]["approvers"] == ["carol@example.com"]


async def test_a_stream_that_others_agreed_to_goes_on(open_gate: Gateway) -> None:
    open_gate.rules = (*open_gate.rules, ASKS)
    async with Standby(open_gate) as standby:
        open_gate.servings[-1].approvals.release.set()
        await standby.streaming()
        standby.say(messages.message("d", STATUS))
        while not (await standby.next())[1].startswith(b"k"):
            pass


async def test_through_the_agents_own_listener(open_gate: Gateway) -> None:
    class Opens(FakeDoor):
        async def ticketed(self, ticket: str, user: str, target: str) -> FakeServing:
            self.asked.append((ticket, user, target))
            return open_gate.serving()

    door = Opens(None)
    open_gate.door = door
    ran = await open_gate.psql("SHOW wal_level;", dsn=f"{open_gate.dsn} password=ticket replication=database")
    assert ran.out == "logical\n", ran
    assert door.asked == [("ticket", "ann", "shop")]


# -- streams -----------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def started(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PGPASSWORD": "none", "LC_ALL": "C"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_changes_of_rows_arrive_as_they_are(open_gate: Gateway, slots: None, folder: Path) -> None:
    dsn, out = open_gate.dsn, folder / "changes"
    created = await tool(open_gate, "pg_recvlogical", "--slot", "a", "--create-slot", "--plugin", "test_decoding")
    assert created.status == 0, created
    arguments = ["--slot", "a", "--start", "-f", str(out), "-s", "1", "-d", dsn]
    async with started(binary("pg_recvlogical"), *arguments) as process:
        write = "INSERT INTO public.notes (body) VALUES ('write to zoe@example.com')"
        await asyncio.to_thread(open_gate.postgres.direct, write)
        await eventually(lambda: out.exists() and "zoe@example.com" in out.read_text())
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), HANG_S)
    assert process.returncode == 0, err
    assert said(open_gate)[-1] == ("START_REPLICATION", "allowed")
    operation = open_gate.recorded("operation")[-1]
    assert operation["objects"] == ["slot:a"]
    assert {"logical", "raw", "replication"} <= set(operation["flags"])  # type: ignore[call-overload]
    await eventually(lambda: "messages" in open_gate.recorded("done")[-1])
    done = open_gate.recorded("done")[-1]
    assert done["outcome"] in ("ok", "broken off"), "it may hang up before the server has said its last"
    assert int(str(done["bytes"])) > 100
    assert int(str(done["sent"])) > 30
    assert "zoe" not in str(open_gate.record), "raw rows are counted and hashed, and not kept"
    await nobody_streams(open_gate.postgres)
    dropped = await tool(open_gate, "pg_recvlogical", "--slot", "a", "--drop-slot")
    assert dropped.status == 0, dropped


async def test_the_log_is_received(open_gate: Gateway, slots: None, folder: Path) -> None:
    created = await tool(open_gate, "pg_receivewal", "--slot", "p", "--create-slot")
    assert created.status == 0, created
    async with started(
        binary("pg_receivewal"), "-D", str(folder), "--slot", "p", "-s", "1", "--synchronous", "-d", open_gate.dsn
    ) as process:
        await eventually(lambda: list(folder.glob("*.partial")))
        segment = open_gate.postgres.admin("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())")
        await asyncio.to_thread(open_gate.postgres.admin, "postgres", "SELECT pg_switch_wal()")
        await asyncio.to_thread(open_gate.postgres.direct, "INSERT INTO notes (body) VALUES ('after the switch')")
        await eventually(lambda: (folder / segment).exists())
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), HANG_S)
    assert process.returncode == 0, err
    original = open_gate.postgres.data / "pg_wal" / segment
    same = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / segment, original)]
    assert same[0] == same[1]
    assert {verb for verb, _ in said(open_gate)} >= {"IDENTIFY_SYSTEM", "READ_REPLICATION_SLOT", "SHOW", "START_REPLICATION"}


async def test_a_backup_can_be_verified(open_gate: Gateway, folder: Path) -> None:
    target = folder / "backup"
    ran = await tool(open_gate, "pg_basebackup", "-D", str(target), "-X", "stream", "-c", "fast", "--no-sync")
    assert ran.status == 0, ran
    checked = await run([binary("pg_verifybackup"), str(target)])
    assert checked.status == 0, checked
    sessions = [dict(said(open_gate, number)) for number in range(len(open_gate.servings))]
    backup = next(number for number, verbs in enumerate(sessions) if "BASE_BACKUP" in verbs)
    assert any("START_REPLICATION" in verbs for verbs in sessions)
    done = open_gate.recorded("done", backup)[-1]
    assert (done["outcome"], done["tag"]) == ("ok", "BASE_BACKUP")
    assert int(str(done["bytes"])) > 10_000_000


# -- what ends a stream ------------------------------------------------------------------------------------------------------


class Standby:
    """A client written by hand: a walreceiver that says what a test wants it to."""

    def __init__(self, gateway: Gateway, mode: str = "true", *more: bytes) -> None:
        parameters = {"user": "ann", "database": "replication" if mode == "true" else "shop", "replication": mode}
        self._first = messages.startup(parameters)
        self._port = gateway.port

    async def __aenter__(self) -> Standby:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.writer.write(self._first)
        assert (await self.until("Z"))[-1][0] == "Z"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def say(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def next(self) -> tuple[str, bytes]:
        async with asyncio.timeout(HANG_S):
            kind, length = struct.unpack(">cI", await self.reader.readexactly(5))
            return kind.decode(), await self.reader.readexactly(length - 4)

    async def until(self, *kinds: str) -> list[tuple[str, bytes]]:
        found = [await self.next()]
        while found[-1][0] not in (*kinds, "E"):
            found.append(await self.next())
        return found

    async def streaming(self) -> None:
        """Ask for the log from its end, and wait for the stream."""
        self.say(messages.query("IDENTIFY_SYSTEM"))
        row = next(body for kind, body in await self.until("Z") if kind == "D")
        place = [part for part in row.decode("latin-1").split("\0") if "/" in part][-1]
        at = "".join(letter for letter in place if letter in "0123456789ABCDEF/")
        self.say(messages.query(f"START_REPLICATION PHYSICAL {at}"))
        assert (await self.until("W"))[-1][0] == "W"


STATUS = b"r" + struct.pack(">QQQQB", 0, 0, 0, 0, 1)
COPY_DONE = messages.message("c")


async def test_both_sides_end_a_stream_and_the_session_goes_on(open_gate: Gateway) -> None:
    async with Standby(open_gate) as standby:
        await standby.streaming()
        standby.say(messages.message("d", STATUS))
        while not (await standby.next())[1].startswith(b"k"):
            pass
        standby.say(COPY_DONE)
        assert "c" in [kind for kind, _ in await standby.until("Z")]
        standby.say(messages.message("d", STATUS), messages.query("SHOW wal_level"))
        assert (await standby.until("Z"))[0][0] == "T"
    assert said(open_gate)[-1] == ("SHOW", "allowed")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (messages.query("IDENTIFY_SYSTEM"), b"in the middle of a stream"),
        (messages.message("d", b"x" * 40), b"no standby says"),
        (messages.message("d", b""), b"no standby says"),
        (messages.message("d", b"r" + bytes(70_000)), b"no standby says"),
        (messages.message("S"), b"in the middle of a stream"),
    ],
)
async def test_nothing_else_passes_in_a_stream(open_gate: Gateway, data: bytes, words: bytes) -> None:
    async with Standby(open_gate) as standby:
        await standby.streaming()
        standby.say(data)
        kind, body = (await standby.until("E"))[-1]
        assert kind == "E"
        assert words in body


async def test_a_killed_session_streams_no_more(open_gate: Gateway) -> None:
    async with Standby(open_gate) as standby:
        await standby.streaming()
        open_gate.servings[-1].ended.set_result(Notice("session_killed", "Ended by dan."))
        kind, body = (await standby.until("E"))[-1]
        assert (kind, b"Ended by dan." in body) == ("E", True)
    await eventually(lambda: open_gate.recorded("done")[-1:] and open_gate.recorded("done")[-1]["outcome"] == "broken off")
    count = "SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'sallyport%'"
    await eventually(lambda: open_gate.postgres.admin("postgres", count) == "0")


@pytest.mark.parametrize(
    ("rules", "words"), [((RUN, REPLICATE), b"reveals to you has changed"), ((RUN, REVEAL), b"No policy permits this")]
)
async def test_a_policy_that_changes_ends_a_stream(open_gate: Gateway, rules: tuple[str, ...], words: bytes) -> None:
    async with Standby(open_gate) as standby:
        await standby.streaming()
        serving = open_gate.servings[-1]
        serving.in_force = make_policy(*rules, target=serving.target)
        standby.say(messages.message("d", STATUS))  # asks for a word of the server's
        kind, body = (await standby.until("E"))[-1]
        assert (kind, words in body) == ("E", True)


async def test_a_standby_follows_through_the_gateway(open_gate: Gateway, slots: None) -> None:
    """A subscription: SQL, a slot, a snapshot, a COPY and a stream, on connections that a server opens by itself."""
    postgres = open_gate.postgres
    postgres.admin("shop", "CREATE PUBLICATION told FOR TABLE notes")
    postgres.admin("postgres", "CREATE DATABASE copy")
    try:
        postgres.admin("copy", "CREATE TABLE notes (id int PRIMARY KEY, body text)")
        postgres.admin("shop", "SELECT pg_create_logical_replication_slot('follow', 'pgoutput')")
        connection = f"host=127.0.0.1 port={open_gate.port} user=ann dbname=shop sslmode=require password=none"
        follow = f"CREATE SUBSCRIPTION follow CONNECTION '{connection}' PUBLICATION told WITH (create_slot = false)"
        await asyncio.to_thread(postgres.admin, "copy", follow)
        await asyncio.to_thread(postgres.direct, "INSERT INTO notes (body) VALUES ('to be followed')")
        count = "SELECT count(*) FROM notes WHERE body IN ('to be followed', 'nothing to see')"
        await eventually(lambda: postgres.admin("copy", count) == "2")
        await asyncio.to_thread(postgres.admin, "copy", "DROP SUBSCRIPTION follow")
    finally:
        postgres.admin("postgres", "DROP DATABASE copy WITH (FORCE)")
        postgres.admin("shop", "DROP PUBLICATION told")
    verbs = {verb for number in range(len(open_gate.servings)) for verb, _ in said(open_gate, number)}
    assert {"START_REPLICATION", "IDENTIFY_SYSTEM", "CREATE_REPLICATION_SLOT", "COPY"} <= verbs


def hello(**parameters: str) -> bytes:
    return messages.startup(parameters)


@pytest.mark.parametrize(
    "first",
    [
        hello(user="ann", database="shop", options="-c replication=database"),
        hello(user="ann", database="shop", replication="perhaps"),
        hello(user="ann", database="shop", Replication="database"),
        hello(user="ann", database="shop", replication="DATABASE"),
        (lambda twice: (len(twice) + 4).to_bytes(4) + twice)(
            messages.startup({"user": "ann", "replication": "false"})[4:-1] + b"replication\0database\0\0"
        ),
    ],
    ids=["options", "perhaps", "capital", "loud", "twice"],
)
async def test_no_other_way_to_ask(open_gate: Gateway, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", open_gate.port)) as client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, first)
        async with asyncio.timeout(HANG_S):
            answer = await loop.sock_recv(client, 4096)
    assert answer.startswith(b"E")
    assert open_gate.servings[-1].recorder.lines(1, "jsonl")[1:] == []
