"""Ways past a rule about replication, each beside an innocent twin. Rows are only ever added.

The rules permit one slot, backups to the client, what only tells, and SQL that reads. An evasion must not reach the server; its
twin must, as it was sent.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.core.sql import analyse
from agent.core.sql.catalogue import Catalogue
from agent.protocols.postgres import messages
from agent.protocols.postgres.classify import Classifier
from chalicelib.contracts.faults import Fault
from tests.unit.agent.protocols.postgres.conversation import IDLE, SYNC, Conversation, bind, error, execute, parse, query
from tests.unit.agent.protocols.postgres.test_walsender import Replica

ROWS = [json.loads(line) for line in Path(__file__).with_name("replication.jsonl").read_text(encoding="utf-8").splitlines()]
RULES = (
    'permit(principal, action == Action::"run", resource) when { context.effects == ["read"] };',
    'permit(principal, action == Action::"replicate", resource) when { context.objects.contains("slot:mine") };',
    'permit(principal, action == Action::"replicate", resource) when { context.effects == ["read"] };',
    'permit(principal, action == Action::"replicate", resource) when { context.verbs.contains("BASE_BACKUP") };',
    'forbid(principal, action == Action::"replicate", resource) when { context.flags.contains("file_access") };',
)


def understood(talk: Conversation) -> Conversation:
    talk.classifier = Classifier(lambda text, catalogue, session: analyse(text, catalogue, session=session), Catalogue())
    talk.engine._classifier = talk.classifier
    return talk


def test_the_corpus_only_grows() -> None:
    assert len(ROWS) >= 19
    assert len({row["evasion"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row["about"] for row in ROWS])
def test_an_evasion_does_not_reach_the_server(row: dict[str, str]) -> None:
    talk = understood(Replica(*RULES))
    sent = talk.says(query(row["evasion"]))
    assert row["evasion"].encode() not in sent
    assert b"REPLICATION" not in sent
    assert talk.denied == 1
    assert talk.answers(error(), IDLE)[:1] == b"E"


@pytest.mark.parametrize("row", ROWS, ids=[row["about"] for row in ROWS])
def test_its_innocent_twin_does(row: dict[str, str]) -> None:
    talk = understood(Replica(*RULES))
    assert talk.says(query(row["twin"])) == query(row["twin"])


@pytest.mark.parametrize("text", ["START_REPLICATION SLOT mine LOGICAL 0/0", "IDENTIFY_SYSTEM", "BASE_BACKUP"])
def test_commands_have_no_meaning_on_other_connections(text: str) -> None:
    permit, forbid = (
        "permit(principal, action, resource);",
        'forbid(principal, action, resource) when { context.effects.contains("unknown") };',
    )
    simple, extended = (understood(Conversation(permit, forbid)) for _ in range(2))
    assert text.encode() not in simple.says(query(text))
    assert text.encode() not in extended.says(parse("", text), bind("", ""), execute(), SYNC)
    # Where the unknown is permitted, the server may say what is wrong with it; that runs nothing.
    simple, extended = (understood(Conversation(permit)) for _ in range(2))
    prepared = messages.parse("sallyport_denied", text)
    assert simple.says(query(text)).replace(prepared, b"").count(text.encode()) == 0
    sent = extended.says(parse("", text), bind("", ""), execute(), SYNC)
    assert sent.replace(prepared, b"").count(text.encode()) == 0
    assert execute() not in sent


def test_asking_for_it_twice_is_no_question() -> None:
    twice = messages.startup({"user": "a", "replication": "false"})[4:-1] + b"replication\0database\0\0"
    with pytest.raises(messages.Malformed):
        messages.read_startup(twice)
    once = messages.startup({"user": "a", "replication": "database"})[4:]
    assert messages.read_startup(once)["replication"] == "database"


def test_a_stream_is_no_road_for_commands() -> None:
    talk = Replica(*RULES)
    talk.says(query("START_REPLICATION SLOT mine LOGICAL 0/0"))
    talk.answers(messages.message("W", b"\0\0\0"))
    with pytest.raises(Fault, match="protocol_error"):
        talk.says(query("DROP_REPLICATION_SLOT theirs"))
    assert b"theirs" not in talk.target
