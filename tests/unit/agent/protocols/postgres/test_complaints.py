"""What the gateway cannot read: the server is asked to prepare it where policy permits the unknown, and nothing of it runs."""

from __future__ import annotations

import pytest

from agent.protocols.postgres import messages
from agent.protocols.postgres.complaints import LONGEST
from tests.unit.agent.protocols.postgres.conversation import (
    ALLOW,
    BOUND,
    CLOSED,
    FAILED,
    FAILING,
    IDLE,
    IN_BLOCK,
    PARSED,
    REPLACED_PARSE,
    REPLACED_QUERY,
    SYNC,
    Conversation,
    bind,
    columns,
    complete,
    error,
    execute,
    parse,
    query,
    row,
    words,
)

NAME = "sallyport_denied"
TEXT = "selec hunter2"
QUESTION = messages.parse(NAME, TEXT) + messages.close("S", NAME) + messages.parse(NAME, FAILING)
HOLD = '@approval("group:dba") forbid(principal, action, resource) when { context.effects.contains("unknown") };'
FORBID = 'forbid(principal, action, resource) when { context.effects.contains("unknown") };'


def complaint(file: str = "scan.l") -> bytes:
    found = {"S": "ERROR", "V": "ERROR", "C": "42601", "M": "no hunter2 here", "H": "Write it well.", "P": "7", "F": file}
    return messages.fields("E", found)


def operations(talk: Conversation) -> list[tuple[object, ...]]:
    found = [line for line in talk.record if line["event"] == "operation"]
    return [(line["kind"], line["text"], line["verdict"], line["flags"]) for line in found]


def test_the_server_says_what_is_wrong_once_the_text_is_recorded() -> None:
    talk = Conversation(ALLOW)
    assert talk.says(query(TEXT)) == QUESTION + SYNC
    assert talk.order[0] == "Record!"
    shown = talk.answers(complaint(), IDLE)
    assert shown.endswith(IDLE)
    assert (words(shown)["H"], words(shown)["P"], words(shown)["M"]) == ("Write it well.", "7", "no **** here")
    assert operations(talk) == [("prepare", "selec ****", "allowed", ["unreadable"])]
    (over,) = [line for line in talk.record if line["event"] == "done"]
    assert (over["outcome"], over["state"], over["message"]) == ("error", "42601", "no **** here")
    # The connection goes on as if nothing had been asked.
    assert talk.says(query("SELECT 1")) == query("SELECT 1")
    assert talk.answers(columns("a"), row(b"1"), complete("SELECT 1"), IDLE).endswith(IDLE)


def test_what_only_the_server_can_read_is_refused_and_does_not_stay_prepared() -> None:
    talk = Conversation(ALLOW)
    talk.says(query(TEXT))
    shown = talk.answers(PARSED, CLOSED, error(words="denied by the gateway"), IDLE)
    assert shown.endswith(IDLE)
    assert shown.count(b"denied by") == 0
    assert words(shown)["C"] == "42601"
    assert b"B" + bind("", NAME)[1:] not in talk.says(bind("", NAME))


@pytest.mark.parametrize("file", ["parse_relation.c", "postgres.c", ""])
def test_what_the_server_says_of_anything_but_the_text_is_not_shown(file: str) -> None:
    talk = Conversation(ALLOW)
    talk.says(query(TEXT))
    assert b"here" not in talk.answers(complaint(file), IDLE)


def test_the_block_that_it_fails_in_has_failed() -> None:
    talk = Conversation(ALLOW)
    talk.says(query("BEGIN"))
    talk.answers(complete("BEGIN"), IN_BLOCK)
    assert talk.says(query(TEXT)) == QUESTION + SYNC
    assert talk.answers(complaint(), FAILED).endswith(FAILED)


def test_in_the_extended_protocol_the_rest_is_dropped_until_sync() -> None:
    talk = Conversation(ALLOW)
    assert talk.says(parse("mine", TEXT), bind("", "mine"), execute()) == QUESTION
    assert talk.says(SYNC) == SYNC
    shown = talk.answers(complaint(), IDLE)
    assert words(shown)["H"] == "Write it well."
    # It was never prepared, so it cannot be bound.
    assert b"mine" not in talk.says(bind("", "mine"))


def test_in_front_of_it_everything_runs() -> None:
    talk = Conversation(ALLOW)
    sent = talk.says(parse("", "SELECT 1"), bind("", ""), execute(), parse("", TEXT), SYNC)
    assert sent.endswith(QUESTION + SYNC)
    shown = talk.answers(PARSED, BOUND, messages.message("n"), complete("SELECT 0"), complaint(), IDLE)
    assert b"Write it well." in shown
    assert shown.endswith(IDLE)


@pytest.mark.parametrize("rules", [(ALLOW, FORBID), (ALLOW, HOLD)])
def test_where_policy_does_not_permit_the_unknown_the_server_sees_nothing(rules: tuple[str, ...]) -> None:
    talk = Conversation(*rules)
    assert talk.says(query(TEXT)) == REPLACED_QUERY
    assert words(talk.answers(error(), IDLE))["C"] == "42601"
    assert talk.says(parse("", TEXT)) == REPLACED_PARSE


def test_a_long_text_is_not_asked_about() -> None:
    assert Conversation(ALLOW).says(query(TEXT + " " * LONGEST)) == REPLACED_QUERY


def test_behind_messages_without_a_sync_it_is_not_asked_about() -> None:
    # The server would skip it where one of them fails, and a Sync of the gateway's own would end that.
    talk = Conversation(ALLOW)
    talk.says(parse("", "SELECT 1"))
    assert talk.says(query(TEXT)) == REPLACED_QUERY
