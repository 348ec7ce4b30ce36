"""Transcripts: what each side says, what the other is told, and what is written down."""

from __future__ import annotations

import pytest

from agent.protocols.postgres import messages
from chalicelib.contracts.faults import Fault
from tests.unit.agent.protocols.postgres.conversation import (
    ALLOW,
    BOUND,
    CLOSED,
    FAILED,
    FLUSH,
    IDLE,
    IN_BLOCK,
    NO_DATA,
    PARSED,
    REPLACED_PARSE,
    REPLACED_QUERY,
    SYNC,
    Conversation,
    bind,
    close,
    columns,
    complete,
    describe,
    error,
    execute,
    parse,
    query,
    row,
    words,
)


def done(talk: Conversation) -> list[tuple[int, str, int, int]]:
    return [(line["statement"], line["outcome"], line["rows"], line["masked"]) for line in talk.record if line["event"] == "done"]


def verdicts(talk: Conversation) -> list[tuple[str, str, str]]:
    return [(line["kind"], line["text"], line["verdict"]) for line in talk.record if line["event"] == "operation"]


# -- the simple protocol ------------------------------------------------------------------------------------------------------


def test_a_statement_is_recorded_then_forwarded_then_masked_on_its_way_back() -> None:
    talk = Conversation()
    assert talk.says(query("SELECT a, secret")) == query("SELECT a, secret")
    assert talk.order == ["Record!", "Count", "ToTarget"]
    shown = talk.answers(columns("a", "secret"), row(b"1", b"hunter2"), complete("SELECT 1"), IDLE)
    assert shown == columns("a", "secret") + row(b"1", b"****") + complete("SELECT 1") + IDLE
    assert verdicts(talk) == [("query", "SELECT a, secret", "allowed")]
    assert done(talk) == [(1, "ok", 1, 1)]
    assert talk.record[-1]["tag"] == "SELECT 1"


def test_a_denied_statement_never_leaves_and_the_server_fails_in_its_place() -> None:
    talk = Conversation()
    assert talk.says(query("SELECT forbidden")) == REPLACED_QUERY
    shown = talk.answers(error(), FAILED)
    assert (words(shown)["C"], words(shown)["M"]) == ("42501", "sallyport: Not that.")
    assert "rule-2" in words(shown)["H"]
    assert shown.endswith(FAILED)
    assert (talk.operations, talk.denied, talk.reports) == (1, 1, ["SELECT forbidden"])
    assert verdicts(talk) == [("query", "SELECT forbidden", "denied")]


def test_several_statements_run_together_or_not_at_all() -> None:
    talk = Conversation()
    assert talk.says(query("SELECT 1; SELECT forbidden; SELECT 3")) == REPLACED_QUERY
    assert [verdict for _, _, verdict in verdicts(talk)] == ["allowed", "denied", "allowed"]
    assert talk.denied == 1


def test_several_results_belong_to_their_statements() -> None:
    talk = Conversation()
    talk.says(query("SELECT 1; INSERT x; SELECT 2"))
    talk.answers(columns("a"), row(b"1"), complete("SELECT 1"), complete("INSERT 0 1"))
    talk.answers(columns("secret"), row(b"1"), row(b"2"), complete("SELECT 2"), IDLE)
    assert done(talk) == [(1, "ok", 1, 0), (2, "ok", 0, 0), (3, "ok", 2, 2)]


def test_after_an_error_the_rest_of_the_text_was_skipped() -> None:
    talk = Conversation()
    talk.says(query("SELECT 1; SELECT 2; SELECT 3"))
    shown = talk.answers(columns("a"), complete("SELECT 0"), error("22012", "hunter2 by zero"), IDLE)
    assert b"**** by zero" in shown
    assert [outcome for _, outcome, _, _ in done(talk)] == ["ok", "error", "skipped"]
    assert talk.record[-2]["state"] == "22012"


def test_an_empty_text_asks_nothing_and_nothing_of_it_is_forwarded() -> None:
    talk = Conversation()
    assert talk.says(query("  ; ")) == messages.query("")
    assert talk.answers(messages.message("I"), IDLE) == messages.message("I") + IDLE
    assert talk.lines == b""


def test_what_cannot_be_read_is_refused_like_a_syntax_error() -> None:
    talk = Conversation(ALLOW, 'forbid(principal, action, resource) when { context.effects.contains("unknown") };')
    assert talk.says(query("selec 1")) == REPLACED_QUERY
    assert words(talk.answers(error(), IDLE))["C"] == "42601"
    assert talk.denied == 1


@pytest.mark.parametrize(
    "text",
    [
        "SET client_encoding = 'GBK'",
        "SET NAMES 'SJIS'",
        "SET standard_conforming_strings = off",
        "SELECT set_config('client_encoding', 'GBK', false)",
    ],
)
def test_a_text_that_changes_how_texts_are_read_is_refused(text: str) -> None:
    talk = Conversation()
    assert talk.says(query(text)) == REPLACED_QUERY
    assert words(talk.answers(error(), IDLE))["C"] == "0A000"


@pytest.mark.parametrize("text", ["SET client_encoding TO 'UTF8'", "set names utf8", "SET standard_conforming_strings = on"])
def test_what_drivers_say_when_they_connect_is_let_through(text: str) -> None:
    assert Conversation().says(query(text)) == query(text)


def test_text_that_is_not_utf_8_is_refused() -> None:
    talk = Conversation()
    assert talk.says(messages.message("Q", b"SELECT '\xff'\0")) == REPLACED_QUERY
    assert talk.denied == 1


def test_a_text_past_the_limit_is_refused() -> None:
    talk = Conversation()
    assert talk.says(query("SELECT " + "1" * 5_000_000)) == REPLACED_QUERY
    assert words(talk.answers(error(), IDLE))["C"] == "54000"


def test_a_function_call_is_refused() -> None:
    talk = Conversation()
    assert talk.says(messages.message("F", b"\0\0\0\1\0\0\0\0\0\0")) == REPLACED_QUERY
    assert words(talk.answers(error(), IDLE))["C"] == "0A000"


# -- the extended protocol ----------------------------------------------------------------------------------------------------


def test_a_prepared_statement_is_decided_when_prepared_and_recorded_with_its_values() -> None:
    talk = Conversation()
    sent = parse("", "SELECT $1", 23) + bind("", "", b"7") + describe("P") + execute() + SYNC
    assert talk.says(sent) == sent
    assert talk.order[0] == "Record!"
    assert talk.order.count("Record!") == 1
    answer = PARSED + BOUND + columns("secret") + row(b"7") + complete("SELECT 1") + IDLE
    assert talk.answers(answer) == answer.replace(row(b"7"), row(b"****"))
    assert verdicts(talk) == [("prepare", "SELECT $1", "allowed"), ("execute", "SELECT $1", "allowed")]
    assert talk.record[1]["arguments"] == ["7"]
    assert done(talk) == [(2, "ok", 1, 1)]
    assert talk.operations == 1


def test_a_denied_parse_fails_in_the_server_and_the_rest_is_dropped_until_sync() -> None:
    talk = Conversation()
    sent = parse("s", "DELETE forbidden"), bind("", "s", b"secret value"), execute(), SYNC
    assert talk.says(*sent) == REPLACED_PARSE + SYNC
    shown = talk.answers(error(), FAILED)
    assert words(shown)["C"] == "42501"
    assert shown.endswith(FAILED)
    assert b"secret value" not in talk.lines
    assert talk.says(parse("", "SELECT 1"), SYNC) == parse("", "SELECT 1") + SYNC


def test_a_policy_that_changed_meanwhile_is_asked_again_at_execute() -> None:
    talk = Conversation()
    talk.says(parse("s", "SELECT 1"), bind("", "s"), FLUSH)
    talk.answers(PARSED, BOUND)
    from tests.fakes.agent_runtime import make_policy

    talk.policy = make_policy(*talk.rules, "forbid(principal, action, resource);", version=2)
    assert talk.says(execute(), SYNC) == REPLACED_PARSE + SYNC
    assert words(talk.answers(error(), IDLE))["C"] == "42501"


def test_in_a_pipeline_only_the_denied_segment_fails() -> None:
    talk = Conversation()
    one = parse("", "SELECT 1") + bind("", "") + execute() + SYNC
    two = parse("", "SELECT forbidden") + bind("", "") + execute() + SYNC
    injected = parse("", "SELECT 1") + bind("", "") + describe("P") + execute() + SYNC
    assert talk.says(one, two, one) == injected + REPLACED_PARSE + SYNC + injected
    good = PARSED + BOUND + columns("a") + row(b"1") + complete("SELECT 1") + IDLE
    shown = talk.answers(good, error(), IDLE, good)
    told = good.replace(columns("a"), b"")
    assert shown.startswith(told)
    assert shown.endswith(told)
    assert words(shown[len(told) :])["C"] == "42501"


def test_when_the_server_fails_first_what_was_under_way_is_skipped() -> None:
    talk = Conversation()
    talk.says(parse("", "SELECT 1"), bind("", ""), describe("P"), execute(), parse("", "SELECT forbidden"), SYNC)
    shown = talk.answers(PARSED, error("22012", "division by zero"), IDLE)
    assert words(shown[5:])["C"] == "22012"
    assert done(talk) == [(2, "skipped", 0, 0)]


def test_rows_that_nobody_described_are_described_for_masking() -> None:
    talk = Conversation()
    talk.says(parse("s", "SELECT 1"), SYNC)
    talk.answers(PARSED, IDLE)
    assert talk.says(bind("", "s"), execute(), SYNC) == bind("", "s") + describe("P") + execute() + SYNC
    shown = talk.answers(BOUND, columns("secret"), row(b"1"), complete("SELECT 1"), IDLE)
    assert shown == BOUND + row(b"****") + complete("SELECT 1") + IDLE


def test_a_statement_described_once_is_masked_ever_after() -> None:
    talk = Conversation()
    talk.says(parse("s", "SELECT 1"), describe("S", "s"), SYNC)
    talk.answers(PARSED, messages.message("t", b"\0\0"), columns("secret"), IDLE)
    for _ in range(2):
        assert talk.says(bind("", "s"), execute(), SYNC) == bind("", "s") + execute() + SYNC
        assert talk.answers(BOUND, row(b"1"), complete("SELECT 1"), IDLE) == BOUND + row(b"****") + complete("SELECT 1") + IDLE


def test_a_portal_is_read_in_parts() -> None:
    talk = Conversation()
    talk.says(parse("s", "SELECT 1"), bind("p", "s"), describe("P", "p"), execute("p", 1), FLUSH)
    talk.answers(PARSED, BOUND, columns("a"), row(b"1"), messages.message("s"))
    assert talk.says(execute("p", 1), SYNC) == execute("p", 1) + SYNC
    talk.answers(row(b"2"), complete("SELECT 1"), IDLE)
    assert done(talk) == [(2, "suspended", 1, 0), (2, "ok", 1, 0)]
    assert [line["event"] for line in talk.record].count("continued") == 1


@pytest.mark.parametrize("message", [bind("", "nowhere"), execute("nowhere")])
def test_an_unknown_name_is_refused(message: bytes) -> None:
    talk = Conversation()
    assert talk.says(message, SYNC) == REPLACED_PARSE + SYNC
    assert words(talk.answers(error(), IDLE))["C"] in ("26000", "34000")


def test_a_name_that_may_not_have_changed_is_waited_for() -> None:
    talk = Conversation()
    talk.says(parse("s", "DELETE x"), SYNC)
    talk.answers(PARSED, IDLE)
    # The server may fail before it comes to the Close and the second Parse; then s still means DELETE.
    talk.says(bind("", "s"), execute(), close("S", "s"), parse("s", "SELECT 1"), SYNC)
    assert talk.says(bind("", "s"), execute(), SYNC) == b""
    assert talk.engine.waiting
    before = len(talk.record)
    talk.answers(BOUND, error("23503", "still referenced"))
    assert talk.engine.waiting
    talk.answers(IDLE)
    assert not talk.engine.waiting
    assert [line["text"] for line in talk.record[before:] if line["event"] == "operation"] == ["DELETE x"]


def test_a_name_that_has_changed_means_the_new_statement() -> None:
    talk = Conversation()
    talk.says(parse("s", "DELETE x"), SYNC)
    talk.answers(PARSED, IDLE)
    talk.says(close("S", "s"), parse("s", "SELECT 1"), SYNC, bind("", "s"), SYNC)
    talk.answers(CLOSED, PARSED, IDLE)
    assert [text for kind, text, _ in verdicts(talk) if kind == "execute"] == ["SELECT 1"]


# -- COPY ---------------------------------------------------------------------------------------------------------------------

COPY_IN = messages.message("G", b"\0\0\1\0\0")
COPY_OUT = messages.message("H", b"\0\0\1\0\0")
DATA = messages.message("d", b"1\n")
COPY_DONE = messages.message("c")


def test_copy_in_is_asked_as_a_transfer_too_and_its_data_is_counted() -> None:
    talk = Conversation()
    talk.says(query("COPY t FROM STDIN"))
    assert [kind for kind, _, _ in verdicts(talk)] == ["query", "copy"]
    talk.answers(COPY_IN)
    assert talk.says(DATA, DATA, COPY_DONE) == DATA + DATA + COPY_DONE
    talk.answers(complete("COPY 2"), IDLE)
    assert done(talk) == [(1, "ok", 2, 0)]
    assert talk.says(query("SELECT 1")) == query("SELECT 1")


def test_copy_in_by_the_extended_protocol_swallows_its_sync() -> None:
    talk = Conversation()
    talk.says(parse("", "COPY t FROM STDIN"), bind("", ""), describe("P"), execute(), SYNC)
    talk.answers(PARSED, BOUND, NO_DATA, COPY_IN)
    assert talk.says(DATA, COPY_DONE, SYNC) == DATA + COPY_DONE + SYNC
    assert talk.answers(complete("COPY 1"), IDLE) == complete("COPY 1") + IDLE
    assert talk.says(query("SELECT 1")) == query("SELECT 1")
    talk.answers(complete("SELECT 0"), IDLE)


def test_copy_data_without_a_copy_goes_nowhere() -> None:
    talk = Conversation()
    assert talk.says(DATA, COPY_DONE) == b""


def test_a_denied_copy_takes_no_data() -> None:
    talk = Conversation(ALLOW_RUN_ONLY)
    assert talk.says(query("COPY t FROM STDIN"), DATA, COPY_DONE) == REPLACED_QUERY


ALLOW_RUN_ONLY = 'permit(principal, action == Action::"run", resource);'


def test_something_else_in_the_middle_of_a_copy_ends_the_connection() -> None:
    talk = Conversation()
    talk.says(query("COPY t FROM STDIN"))
    talk.answers(COPY_IN)
    with pytest.raises(Fault, match="protocol_error"):
        talk.says(query("SELECT 1"))


def test_what_follows_a_copy_waits_until_it_is_known_to_be_one() -> None:
    talk = Conversation()
    talk.says(query("COPY t FROM STDIN"))
    assert talk.says(query("SELECT 1")) == b""
    talk.answers(error("42P01", "no such table"), IDLE)
    assert talk.target.endswith(query("SELECT 1"))


def test_copy_out_is_masked() -> None:
    talk = Conversation()
    talk.says(query("COPY t TO STDOUT"))
    shown = talk.answers(COPY_OUT, messages.message("d", b"1\thunter2\n"), COPY_DONE, complete("COPY 1"), IDLE)
    assert messages.message("d", b"1\t****\n") in shown
    assert done(talk) == [(1, "ok", 1, 1)]


def test_a_copy_that_cannot_be_masked_is_not_shown() -> None:
    talk = Conversation()
    talk.says(query("COPY t TO STDOUT (FORMAT binary)"))
    with pytest.raises(Fault, match="not_supported"):
        talk.answers(messages.message("H", b"\1\0\1\0\1"))


# -- other roads back ---------------------------------------------------------------------------------------------------------


def test_notices_notifications_and_settings_are_scrubbed() -> None:
    talk = Conversation()
    shown = talk.answers(
        messages.fields("N", {"S": "NOTICE", "M": "hunter2"}),
        messages.message("A", b"\0\0\0\1channel\0hunter2\0"),
        messages.parameter_status("application_name", "hunter2"),
    )
    assert b"hunter2" not in shown
    assert shown.count(b"****") == 3


def test_a_server_that_reads_differently_ends_the_connection() -> None:
    with pytest.raises(Fault, match="protocol_error"):
        Conversation().answers(messages.parameter_status("client_encoding", "GBK"))


@pytest.mark.parametrize("answer", [PARSED, BOUND, complete("SELECT 1"), row(b"1"), columns("a"), IDLE, COPY_OUT, COPY_IN, DATA])
def test_an_answer_that_nobody_asked_for_ends_the_connection(answer: bytes) -> None:
    with pytest.raises(Fault, match="target_protocol"):
        Conversation().answers(answer)


def test_rows_in_place_of_a_denial_are_never_shown() -> None:
    talk = Conversation()
    talk.says(query("SELECT forbidden"))
    with pytest.raises(Fault, match="target_protocol"):
        talk.answers(columns("a"), row(b"1"))


def test_the_state_of_the_transaction_is_the_servers() -> None:
    talk = Conversation()
    talk.says(query("SELECT 1"))
    assert talk.answers(complete("SELECT 0"), IN_BLOCK).endswith(IN_BLOCK)
    talk.says(query("SELECT forbidden"))
    assert talk.answers(error(), FAILED).endswith(FAILED)


def test_after_goodbye_nothing_is_read() -> None:
    talk = Conversation()
    assert talk.says(messages.message("X")) == messages.message("X")
    with pytest.raises(Fault):
        talk.says(query("SELECT 1"))


@pytest.mark.parametrize(
    "message",
    [
        messages.message("Q", b"SELECT 1"),
        messages.message("Q", b"SELECT 1\0DROP TABLE t\0"),
        messages.message("P", b"s\0SELECT 1\0\xff\xff"),
        messages.message("B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),
        messages.message("D", b"X\0"),
        messages.message("E", b"\0\0"),
        messages.message("p", b"password\0"),
    ],
)
def test_a_message_that_does_not_read_as_its_type_says_is_a_fault(message: bytes) -> None:
    with pytest.raises(Fault, match="protocol_error"):
        Conversation().says(message)
