"""COPY of a query in binary: the server describes the query first, behind the same permit."""

from __future__ import annotations

import pytest

from agent.protocols.postgres import messages
from tests.unit.agent.protocols.postgres.conversation import (
    ALLOW,
    BOUND,
    CLOSED,
    FAILED,
    IDLE,
    IN_BLOCK,
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
    fault_of,
    parse,
    query,
    words,
)

COPY = "COPY (describable) TO STDOUT (FORMAT binary)"
NAME = "sallyport_asks"
CLOSE = messages.close("S", NAME)
QUESTION = CLOSE + messages.parse(NAME, "SELECT described") + messages.describe("S", NAME) + CLOSE
NO_PARAMETERS = messages.message("t", b"\0\0")
DESCRIBED = CLOSED + PARSED + NO_PARAMETERS + columns("a") + CLOSED
OUT = messages.message("H", b"\1\0\1\0\1")
DATA = messages.message("d", b"hunter2")
MASKED = messages.message("d", b"****")
OVER = messages.message("c") + complete("COPY 1")


def done(talk: Conversation) -> list[tuple[str, str]]:
    return [(line["outcome"], line.get("state", "")) for line in talk.record if line["event"] == "done"]


def test_the_question_travels_with_the_copy_once_it_is_recorded() -> None:
    talk = Conversation()
    assert talk.says(query(COPY)) == QUESTION + SYNC + query(COPY)
    assert talk.order[0] == "Record!"
    assert talk.answers(DESCRIBED, IDLE) == b""
    assert talk.answers(OUT, DATA, OVER, IDLE) == OUT + MASKED + OVER + IDLE
    assert done(talk) == [("ok", "")]


def test_nothing_is_asked_about_what_is_denied() -> None:
    talk = Conversation()
    denied = talk.says(query(COPY + " -- forbidden"))
    assert NAME.encode() not in denied
    assert b"described" not in denied


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 8, 13])
def test_answers_may_be_cut_anywhere(parts: int) -> None:
    talk = Conversation()
    talk.says(query(COPY))
    data = DESCRIBED + IDLE + OUT + DATA + OVER + IDLE
    shown = b"".join(talk.answers(data[at : at + parts]) for at in range(0, len(data), parts))
    assert shown == OUT + MASKED + OVER + IDLE


def test_a_question_that_fails_is_not_shown_and_the_copy_fails_in_its_own_words() -> None:
    talk = Conversation()
    talk.says(query(COPY))
    assert talk.answers(CLOSED, error("42703", "no such column"), IDLE) == b""
    shown = talk.answers(error("42703", "no such column here"), IDLE)
    assert words(shown)["M"] == "no such column here"
    assert shown.endswith(IDLE)
    assert done(talk) == [("error", "42703")]
    assert talk.says(query("SELECT 1")) == query("SELECT 1")


def test_inside_a_block_the_client_reads_why_the_question_failed() -> None:
    talk = Conversation()
    talk.says(query("SELECT 0"))
    talk.answers(complete("SELECT 0"), IN_BLOCK)
    talk.says(query(COPY))
    why = messages.fields("E", {"S": "ERROR", "V": "ERROR", "C": "42703", "M": "no such column", "P": "8"})
    assert talk.answers(why, FAILED) == b""
    shown = talk.answers(error("25P02", "current transaction is aborted"), FAILED)
    assert words(shown) == {"S": "ERROR", "V": "ERROR", "C": "42703", "M": "no such column"}
    assert shown.endswith(FAILED)
    assert done(talk)[1:] == [("error", "42703")]


def test_without_its_answer_nothing_is_shown() -> None:
    talk = Conversation()
    talk.says(query(COPY))
    talk.answers(error("57014", "canceling statement"), IDLE)
    assert fault_of(lambda: talk.answers(OUT)) == "not_supported"


def test_neither_where_it_speaks_of_other_columns() -> None:
    talk = Conversation()
    talk.says(query(COPY))
    talk.answers(CLOSED, PARSED, NO_PARAMETERS, columns("a", "b"), CLOSED, IDLE)
    assert fault_of(lambda: talk.answers(OUT)) == "not_supported"


def test_only_a_copy_that_is_sent_alone_is_asked_about() -> None:
    talk = Conversation()
    denied = talk.says(query("SELECT 1; " + COPY))
    assert b"COPY" not in denied
    assert "alone" in words(talk.answers(error(), IDLE))["M"]


def test_nor_one_that_stands_in_a_segment() -> None:
    talk = Conversation()
    talk.says(parse("", "SELECT 1"), query(COPY))
    assert b"COPY" not in talk.target


def test_in_the_extended_protocol_the_question_stands_before_execute() -> None:
    talk = Conversation(ALLOW)
    talk.says(parse("", COPY), bind("", ""), describe("P"), execute(), SYNC)
    assert talk.target.endswith(QUESTION + execute() + SYNC)
    assert talk.answers(PARSED, BOUND, NO_DATA) == PARSED + BOUND + NO_DATA
    assert talk.answers(DESCRIBED) == b""
    assert talk.answers(OUT, DATA, OVER, IDLE) == OUT + MASKED + OVER + IDLE
    assert done(talk) == [("ok", "")]


def test_there_its_failure_is_that_of_the_segment() -> None:
    talk = Conversation(ALLOW)
    talk.says(parse("", COPY), bind("", ""), describe("P"), execute(), SYNC)
    talk.answers(PARSED, BOUND, NO_DATA)
    shown = talk.answers(error("42703", "no such column"), IDLE)
    assert words(shown)["M"] == "no such column"
    assert shown.endswith(IDLE)
    assert shown.count(b"no such column") == 1
    assert done(talk) == [("error", "42703")]


def test_the_end_of_the_connection_is_shown() -> None:
    talk = Conversation()
    talk.says(query(COPY))
    assert words(talk.answers(messages.error("FATAL", "57P01", "terminating connection")))["C"] == "57P01"
