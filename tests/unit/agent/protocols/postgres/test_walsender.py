"""A replication connection: commands decided and recorded one by one, streams passed and counted, everything else as on any."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.units import Side
from agent.protocols.postgres import messages
from agent.protocols.postgres.engine import Engine
from agent.protocols.postgres.judge import Judge
from agent.protocols.postgres.snapshot import Known
from agent.protocols.postgres.streams import TOLD_MS
from agent.protocols.postgres.walsender import Walsender
from tests.fakes.agent_runtime import NOW_MS, SID, make_policy
from tests.unit.agent.protocols.postgres.conversation import (
    ALLOW,
    COPIED,
    FORBID,
    IDLE,
    PARSED,
    SYNC,
    Conversation,
    FakeMasks,
    bind,
    close,
    columns,
    complete,
    copied,
    describe,
    error,
    execute,
    fault_of,
    parse,
    query,
    row,
)

START = query("START_REPLICATION SLOT a LOGICAL 0/0")
BOTH = messages.message("W", b"\0\0\0")
STATUS = messages.message("d", b"r" + struct.pack(">QQQQB", 1, 2, 3, 4, 0))
ENDED = complete("START_REPLICATION")


CHANGE = copied(b"w" + b"\0" * 24 + b"hunter2")
KEEPALIVE = copied(b"k" + b"\0" * 17)


class Replica(Conversation):
    """A conversation on a replication connection."""

    physical = False

    def _made(self, judge: Judge, known: Known) -> Engine:
        return Walsender(judge, self.classifier, FakeMasks(), SID, known, physical=self.physical)

    def hide(self, *classes: str) -> None:
        """Policy hides these classes from now on."""
        masks: Any = self.engine._masks
        masks.withheld = frozenset(classes)

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.record if line["event"] == event]


class Physical(Replica):
    physical = True


def streaming() -> Replica:
    talk = Replica(ALLOW)
    assert talk.says(START) == START
    assert talk.answers(BOTH) == BOTH
    return talk


# -- commands ----------------------------------------------------------------------------------------------------------------


def test_a_command_is_recorded_before_it_is_forwarded() -> None:
    talk = Replica(ALLOW)
    talk.says(query("IDENTIFY_SYSTEM"))
    assert talk.order.index("Record!") < talk.order.index("ToTarget")
    (line,) = talk.events("operation")
    assert (line["kind"], line["text"], line["flags"]) == ("replication", "IDENTIFY_SYSTEM", ["replication"])
    answer = columns("systemid") + row(b"7") + complete("IDENTIFY_SYSTEM") + IDLE
    assert talk.answers(answer) == answer
    (done,) = talk.events("done")
    assert (done["outcome"], done["tag"], done["values"]) == ("ok", "IDENTIFY_SYSTEM", [["7"]])


def test_run_is_no_permit_for_it() -> None:
    talk = Replica('permit(principal, action in [Action::"run", Action::"transfer", Action::"reveal"], resource);')
    sent = talk.says(START)
    assert b"START_REPLICATION" not in sent
    assert b"No policy permits this" in talk.answers(error(), IDLE)
    assert talk.says(query("SELECT 1")) == query("SELECT 1")


def test_what_was_refused_leaves_the_connection_as_it_was() -> None:
    talk = Replica(ALLOW, FORBID)
    for text in ("SHOW forbidden", "IDENTIFY_SYSTEM; SELECT 1", "nonsense"):
        sent = talk.says(query(text))
        assert text.encode() not in sent
        assert talk.answers(error(), IDLE).endswith(IDLE)
    assert talk.denied == 3
    assert talk.says(query("SHOW wal_level")) == query("SHOW wal_level")


@pytest.mark.parametrize("text", ["IDENTIFY_SYSTEM", "START_REPLICATION 0/0", "BASE_BACKUP", "SHOW wal_level"])
def test_nothing_for_whom_a_class_is_hidden(text: str) -> None:
    talk = Replica(ALLOW)
    talk.hide("ssn", "card")
    assert text.encode() not in talk.says(query(text))
    shown = talk.answers(error(), IDLE)
    assert b"reveals every class of data to you: card, ssn." in shown
    assert b"C42501\0" in shown
    assert talk.says(query("SELECT 1")) == query("SELECT 1"), "SQL is masked as ever"


def test_a_physical_connection_has_no_sql() -> None:
    talk = Physical(ALLOW)
    assert b"SELECT 1" not in talk.says(query("SELECT 1"))
    assert b"takes replication commands only" in talk.answers(error("0A000"), IDLE)
    assert talk.says(query("IDENTIFY_SYSTEM")) == query("IDENTIFY_SYSTEM")


@pytest.mark.parametrize(
    "asked", [parse("", "SELECT SECRET"), bind("", "SECRET"), describe("S", "SECRET"), execute("SECRET"), close("S", "SECRET")]
)
def test_the_extended_protocol_is_refused(asked: bytes) -> None:
    talk = Replica(ALLOW)
    sent = talk.says(asked, parse("", "SELECT SECRET"), SYNC)
    assert b"SECRET" not in sent
    assert sent.endswith(SYNC)
    shown = talk.answers(error("08P01"), IDLE)
    assert b"has no prepared statements" in shown
    assert talk.says(query("IDENTIFY_SYSTEM")) == query("IDENTIFY_SYSTEM")


def test_the_gateway_asks_nothing_of_its_own() -> None:
    talk = Replica(ALLOW)
    for text in ("SET search_path TO a", "SELECT 1", "BEGIN", "SELECT 2", "END", "SELECT 3"):
        assert talk.says(query(text)) == query(text)
        status = "T" if text in ("BEGIN", "SELECT 2") else "I"
        talk.answers(messages.parameter_status("application_name", "other"), complete("X"), messages.ready(status))
    assert talk.target.count(b"sallyport") == 0


def test_commands_are_read_one_after_the_other() -> None:
    talk = Replica(ALLOW)
    assert talk.says(query("SHOW a"), query("SHOW b"), query("SELECT 1")) == query("SHOW a")
    talk.answers(columns("a"), row(b"1"), complete("SHOW"), IDLE)
    assert talk.target.endswith(query("SHOW b"))
    talk.answers(columns("b"), row(b"2"), complete("SHOW"), IDLE)
    assert talk.target.endswith(query("SHOW b") + query("SELECT 1"))


# -- streams -----------------------------------------------------------------------------------------------------------------


def test_a_stream_passes_and_is_counted_but_not_kept() -> None:
    talk = streaming()
    assert talk.answers(CHANGE + KEEPALIVE) == CHANGE + KEEPALIVE
    assert talk.says(STATUS, STATUS) == STATUS + STATUS
    assert talk.says(COPIED) == COPIED
    last = COPIED + columns("next") + row(b"2") + complete("START_STREAMING") + ENDED + IDLE
    assert talk.answers(CHANGE, last) == CHANGE + last
    (done,) = talk.events("done")
    assert done["outcome"] == "ok"
    assert (done["messages"], done["sent"]) == (3, len(STATUS + STATUS + COPIED))
    digest = hashlib.sha256(CHANGE + KEEPALIVE + CHANGE)
    digest.update(row(b"2"))
    assert done["sha256"] == digest.hexdigest()
    assert "hunter2" not in str(talk.record)
    assert talk.says(query("SHOW a")) == query("SHOW a")


def test_the_server_may_end_a_stream_first() -> None:
    talk = streaming()
    assert talk.answers(COPIED) == COPIED
    assert talk.says(STATUS, COPIED) == STATUS + COPIED
    assert talk.answers(ENDED, IDLE) == ENDED + IDLE
    assert talk.says(STATUS) == b"", "what comes too late is nobody's"


def test_what_the_client_says_before_the_stream_begins_waits_for_it() -> None:
    talk = Replica(ALLOW)
    assert talk.says(START, STATUS) == START
    talk.answers(BOTH)
    assert talk.target == START + STATUS


def test_what_the_client_says_to_a_stream_that_never_begins_is_dropped() -> None:
    talk = Replica(ALLOW)
    talk.says(START, STATUS, COPIED)
    talk.answers(error("42704", "no such slot"), IDLE)
    assert talk.target == START
    (done,) = talk.events("done")
    assert (done["outcome"], done["state"]) == ("error", "42704")


def test_a_stream_that_fails_leaves_the_connection() -> None:
    talk = streaming()
    talk.answers(CHANGE, error("57014", "canceled"), IDLE)
    assert talk.says(STATUS, COPIED, query("SHOW a")) == query("SHOW a")


@pytest.mark.parametrize(
    "said", [query("SHOW a"), SYNC, parse("", "SELECT 1"), copied(b""), copied(b"w"), copied(b"r" + bytes(70_000))]
)
def test_nothing_else_has_a_place_in_a_stream(said: bytes) -> None:
    talk = streaming()
    before = talk.target
    assert fault_of(lambda: talk.says(said)) == "protocol_error"
    assert talk.target == before


@pytest.mark.parametrize(
    "answer",
    [
        CHANGE,
        COPIED,
        messages.message("H", b"\0\0\0"),
        messages.message("G", b"\0\0\0"),
        PARSED,
        row(b"x"),
        messages.message("I"),
        messages.message("s"),
        messages.message("W", b"\0"),
    ],
)
def test_a_server_that_answers_otherwise_is_a_fault(answer: bytes) -> None:
    talk = Replica(ALLOW)
    talk.says(START)
    assert fault_of(lambda: talk.answers(answer)) == "target_protocol"
    assert talk.client == b""


@pytest.mark.parametrize("text", ["IDENTIFY_SYSTEM", "SELECT 1", "BASE_BACKUP", "UPLOAD_MANIFEST"])
def test_only_what_asks_for_a_stream_gets_one(text: str) -> None:
    talk = Replica(ALLOW)
    talk.says(query(text))
    assert fault_of(lambda: talk.answers(BOTH)) == "target_protocol"


def test_a_second_stream_behind_the_first_is_a_fault() -> None:
    talk = streaming()
    talk.answers(COPIED)
    assert fault_of(lambda: talk.answers(BOTH)) == "target_protocol"


def test_a_backup_is_results_and_copies() -> None:
    talk = Replica(ALLOW)
    talk.says(query("BASE_BACKUP (LABEL 'x')"))
    out = messages.message("H", b"\0\0\0")
    parts = [columns("at"), row(b"0/2"), complete("SELECT"), out, copied(b"nhunter2"), COPIED, out, copied(b"m{}"), COPIED]
    parts += [columns("to"), row(b"0/3"), complete("SELECT"), complete("BASE_BACKUP"), IDLE]
    assert talk.answers(*parts) == b"".join(parts)
    (done,) = talk.events("done")
    assert (done["outcome"], done["tag"]) == ("ok", "BASE_BACKUP")
    assert "hunter2" not in str(talk.record)


def test_a_manifest_is_sent_up() -> None:
    talk = Replica(ALLOW)
    talk.says(query("UPLOAD_MANIFEST"))
    talk.answers(messages.message("G", b"\0\0\0"))
    assert talk.says(copied(b"{}"), COPIED) == copied(b"{}") + COPIED
    talk.answers(complete("UPLOAD_MANIFEST"), IDLE)
    (done,) = talk.events("done")
    assert (done["outcome"], done["sent"]) == ("ok", len(copied(b"{}") + COPIED))


# -- what ends one -----------------------------------------------------------------------------------------------------------


def test_what_policy_hides_from_now_on_is_not_streamed_any_more() -> None:
    talk = streaming()
    talk.hide("ssn")
    assert fault_of(lambda: talk.answers(CHANGE)) == "denied"
    assert b"hunter2" not in talk.client


def test_a_permit_that_is_gone_ends_a_stream() -> None:
    talk = streaming()
    talk.policy = make_policy('permit(principal, action == Action::"run", resource);')
    assert fault_of(lambda: talk.answers(CHANGE)) == "denied"
    assert b"hunter2" not in talk.client


def test_a_grant_that_is_over_ends_a_stream() -> None:
    talk = streaming()
    assert fault_of(lambda: talk.perform(talk.engine.receive(Side.TARGET, CHANGE, NOW_MS + 10**12))) == "denied"
    assert b"hunter2" not in talk.client


def test_the_record_says_how_far_a_stream_has_come() -> None:
    talk = streaming()
    talk.answers(CHANGE)
    assert talk.events("streamed") == []
    talk.perform(talk.engine.receive(Side.TARGET, CHANGE, NOW_MS + TOLD_MS))
    (so_far,) = talk.events("streamed")
    assert (so_far["messages"], so_far["bytes"]) == (2, 2 * len(CHANGE))
    assert so_far["sha256"] == hashlib.sha256(CHANGE + CHANGE).hexdigest()
    (left,) = talk.engine.broken_off(NOW_MS)
    assert (left["outcome"], left["bytes"]) == ("broken off", 2 * len(CHANGE))


def test_nothing_is_broken_off_where_nothing_is_under_way() -> None:
    talk = Replica(ALLOW)
    talk.says(query("SELECT 1"))
    assert talk.engine.broken_off(NOW_MS) == []


# -- pieces ------------------------------------------------------------------------------------------------------------------

ASKED = [query("IDENTIFY_SYSTEM"), START, STATUS, COPIED, query("SELECT 1")]
ANSWERED = [
    columns("a") + row(b"1") + complete("IDENTIFY_SYSTEM") + IDLE,
    BOTH + CHANGE + KEEPALIVE,
    COPIED + ENDED + IDLE,
    columns("secret") + row(b"hunter2") + complete("SELECT 1") + IDLE,
]


def held(cut_client: int, cut_server: int) -> Replica:
    """One conversation, with each side's words cut at one place each."""
    talk = Replica(ALLOW)
    for said, answered in zip([ASKED[0], START + STATUS, COPIED, ASKED[4]], ANSWERED, strict=True):
        for place, part in enumerate((said[:cut_client], said[cut_client:])):
            if part or not place:
                talk.says(part)
        talk.answers(answered[:cut_server])
        talk.answers(answered[cut_server:])
    return talk


def test_every_cut_of_both_directions_is_the_same() -> None:
    whole = held(10_000, 10_000)
    assert b"****" in whole.client
    longest = max(map(len, [*ANSWERED, START + STATUS]))
    for cut in range(longest):
        talk = held(cut, cut)
        assert (talk.target, talk.client) == (whole.target, whole.client), cut
        shown = [{key: value for key, value in line.items() if key not in ("sha256",)} for line in talk.record]
        assert shown == [{key: value for key, value in line.items() if key != "sha256"} for line in whole.record], cut


_CLIENT = st.sampled_from([query("IDENTIFY_SYSTEM"), START, query("BASE_BACKUP"), STATUS, COPIED, SYNC, query("SELECT 1")])
_SERVER = st.sampled_from(
    [BOTH, CHANGE, COPIED, ENDED, IDLE, error(), columns("a"), row(b"SECRET"), messages.message("H", b"\0\0\0"), PARSED]
)


@given(st.lists(st.tuples(st.booleans(), _CLIENT, _SERVER), max_size=14))
def test_nothing_streams_that_was_not_asked_for(turns: list[tuple[bool, bytes, bytes]]) -> None:
    talk = Replica('permit(principal, action == Action::"run", resource);')
    for client, said, answered in turns:
        if fault_of(lambda: talk.says(said) if client else talk.answers(answered)):  # noqa: B023
            break
    assert b"START_REPLICATION" not in talk.target
    assert b"BASE_BACKUP" not in talk.target
    assert CHANGE not in talk.client


@given(st.lists(st.tuples(st.booleans(), _CLIENT, _SERVER), max_size=14), st.binary(max_size=40))
def test_any_conversation_is_followed_or_ends_in_a_fault(turns: list[tuple[bool, bytes, bytes]], garbage: bytes) -> None:
    talk = Replica(ALLOW)
    for client, said, answered in turns:
        if fault_of(lambda: talk.says(said) if client else talk.answers(answered)):  # noqa: B023
            return
    assert fault_of(lambda: talk.answers(garbage)) in ("", "target_protocol", "target_unmaskable", "denied")
    assert fault_of(lambda: talk.says(garbage)) in ("", "protocol_error")
