"""What masking keeps out of a transcript of PostgreSQL goes with the very record that lacks it, whole, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.protocols.postgres.conversation import (
    BOUND,
    FAILED,
    IDLE,
    NO_DATA,
    PARSED,
    SYNC,
    Conversation,
    bind,
    columns,
    complete,
    describe,
    error,
    execute,
    parse,
    query,
    row,
)


def kept(talk: Conversation) -> list[dict[str, Any]]:
    """What was to be sealed, without what every line has."""
    return [{name: each[name] for name in each if name not in ("ch", "time_ms", "digest", "kind")} for each in talk.originals]


def test_rows_are_kept_whole_where_one_value_of_the_result_was_masked() -> None:
    talk = Conversation(originals=True)
    talk.says(query("SELECT a, secret"))
    talk.answers(columns("a", "secret"), row(b"1", b"hunter2"), row(b"2", None), complete("SELECT 2"), IDLE)
    assert kept(talk) == [
        {"event": "done", "statement": 1, "outcome": "ok", "columns": ["a", "secret"], "values": [["1", "hunter2"], ["2", None]]}
    ]
    assert b"hunter2" not in talk.lines


def test_a_statement_is_kept_with_its_values_before_it_is_forwarded() -> None:
    talk = Conversation(originals=True)
    talk.says(parse("", "SELECT hunter2 WHERE x = $1"), bind("", "", b"hunter2"), describe("P"), execute(), SYNC)
    originals = [each for each in kept(talk) if "arguments" in each]
    assert originals == [{"event": "operation", "statement": 2, "text": "SELECT hunter2 WHERE x = $1", "arguments": ["hunter2"]}]
    assert talk.originals[-1]["digest"] in talk.lines.decode()
    assert talk.order[0] == "Record!", "durable, and before anything is forwarded"
    assert b"hunter2" not in talk.lines


def test_an_error_is_kept_as_the_server_said_it() -> None:
    talk = Conversation(originals=True)
    talk.says(query("SELECT 1"))
    talk.answers(error("22P02", "bad value hunter2"), FAILED)
    assert kept(talk) == [{"event": "done", "statement": 1, "outcome": "error", "message": "bad value hunter2"}]


def test_what_was_denied_is_kept_too() -> None:
    talk = Conversation(originals=True)
    talk.says(query("SELECT forbidden hunter2"))
    assert kept(talk) == [{"event": "operation", "statement": 1, "text": "SELECT forbidden hunter2"}]


def test_where_masking_changed_nothing_there_is_nothing_to_seal() -> None:
    talk = Conversation(originals=True)
    talk.says(query("SELECT a"))
    talk.answers(columns("a"), row(b"1"), complete("SELECT 1"), IDLE)
    talk.says(query("SELECT a"))
    talk.answers(columns("a"), row(b"2"), complete("SELECT 1"), IDLE)
    assert talk.originals == []


def test_without_originals_nothing_is_kept() -> None:
    talk = Conversation()
    talk.says(query("SELECT secret"))
    talk.answers(columns("secret"), row(b"hunter2"), complete("SELECT 1"), IDLE)
    assert talk.originals == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_short_road_keeps_the_same(times: int) -> None:
    talk = Conversation(originals=True)
    for _ in range(times):
        talk.says(query("SELECT secret, hunter2"))
        talk.answers(columns("secret"), row(b"hunter2"), complete("SELECT 1"), IDLE)
    assert [each["event"] for each in talk.originals] == ["operation", "done"] * times
    assert [each["statement"] for each in talk.originals] == [number for number in range(1, times + 1) for _ in range(2)]
    for _ in range(times):
        talk.says(parse("", "SELECT $1, hunter2"), bind("", "", b"hunter2"), describe("P"), execute(), SYNC)
        talk.answers(PARSED, BOUND, columns("secret"), row(b"hunter2"), complete("SELECT 1"), IDLE)
    assert sum("arguments" in each for each in talk.originals) == times
    assert sum(each.get("values") == [["hunter2"]] for each in talk.originals) == 2 * times
    assert b"hunter2" not in talk.lines


def test_rows_are_kept_within_the_limits_of_the_transcript() -> None:
    talk = Conversation(originals=True)
    talk.says(query("SELECT secret"))
    talk.answers(columns("secret"), *[row(b"hunter2")] * 150, complete("SELECT 150"), IDLE)
    (only,) = talk.originals
    assert len(only["values"]) == 100


def test_a_portal_read_bit_by_bit_keeps_each_bit_once() -> None:
    talk = Conversation(originals=True)
    talk.says(parse("", "SELECT secret"), bind("", ""), describe("P"), execute("", 1), execute("", 1), SYNC)
    suspended = b"s\0\0\0\4"
    talk.answers(PARSED, BOUND, columns("secret"), row(b"one"), suspended, row(b"two"), complete("SELECT 1"), IDLE)
    assert [each["values"] for each in talk.originals] == [[["one"]], [["two"]]]


def test_a_statement_without_rows() -> None:
    talk = Conversation(originals=True)
    talk.says(parse("", "DELETE hunter2"), bind("", ""), describe("P"), execute(), SYNC)
    talk.answers(PARSED, BOUND, NO_DATA, complete("DELETE 1"), IDLE)
    assert [each["event"] for each in talk.originals] == ["operation"] * 2
