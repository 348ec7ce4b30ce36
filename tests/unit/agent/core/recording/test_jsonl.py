"""Transcripts as JSON lines."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from agent.core.masking import Masker
from agent.core.policy import Decider
from agent.core.recording.jsonl import Form, JsonlWriter, encoded
from agent.core.recording.transcript import Heading
from chalicelib.contracts.operation import Operation
from tests.fakes.agent_runtime import NOW_MS, SID, make_claims, make_policy

HEADING = Heading(sid=SID, target="web", principal="ann", login="deploy", channel=1, opened_ms=NOW_MS)
GET = Operation(
    action="transfer", kind="sftp.open", text="get /x", effects=frozenset({"read"}), objects=frozenset({"/x"}), arguments=("/x",)
)


def lines(data: bytes) -> list[Any]:
    assert data.endswith(b"\n")
    return [msgspec.json.decode(line) for line in data.splitlines()]


def test_a_decision_names_what_an_approval_would_name() -> None:
    writer = JsonlWriter(HEADING, protocol="sftp")
    head, entry = lines(writer.decided(GET, Decider(make_claims(), make_policy).decide(GET, NOW_MS), NOW_MS + 70))
    assert (head["format"], head["version"], head["protocol"], head["sid"], head["channel"]) == (
        "sallyport-transcript",
        1,
        "sftp",
        SID,
        1,
    )
    assert entry == {
        "t": 70,
        "event": "operation",
        "kind": "sftp.open",
        "text": "get /x",
        "effects": ["read"],
        "objects": ["/x"],
        "flags": [],
        "verdict": "allowed",
        "rules": ["rule-1"],
        "policy": 1,
        "digest": GET.digest(),
        "arguments": ["/x"],
    }


def test_what_is_left_out_of_an_operation_is_not_left_out_of_its_digest() -> None:
    writer = JsonlWriter(HEADING, protocol="sftp")
    told = msgspec.structs.replace(GET, text="get [masked card]", objects=frozenset({"[masked card]"}))
    decision = Decider(make_claims(), make_policy).decide(GET, NOW_MS)
    _, entry = lines(writer.decided(told, decision, NOW_MS, exact=GET))
    assert (entry["text"], entry["objects"]) == ("get [masked card]", ["[masked card]"])
    assert entry["digest"] == GET.digest()
    assert entry["sha256"] == hashlib.sha256(b"get /x").hexdigest()


def test_a_denial_carries_its_words() -> None:
    writer = JsonlWriter(HEADING, protocol="sftp")
    policy = make_policy('@message("No.") forbid(principal, action, resource);')
    (entry,) = lines(writer.decided(GET, Decider(make_claims(), lambda: policy).decide(GET, NOW_MS), NOW_MS))[1:]
    assert (entry["verdict"], entry["code"], entry["message"]) == ("denied", "denied", "No.")


def test_content_is_written_only_where_the_transcript_is_the_screen() -> None:
    clean = Masker().mask(b"h\xff")
    assert JsonlWriter(HEADING, protocol="sftp").shown(clean, "out", NOW_MS) == b""
    (entry,) = lines(JsonlWriter(HEADING, protocol="echo", shows=True).shown(clean, "out", NOW_MS))[1:]
    assert (entry["stream"], entry["text"]) == ("out", "h\ufffd")


def test_the_rest() -> None:
    writer = JsonlWriter(HEADING, protocol="sftp")
    assert lines(writer.remark({"event": "file", "bytes": 3}, NOW_MS + 1))[-1] == {"t": 1, "event": "file", "bytes": 3}
    assert writer.resized(80, 24, NOW_MS) == b""
    assert lines(writer.exited("HUP", NOW_MS)) == [{"t": 0, "event": "exit", "status": "HUP"}]


@pytest.mark.parametrize("kept", ["get /x", "get ****", 'ge"t\\ ü'])
@pytest.mark.parametrize("values", [(), ("/x",), ("ü", '"')])
def test_a_form_writes_the_same_line(kept: str, values: tuple[str, ...]) -> None:
    decision = Decider(make_claims(), make_policy).decide(GET, NOW_MS)
    writer = JsonlWriter(HEADING, protocol="sftp")
    writer.remark({"event": "first"}, NOW_MS)
    t = writer.since(NOW_MS + 70)
    wanted = writer.decided(GET, decision, NOW_MS + 70, (kept, values))
    assert Form(GET, decision, kept).line(t, GET.digest(), encoded(values) if values else b"") == wanted
    if not values:
        assert Form(GET, decision).worded(t, GET.digest(), kept, GET.text) == wanted
