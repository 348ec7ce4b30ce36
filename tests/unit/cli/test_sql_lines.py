from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cli.cast import TranscriptReader
from cli.transcript_lines import lines
from tests.unit.cli.conftest import NOW_MS
from tests.unit.cli.readable import only_read


def shown(*entries: dict[str, Any]) -> list[str]:
    heading = {"format": "sallyport-transcript", "protocol": "postgres", "opened_ms": NOW_MS}
    return list(lines(TranscriptReader([msgspec.json.encode(each) for each in (heading, *entries)])))


def statement(text: str, verdict: str = "allowed", **more: Any) -> dict[str, Any]:
    return {"t": 0, "event": "operation", "kind": "query", "text": text, "verdict": verdict, "rules": ["r1"]} | more


def done(number: int = 1, outcome: str = "ok", **more: Any) -> dict[str, Any]:
    return {"t": 9, "event": "done", "statement": number, "outcome": outcome, "rows": 0, "bytes": 0, "masked": 0, "ms": 7} | more


def test_a_result_and_what_was_masked_in_it() -> None:
    assert shown(statement("select *\nfrom customers"), done(tag="SELECT 3", rows=3, masked=1)) == [
        "2026-11-20 10:03:00  allowed   select *",
        "                               from customers",
        "                               → 3 rows, 1 value masked, 7 ms",
    ]


def test_a_change_says_its_tag() -> None:
    assert shown(statement("update t set a = 1"), done(tag="UPDATE 5"))[1].strip() == "→ UPDATE 5, 7 ms"
    assert shown(statement("create table t as select 1"), done(tag="SELECT 1"))[1].strip() == "→ SELECT 1, 7 ms"


def test_a_stream_says_how_much_it_was() -> None:
    told = shown(statement("START_REPLICATION 0/0", kind="replication"), done(outcome="broken off", messages=2, bytes=90, sent=7))
    assert told[1].strip() == "→ broken off, 2 messages of 90 bytes in all, 7 ms"
    (line,) = shown({"t": 0, "event": "streamed", "statement": 1, "messages": 2, "bytes": 90, "sha256": "ab"})
    assert "streamed  statement=1  messages=2  bytes=90" in line


def test_bound_values() -> None:
    assert shown(statement("select $1, $2", arguments=["7", "it's"]))[1].strip() == "with $1=7  $2=it's"


def test_a_refusal_says_why_and_which_rule() -> None:
    assert shown(statement("drop table t", "denied", message="Not by hand.", rules=["a", "b"])) == [
        "2026-11-20 10:03:00  denied    drop table t",
        "                               → Not by hand. (rule a, b)",
    ]


def test_an_error_of_the_database() -> None:
    told = shown(statement("select oops"), done(outcome="error", state="42703", message='column "oops" does not exist'))
    assert told[1].strip() == '→ error 42703: column "oops" does not exist, 7 ms'


def test_an_error_in_the_middle_of_rows() -> None:
    told = shown(statement("select f(a) from t"), done(outcome="error", state="22012", message="division by zero", rows=1))
    assert told[1].strip() == "→ error 22012: division by zero, after 1 row, 7 ms"


def test_outcomes_of_a_pipeline_name_their_statement() -> None:
    told = shown(statement("select 1"), statement("select 2"), done(1, tag="SELECT 1", rows=1), done(2, tag="SELECT 1", rows=1))
    assert [line.strip() for line in told[2:]] == ["→ select 1: 1 row, 7 ms", "→ 1 row, 7 ms"]


def test_a_copy_is_two_decisions_and_one_outcome() -> None:
    text = "copy t to stdout"
    told = shown(statement(text), statement(text, kind="copy"), done(1, tag="COPY 5", rows=5))
    assert [line[30:].strip() for line in told] == ["copy t to stdout", "… and to transfer its rows", "→ COPY 5, 7 ms"]


def test_a_comment_ends_with_its_line() -> None:
    """On one line it would hide the second statement from whoever reads the replay."""
    assert len(shown(statement("select 1 -- harmless\n; delete from t"))) == 2


def test_cancelling() -> None:
    assert shown({"t": 0, "event": "cancel", "process": 4711}) == [
        "2026-11-20 10:03:00  cancel    a statement of another connection"
    ]


_ANY = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=8), st.lists(st.text(max_size=4), max_size=2))


@given(
    st.dictionaries(
        st.sampled_from("t text verdict rules message arguments statement outcome tag rows masked ms state".split()), _ANY
    ),
    st.sampled_from(["operation", "done", "cancel"]),
)
def test_whatever_was_recorded_can_only_be_read(entry: dict[str, Any], event: str) -> None:
    for line in shown(entry | {"event": event}):
        assert only_read(line)
