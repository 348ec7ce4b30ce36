"""The matrix of docs/reference/when-parts-fail.md: every failure has an answer with a stable code, and nothing gets past it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.core.sql import analyse
from agent.core.sql.catalogue import Catalogue
from agent.core.units import Side
from agent.protocols.postgres import messages
from agent.protocols.postgres.cancels import Cancels
from agent.protocols.postgres.catalogue import Catalogues
from agent.protocols.postgres.classify import Classifier
from agent.protocols.postgres.reading import make_classifier, make_masks
from agent.protocols.postgres.rows import torn
from agent.protocols.postgres.transport import Connection, Plant
from agent.runtime.relay import Performer
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import NOW_MS, FakeServing, make_claims, make_policy, make_target
from tests.unit.agent.protocols.postgres.conversation import (
    ALLOW,
    IDLE,
    SYNC,
    Conversation,
    bind,
    columns,
    error,
    execute,
    fault_of,
    query,
    row,
)
from tests.unit.agent.protocols.postgres.test_walsender import Replica, streaming

MATRIX = Path(__file__).parents[5] / "docs/reference/when-parts-fail.md"
TABLE = MATRIX.read_text().partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `([a-z0-9-]+)`: .*? \| .*? \| (.*?) \|", TABLE, re.MULTILINE))
UNKNOWN = 'forbid(principal, action, resource) when { context.effects.contains("unknown") };'


def refused(talk: Conversation, *parts: bytes) -> str:
    """Say ``parts``, of which the server may see nothing, and return the SQLSTATE that the client reads."""
    sent = talk.says(*parts)
    assert b"denied by the gateway" in sent
    assert b"SECRET" not in sent
    shown = talk.answers(error(), IDLE)
    assert talk.denied == 1
    return messages.read_fields(shown[5 : 1 + int.from_bytes(shown[1:5])])["C"]


def understood(*rules: str) -> Conversation:
    """A conversation whose texts are read for what they are, of a database without tables."""
    talk = Conversation(*rules)
    talk.classifier = Classifier(lambda text, catalogue, session: analyse(text, catalogue, session=session), Catalogue())
    talk.engine._classifier = talk.classifier
    return talk


def ended(talk: Conversation, act: Callable[[], object]) -> str:
    """Have the connection end, and return the code. Neither side sees anything of what ended it."""
    target, client = talk.target, talk.client
    code = fault_of(act)
    assert (talk.target, talk.client) == (target, client)
    return code


def grant_over() -> str:
    talk = Conversation(ALLOW)
    talk.perform(talk.engine.receive(Side.CLIENT, query("SELECT SECRET"), NOW_MS + 10**12))
    assert b"SECRET" not in talk.target
    shown = talk.answers(error(), IDLE)
    return messages.read_fields(shown[5 : 1 + int.from_bytes(shown[1:5])])["C"]


def reading_breaks() -> str:
    talk = Conversation(ALLOW)

    def broken(*_: object) -> Any:
        raise RuntimeError("broken")

    talk.engine._classifier = Classifier(broken, Catalogue())
    with pytest.raises(RuntimeError):
        talk.says(query("SELECT SECRET"))
    assert talk.target == b""
    return "internal"


class Stage:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def to_target(self, data: bytes) -> None:
        self.sent.append(data)

    def to_client(self, data: bytes, stream: object) -> None:
        self.sent.append(data)


def performed() -> tuple[FakeServing, Stage, Any]:
    serving, stage = FakeServing(), Stage()
    effects = Conversation(ALLOW).engine.receive(Side.CLIENT, query("SELECT 1"), NOW_MS)
    return serving, stage, Performer(serving, stage).perform(effects)  # type: ignore[arg-type]


def recorder_fails() -> str:
    async def run() -> str:
        serving, stage, work = performed()
        serving.recorder.failing = True
        with pytest.raises(Fault) as caught:
            await work
        assert stage.sent == []
        return caught.value.code

    return asyncio.run(run())


def recorder_slow() -> str:
    async def run() -> str:
        serving, stage, work = performed()
        serving.recorder.gate = asyncio.Event()
        task = asyncio.ensure_future(work)
        for _ in range(20):
            await asyncio.sleep(0)
        assert stage.sent == []
        serving.recorder.gate.set()
        await task
        assert stage.sent == [query("SELECT 1")]
        return "—"

    return asyncio.run(run())


def mask_fails() -> str:
    talk = Conversation(ALLOW)

    class Broken:
        def rows(self, rows: object) -> Any:
            raise torn("another number of columns")

    talk.engine._answers._masks.result = lambda fields, meaning: Broken()  # type: ignore[method-assign,assignment,return-value]
    talk.says(query("SELECT 1"))
    talk.answers(columns("a"))
    return ended(talk, lambda: talk.answers(row(b"SECRET")))


def asked(*parts: bytes) -> Conversation:
    talk = Conversation(ALLOW)
    talk.says(query("SELECT 1"), *parts)
    return talk


def question_fails() -> str:
    talk = Conversation(ALLOW)
    talk.says(query("SET search_path TO a"))
    talk.answers(messages.message("C", b"SET\0"), IDLE)
    talk.says(query("SELECT 1"))
    assert talk.answers(error("57014", "canceling statement"), IDLE) == b""
    assert talk.engine.mark().earlier, "what the name means is still open"
    return "—"


def copy_not_described() -> str:
    talk = Conversation(ALLOW)
    talk.says(query("COPY (describable) TO STDOUT (FORMAT binary)"))
    talk.answers(error("57014", "canceling statement"), IDLE)
    copied = messages.message("H", b"\1\0\1\0\1") + messages.message("d", b"SECRET")
    return ended(talk, lambda: talk.answers(copied))


def replicates(options: dict[str, Any], *rules: str) -> str:
    async def ask() -> str:
        target = make_target(name="db", protocol="postgres", options={"database": "db", **options})
        serving = FakeServing(target=target, policy=make_policy(*rules, target=target), claims=make_claims(target="db"))
        plant = Plant(lambda: ssl.create_default_context(), Cancels(), Catalogues(), make_classifier, make_masks)
        with pytest.raises(Fault) as caught:
            await Connection(serving, plant)._replicates("database")
        return caught.value.code

    return asyncio.run(ask())


def hiding(talk: Replica) -> Replica:
    talk.hide("ssn")
    return talk


def replication_changed() -> str:
    talk = streaming()
    talk.hide("ssn")
    return ended(talk, lambda: talk.answers(messages.message("d", b"wSECRET")))


HUGE = (1 << 30).to_bytes(4)
TESTS: dict[str, Callable[[], str]] = {
    "policy-permits-nothing": lambda: refused(Conversation("forbid(principal, action, resource);"), query("SELECT SECRET")),
    "grant-over": grant_over,
    "not-sql": lambda: refused(Conversation(ALLOW, UNKNOWN), query("nonsense SECRET")),
    "not-known": lambda: refused(understood(ALLOW, UNKNOWN), query("SELECT * FROM SECRET")),
    "not-utf8": lambda: refused(Conversation(ALLOW), messages.message("Q", b"SELECT 'SECRET\xff'\0")),
    "too-long": lambda: refused(Conversation(ALLOW), query("SELECT 'SECRET" + "x" * (5 << 20) + "'")),
    "encoding-set": lambda: refused(Conversation(ALLOW), query("SET client_encoding TO 'SJIS'")),
    "strings-set": lambda: refused(Conversation(ALLOW), query("SET standard_conforming_strings TO off")),
    "function-call": lambda: refused(Conversation(ALLOW), messages.message("F", b"SECRET\0\0\0\0")),
    "copy-not-maskable": lambda: refused(Conversation(ALLOW), query("COPY unmaskable TO STDOUT")),
    "copy-not-described": copy_not_described,
    "name-not-known": lambda: refused(Conversation(ALLOW), bind("", "SECRET"), SYNC),
    "portal-not-known": lambda: refused(Conversation(ALLOW), execute("SECRET"), SYNC),
    "reading-breaks": reading_breaks,
    "recorder-fails": recorder_fails,
    "recorder-slow": recorder_slow,
    "mask-fails": mask_fails,
    "server-nonsense": lambda: ended(talk := asked(), lambda: talk.answers(messages.message("%", b"SECRET"))),
    "server-unasked": lambda: ended(talk := asked(), lambda: talk.answers(row(b"SECRET"))),
    "server-too-long": lambda: ended(talk := asked(), lambda: talk.answers(b"D" + HUGE)),
    "encoding-changed": lambda: ended(
        talk := asked(), lambda: talk.answers(messages.parameter_status("client_encoding", "SJIS"))
    ),
    "strings-changed": lambda: ended(
        talk := asked(), lambda: talk.answers(messages.parameter_status("standard_conforming_strings", "off"))
    ),
    "client-nonsense": lambda: ended(talk := asked(), lambda: talk.says(messages.message("%", b"SECRET"))),
    "client-too-long": lambda: ended(talk := asked(), lambda: talk.says(b"Q" + HUGE)),
    "replication": lambda: replicates({}, ALLOW),
    "replication-denied": lambda: replicates({"replication": True}, 'permit(principal, action == Action::"run", resource);'),
    "replication-hidden": lambda: refused(hiding(Replica(ALLOW)), query("START_REPLICATION SLOT SECRET LOGICAL 0/0")),
    "replication-command": lambda: refused(Replica(ALLOW), query("START_REPLICATION SLOT SECRET LOGICAL")),
    "replication-changed": replication_changed,
    "question-fails": question_fails,
}
#: Proved with a real server, in tests/integration/postgres/test_server_gone.py.
ELSEWHERE = {"server-gone"}


def test_no_cell_is_silent() -> None:
    assert set(ROWS) == set(TESTS) | ELSEWHERE
    assert len(ROWS) > 20


@pytest.mark.parametrize("name", TESTS)
def test_every_failure_has_its_answer(name: str) -> None:
    assert TESTS[name]() == ROWS[name].strip("`")
