"""Whatever either side sends, in whatever pieces: the same happens, and the promises hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.effects import Housekeep, Record, ToTarget
from agent.core.units import Side
from agent.protocols.postgres import messages
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import NOW_MS
from tests.unit.agent.protocols.postgres.conversation import (
    FLUSH,
    SYNC,
    Conversation,
    bind,
    close,
    describe,
    execute,
    fault_of,
    parse,
    query,
)

_TEXTS = st.sampled_from(
    [
        "SELECT 1",
        "SELECT forbidden",
        "SELECT 1; INSERT forbidden",
        "DELETE x",
        "nonsense",
        "",
        "COPY t FROM STDIN",
        "SET NAMES 'x'",
        "SET search_path TO a",
    ]
)
_NAMES = st.sampled_from(["", "s", "t"])
_CLIENT = st.one_of(
    _TEXTS.map(query),
    st.builds(parse, _NAMES, _TEXTS),
    st.builds(lambda portal, name: bind(portal, name, b"forbidden value"), _NAMES, _NAMES),
    st.builds(execute, _NAMES),
    st.builds(describe, st.sampled_from("SP"), _NAMES),
    st.builds(close, st.sampled_from("SP"), _NAMES),
    st.sampled_from(
        [SYNC, FLUSH, messages.message("d", b"forbidden row"), messages.message("c"), messages.message("F", b"\0" * 10)]
    ),
)


SERVER_FAULTS = ("", "target_protocol", "protocol_error", "not_supported")


def told(parts: list[bytes]) -> tuple[bytes, bytes, int]:
    talk = Conversation()
    try:
        for part in parts:
            talk.says(part)
    except Fault as fault:
        return talk.target, fault.code.encode(), talk.denied
    return talk.target, talk.lines, talk.denied


@settings(max_examples=80)
@given(st.lists(_CLIENT, max_size=8))
def test_byte_by_byte_is_the_same_as_whole(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    whole, by_byte = Conversation(), Conversation()
    whole.says(stream)
    for byte in stream:
        by_byte.says(bytes([byte]))
    assert by_byte.target == whole.target
    assert by_byte.record == whole.record
    assert by_byte.denied == whole.denied


@settings(max_examples=150)
@given(st.lists(_CLIENT, max_size=10))
def test_what_was_denied_never_leaves(parts: list[bytes]) -> None:
    assert b"forbidden" not in told(parts)[0].replace(b"forbidden value", b"").replace(b"forbidden row", b"")


@given(st.lists(_CLIENT, max_size=8))
def test_everything_is_recorded_before_anything_is_forwarded(parts: list[bytes]) -> None:
    talk = Conversation()
    effects = talk.engine.receive(Side.CLIENT, b"".join(parts), NOW_MS)
    durable = [place for place, each in enumerate(effects) if isinstance(each, Record) and each.durable]
    sent = [place for place, each in enumerate(effects) if isinstance(each, ToTarget | Housekeep)]
    assert not durable or not sent or max(durable) < min(sent)
    if any(isinstance(each, ToTarget) for each in effects):
        assert durable


@given(st.binary(max_size=300))
def test_garbage_from_the_client_is_a_fault_or_nothing(data: bytes) -> None:
    talk = Conversation()
    assert fault_of(lambda: talk.says(data)) in ("", "protocol_error")


@given(st.lists(_CLIENT, max_size=4), st.binary(max_size=300))
def test_garbage_from_the_server_is_a_fault_or_nothing(parts: list[bytes], data: bytes) -> None:
    talk = Conversation()
    talk.says(*parts)
    assert fault_of(lambda: talk.answers(data)) in SERVER_FAULTS


@given(
    st.lists(_CLIENT, max_size=4), st.lists(st.tuples(st.sampled_from("123CDEGHINSTZcdnst"), st.binary(max_size=20)), max_size=5)
)
def test_well_framed_nonsense_from_the_server_is_a_fault_or_nothing(parts: list[bytes], answers: list[tuple[str, bytes]]) -> None:
    talk = Conversation()
    talk.says(*parts)
    assert fault_of(lambda: [talk.answers(messages.message(kind, body)) for kind, body in answers]) in SERVER_FAULTS


_ANSWERS = st.one_of(
    st.tuples(st.sampled_from("123CDEGHINSTZcdnst"), st.binary(max_size=20)),
    st.sampled_from(
        [("1", b""), ("2", b""), ("3", b""), ("C", b"SET\0"), ("Z", b"I"), ("Z", b"T"), ("Z", b"E"), ("n", b""), ("I", b"")]
    ),
)


@given(st.lists(st.one_of(_CLIENT.map(lambda part: (True, part)), _ANSWERS.map(lambda part: (False, part))), max_size=14))
def test_any_conversation_is_followed_or_ends_in_a_fault(turns: list[tuple[bool, object]]) -> None:
    """Both sides in any order, the gateway's own questions between them: what is denied stays here, and every line is whole."""
    talk = Conversation()

    def all_of_it() -> None:
        for asks, part in turns:
            if asks:
                assert isinstance(part, bytes)
                talk.says(part)
            else:
                assert isinstance(part, tuple)
                talk.answers(messages.message(*part))

    assert fault_of(all_of_it) in SERVER_FAULTS
    assert b"SELECT forbidden" not in talk.target
    assert all(line["event"] for line in talk.record)
