"""The relay's messages: golden text per message, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts import relay

GOLDEN = Path(__file__).parents[3] / "golden" / "relay" / "messages.json"

UPWARD = {
    "hello": relay.Hello(),
    "data": relay.Data(r="v1.cm91dGU.c2ln", f="AwAAAA=="),
    "beat": relay.Beat(),
    "beat of an agent without sessions": relay.Beat(live=()),
    "beat of an agent with sessions": relay.Beat(live=("ses_01", "ses_02")),
    "beat of an agent without room": relay.Beat(live=("ses_01",), refuses="spool_full"),
}
DOWNWARD = {
    "route": relay.Route(r="v1.cm91dGU.c2ln", resume="v1.cmVzdW1l.c2ln", gen=3),
    "deliver": relay.Deliver(f="AwAAAA=="),
    "lost": relay.Lost(code="peer_gone"),
    "lost, of an older route": relay.Lost(code="peer_gone", gen=2),
    "refused": relay.Refused(code="session_ended", message="The session has ended."),
}
CONTROL = {
    "offer": relay.Offer(sid="ses_01", ticket="v1.dGlja2V0.c2ln"),
    "kill": relay.Kill(sid="ses_01", code="session_killed", message="Revoked by an administrator."),
    "watch": relay.Watch(sid="ses_01", ticket="v1.dGlja2V0.c2ln"),
    "refresh": relay.Refresh(version="42"),
    "decided": relay.Decided(rid="req_01", state="approved", sid="ses_01", approval="v1.eWVz.c2ln"),
    "refused": relay.Refused(code="agent_unknown", message="This agent is not enrolled."),
}
WAITING = {
    "decided": relay.Decided(rid="req_01", state="denied"),
    "refused": relay.Refused(code="unknown_request", message="There is no request of this name, or it is not yours."),
}
DIRECTIONS = {
    "upward": (UPWARD, relay.decode_upward),
    "downward": (DOWNWARD, relay.decode_downward),
    "control": (CONTROL, relay.decode_control),
    "waiting": (WAITING, relay.decode_waiting),
}
DECODERS = [relay.decode_upward, relay.decode_downward, relay.decode_control, relay.decode_waiting]
CASES = [(d, name) for d, (messages, _) in DIRECTIONS.items() for name in messages]


def golden() -> dict[str, dict[str, str]]:
    if os.environ.get("SALLYPORT_REGEN") == "1":
        texts = {d: {n: relay.encode(m).decode() for n, m in ms.items()} for d, (ms, _) in DIRECTIONS.items()}
        GOLDEN.write_text(json.dumps(texts, indent=2) + "\n")
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize(("direction", "name"), CASES)
def test_golden(direction: str, name: str) -> None:
    messages, decode = DIRECTIONS[direction]
    text = golden()[direction][name]
    assert relay.encode(messages[name]).decode() == text
    assert decode(text) == decode(text.encode()) == messages[name]


@pytest.mark.parametrize(("direction", "name"), CASES)
def test_an_unknown_field_is_ignored_and_a_missing_one_refused(direction: str, name: str) -> None:
    messages, decode = DIRECTIONS[direction]
    fields = json.loads(relay.encode(messages[name]))
    assert decode(json.dumps({"later": {"a": [1]}} | fields)) == messages[name]
    optional = {"route": {"t"}, "decided": {"t", "sid", "approval"}}.get(name, {"t", "live", "gen", "refuses"})
    for field in fields.keys() - optional:
        with pytest.raises(relay.RelayFault) as caught:
            decode(json.dumps({k: v for k, v in fields.items() if k != field}))
        assert not isinstance(caught.value, relay.UnknownMessage)


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("text", ['{"t":"later","x":1}', '{"message":"Internal server error","requestId":"x"}', "{}", '{"t":""}'])
def test_an_unknown_tag_is_told_apart(decode, text: str) -> None:
    with pytest.raises(relay.UnknownMessage):
        decode(text)


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("text", ["", "[]", "null", '{"t":7}', '{"t":null}', '{"t"', "\ud800", b"\xff", "[" * 5000])
def test_what_is_not_a_message_is_a_fault(decode, text: str | bytes) -> None:
    with pytest.raises(relay.RelayFault) as caught:
        decode(text)
    assert not isinstance(caught.value, relay.UnknownMessage)
    assert caught.value.code == "protocol_error"


def test_a_message_for_another_direction_is_unknown() -> None:
    with pytest.raises(relay.UnknownMessage):
        relay.decode_upward(relay.encode(relay.Route(r="r", resume="s", gen=1)))
    with pytest.raises(relay.UnknownMessage):
        relay.decode_downward(relay.encode(relay.Offer(sid="s", ticket="t")))


@pytest.mark.parametrize(
    "text",
    [
        '{"t":"d","r":"","f":"AA=="}',
        '{"t":"d","r":"%s","f":"AA=="}' % ("r" * 301),
        '{"t":"d","r":"r","f":""}',
        '{"t":"d","r":"r","f":"%s"}' % ("A" * (relay.FRAME_TEXT_LIMIT + 1)),
        '{"t":"d","r":7,"f":"AA=="}',
        '{"t":"beat","live":"ses_01"}',
        '{"t":"beat","live":[""]}',
    ],
)
def test_fields_are_bounded(text: str) -> None:
    with pytest.raises(relay.RelayFault):
        relay.decode_upward(text)


@pytest.mark.parametrize("gen", ["-1", "1e300", "1.5", str(2**64), '"1"'])
def test_generations_are_small_whole_numbers(gen: str) -> None:
    with pytest.raises(relay.RelayFault):
        relay.decode_downward('{"t":"route","r":"r","resume":"s","gen":' + gen + "}")


def test_the_largest_frame_fits_and_one_more_byte_of_message_does_not() -> None:
    largest = relay.Data(r="r" * relay.ROUTE_LIMIT, f="A" * relay.FRAME_TEXT_LIMIT)
    text = relay.encode(largest)
    assert len(text) <= relay.MESSAGE_LIMIT
    assert relay.decode_upward(text) == largest
    with pytest.raises(relay.RelayFault):
        relay.decode_upward(text + b" " * (relay.MESSAGE_LIMIT + 1 - len(text)))
    with pytest.raises(relay.RelayFault):
        relay.encode(relay.Deliver("A" * relay.MESSAGE_LIMIT))


def test_deliver_keeps_the_frame_text_as_it_is() -> None:
    # Not even base64: the Lambda function has no opinion, the peer has.
    data = relay.Data(r="r", f="not base64 at all")
    assert relay.decode_downward(relay.deliver(data)) == relay.Deliver(data.f)


@given(st.binary(max_size=300))
def test_pack_and_unpack_are_inverse(frame: bytes) -> None:
    assert relay.unpack(relay.pack(frame)) == frame


@pytest.mark.parametrize("text", ["A", "AA", "AA=", "AA==A", "A A=", "AA==\n", "é===", "=AAA", "AAA-"])
def test_what_is_not_base64_is_a_fault(text: str) -> None:
    with pytest.raises(relay.RelayFault):
        relay.unpack(text)


@given(st.integers(0, 4 * relay.FRAGMENT_LIMIT))
def test_fragments_join_to_the_message_and_fit(size: int) -> None:
    text = bytes(size)
    parts = relay.fragments(text)
    assert b"".join(parts) == text
    assert all(0 < len(part) <= relay.FRAGMENT_LIMIT for part in parts)


@given(st.text() | st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_garbage_is_never_another_exception(text: str | bytes) -> None:
    for decode in DECODERS:
        try:
            message = decode(text)
        except relay.RelayFault:
            continue
        assert isinstance(message, msgspec.Struct)
