"""The gate: what follows from what, in which order. Tests compare lists."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.effects import Count, Effect, Housekeep, Record, Report, ToClient, ToTarget
from agent.core.gate import Gate
from agent.core.masking import Clean, Masker
from agent.core.masking.detectors import Detectors
from agent.core.masking.outputs import FOUND
from agent.core.policy import Decider, Decision
from agent.core.recording.cast import CastWriter
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Asked, Exited, Housekeeping, Output, Refused, Remark, Resized, Side, Stream, Tick
from chalicelib.contracts.operation import Operation
from tests.fakes.agent_runtime import NOW_MS, SID, make_claims, make_policy

READ = Operation(kind="line", text="look", effects=frozenset({"read"}))
WRITE = Operation(kind="line", text="change", effects=frozenset({"write"}))
READ_ONLY = 'permit(principal, action, resource) when { context.effects == ["read"] };'
HOLD = (
    '@approval("group:dba") forbid(principal, action == Action::"run", resource) when { context.effects.contains("write") } '
    'unless { context.approvals.contains("dba") };'
)

HEADING = Heading(sid=SID, target="web", principal="ann", login="deploy", channel=3, opened_ms=NOW_MS)


class Words:
    def deny(self, asked: Asked | Refused, decision: Decision) -> bytes:
        return f"no: {decision.code} {asked.tag}".encode()


def make_gate(*rules: str) -> Gate:
    decider = Decider(make_claims(), lambda: make_policy(*(rules or (READ_ONLY,))))
    gate = Gate(decider, JsonlWriter(HEADING, protocol="test", shows=True), Words(), says_on="err")
    assert gate.handle(Tick(NOW_MS + 5)) == []
    return gate


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


def test_asked_and_permitted_is_recorded_on_disk_and_then_forwarded() -> None:
    count, record, forward = make_gate().handle(Asked(READ, b"look\n"))
    assert count == Count(operations=1)
    assert isinstance(record, Record)
    assert (record.channel, record.kind, record.durable) == (3, "jsonl", True)
    assert b'"verdict":"allowed"' in record.lines
    assert isinstance(forward, ToTarget)
    assert forward.asked.data == b"look\n"


@pytest.mark.parametrize(
    ("rules", "code"),
    [((READ_ONLY,), b"denied"), (("permit(principal, action, resource);", HOLD), b"hold_unavailable")],
)
def test_asked_and_not_permitted_is_recorded_reported_and_said(rules: tuple[str, ...], code: bytes) -> None:
    count, record, report, say = make_gate(*rules).handle(Asked(WRITE, b"change\n", tag=7))
    assert count == Count(operations=1, denied=1)
    assert isinstance(record, Record)
    assert record.durable
    assert b'"code":"%b"' % code in record.lines
    assert b"no: " + code in record.lines
    assert isinstance(report, Report)
    assert report.operation == WRITE
    assert isinstance(say, ToClient)
    assert (say.clean.data, say.stream) == (b"no: %b 7" % code, "err")


def test_what_the_gateway_refuses_is_treated_like_a_denial() -> None:
    effects = make_gate("permit(principal, action, resource);").handle(Refused(READ, "not_supported", "No such thing.", 9))
    assert kinds(effects) == [Count, Record, Report, ToClient]
    record, say = effects[1], effects[3]
    assert isinstance(record, Record)
    assert isinstance(say, ToClient)
    assert b"No such thing." in record.lines
    assert say.clean.data == b"no: not_supported 9"


def test_output_is_recorded_before_it_is_shown() -> None:
    record, show = make_gate().handle(Output(b"answer", "err"))
    assert isinstance(record, Record)
    assert not record.durable
    assert b'"text":"answer"' in record.lines
    assert isinstance(show, ToClient)
    assert (show.clean.data, show.stream) == (b"answer", "err")


def test_content_that_is_recorded_by_hash_is_only_shown() -> None:
    assert kinds(make_gate().handle(Output(b"bytes", recorded=False))) == [ToClient]


def test_housekeeping_passes() -> None:
    assert make_gate().handle(Housekeeping(Side.TARGET, b"x")) == [Housekeep(Side.TARGET, b"x")]


def test_remarks_and_ends_are_recorded_and_sizes_are_not_in_a_transcript() -> None:
    gate = make_gate()
    assert kinds(gate.handle(Remark({"event": "file"}))) == [Record]
    assert kinds(gate.handle(Exited(0))) == [Record]
    assert gate.handle(Resized(80, 24)) == []


@given(st.lists(st.sampled_from([Asked(READ, b"r"), Asked(WRITE, b"w"), Output(b"o"), Refused(WRITE, "denied", "no")])))
def test_whatever_comes_nothing_is_forwarded_before_its_record_and_nothing_denied_at_all(units: list[Asked | Output]) -> None:
    gate = make_gate()
    for unit in units:
        effects = gate.handle(unit)
        for index, effect in enumerate(effects):
            if isinstance(effect, ToTarget):
                assert effect.asked.operation == READ
                before = effects[index - 1]
                assert isinstance(before, Record)
                assert before.durable


class Half(Masker):
    """Masks one word."""

    def mask(self, data: bytes) -> Clean:
        return Masker().mask(data.replace(b"secret", b"******"))


@pytest.mark.parametrize("data", [b"a secret\n", b"\xff secret \xff"])
def test_output_goes_with_its_original_where_masking_changed_it(data: bytes) -> None:
    decider = Decider(make_claims(), make_policy)
    gate = Gate(decider, JsonlWriter(HEADING, protocol="test", shows=True), Words(), masker=Half(), originals=True)
    gate.handle(Tick(NOW_MS + 5))
    record, show = gate.handle(Output(data))
    assert isinstance(record, Record)
    (line,) = record.originals
    found = msgspec.json.decode(line)
    assert (found["ch"], found["time_ms"], found["event"], found["stream"]) == (3, NOW_MS + 5, "output", "out")
    assert (found["text"].encode() if "text" in found else base64.b64decode(found["base64"])) == data
    assert b"secret" not in record.lines
    assert isinstance(show, ToClient)
    same, _ = gate.handle(Output(b"nothing to hide"))
    assert isinstance(same, Record)
    assert same.originals == ()


def test_what_a_cast_writes_as_dots_is_an_original_too() -> None:
    decider = Decider(make_claims(), make_policy)
    for originals in (True, False):
        gate = Gate(decider, CastWriter(HEADING), Words(), originals=originals)
        gate.handle(Tick(NOW_MS))
        record, _ = gate.handle(Output(b"PK\3\4\0\0archive.txt\0"))
        assert isinstance(record, Record)
        assert b".archive.txt." in record.lines
        assert len(record.originals) == originals


def told(effects: list[Effect]) -> list[object]:
    return [(each.clean.data, each.stream) if isinstance(each, ToClient) else each for each in effects]


_PARTS = st.sampled_from([b"key", b"bob@example.com, ", b"4111 1111 ", b"\x1b[", b"\xc3"])
_SAID = st.lists(st.tuples(_PARTS, st.sampled_from(["out", "err"])))


@pytest.mark.parametrize("how", ["alone", "revealed", "masked", "terminal"])
@given(said=_SAID)
def test_what_was_said_just_now_is_a_tick_and_an_output(how: str, said: list[tuple[bytes, Stream]]) -> None:
    gates = []
    for _ in range(2):
        decider = Decider(make_claims(), lambda: make_policy(READ_ONLY))
        revealed = FOUND if how == "revealed" else frozenset()
        size = (80, 24) if how == "terminal" else None
        outputs = None if how == "alone" else Masker(Detectors()).outputs(lambda revealed=revealed: revealed, terminal=size)
        gates.append(Gate(decider, JsonlWriter(HEADING, protocol="test", shows=True), Words(), outputs=outputs, originals=True))
    one, two = gates
    for number, (data, stream) in enumerate(said):
        now_ms = NOW_MS + number * 7
        two.handle(Tick(now_ms))
        assert told(one.said(data, stream, now_ms)) == told(two.handle(Output(data, stream)))
        assert one.due_ms == two.due_ms
    assert told(one.handle(Exited(0))) == told(two.handle(Exited(0)))
