"""The wire format: golden bytes per kind, every length checked, garbage refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.tunnel import frames
from chalicelib.contracts.tunnel.frames import Frame, FrameFault, Kind, VersionFault, decode, encode, is_code

GOLDEN = Path(__file__).parents[4] / "golden" / "tunnel" / "frames.json"

EXAMPLES = {
    "open": Frame(kind=Kind.OPEN, ack=0, limit=4_194_304, payload=b"v1.ticket"),
    "open of a side that has nothing to say": Frame(kind=Kind.OPEN, ack=1, limit=4_194_304),
    "a keystroke": Frame(kind=Kind.DATA, ack=7, limit=4_194_400, seq=9, payload=b"l"),
    "data while frames 6 and 9 of the peer are missing": Frame(
        kind=Kind.DATA, ack=6, limit=65_536, sack=0b11011, seq=2**40, payload=bytes(range(16))
    ),
    "eof": Frame(kind=Kind.EOF, ack=7, limit=4_194_400, seq=10),
    "ack": Frame(kind=Kind.ACK, ack=1, limit=16_384),
    "ack of as many as possible": Frame(kind=Kind.ACK, ack=2**64 - 1, limit=2**64 - 1, sack=2**256 - 1),
    "ack, complete": Frame(kind=Kind.ACK, ack=11, limit=16_384, complete=True),
    "probe": Frame(kind=Kind.PROBE, ack=1, limit=16_384),
    "abort": Frame(kind=Kind.ABORT, ack=1, limit=16_384, code="session_killed", message="Revoked — by an administrator."),
    "abort, confirmed": Frame(kind=Kind.ABORT, ack=1, limit=16_384, code="session_killed", confirm=True),
}

ABORTS = {"code": st.from_regex(r"[a-z0-9_]{1,64}", fullmatch=True), "message": st.text(max_size=200), "confirm": st.booleans()}
U64 = st.integers(0, 2**64 - 1)


@st.composite
def any_frame(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(Kind))
    common = {"ack": draw(U64), "limit": draw(U64), "sack": draw(st.integers(0, 2**256 - 1)), "complete": draw(st.booleans())}
    match kind:
        case Kind.OPEN:
            return Frame(kind=kind, **common, payload=draw(st.binary(max_size=300)))
        case Kind.DATA:
            return Frame(kind=kind, **common, seq=draw(U64.filter(bool)), payload=draw(st.binary(min_size=1, max_size=300)))
        case Kind.EOF:
            return Frame(kind=kind, **common, seq=draw(U64.filter(bool)))
        case Kind.ABORT:
            return Frame(kind=kind, **common, **{name: draw(values) for name, values in ABORTS.items()})
        case _:
            return Frame(kind=kind, **common)


def golden() -> dict[str, str]:
    if os.environ.get("SALLYPORT_REGEN") == "1":
        GOLDEN.write_text(json.dumps({name: encode(frame).hex(" ", -8) for name, frame in EXAMPLES.items()}, indent=2) + "\n")
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden(name: str) -> None:
    wire = bytes.fromhex(golden()[name])
    assert encode(EXAMPLES[name]) == wire
    assert decode(wire) == EXAMPLES[name]


@given(any_frame())
def test_what_is_encoded_is_decoded(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_frame_cut_anywhere_is_a_fault_or_a_shorter_frame(name: str) -> None:
    frame = EXAMPLES[name]
    wire = encode(frame)
    shortest = len(wire) - len(frame.payload) - len(frame.message.encode()) + (frame.kind is Kind.DATA)
    for size in range(shortest):
        with pytest.raises(FrameFault):
            decode(wire[:size])
    for size in range(shortest, len(wire)):
        try:
            cut = decode(wire[:size])
        except FrameFault:
            continue  # inside a character of the message
        assert frame.payload.startswith(cut.payload)
        assert frame.message.startswith(cut.message)


@pytest.mark.parametrize("name", EXAMPLES)
def test_any_byte_changed_is_a_fault_or_a_frame(name: str) -> None:
    wire = encode(EXAMPLES[name])
    for at in range(len(wire)):
        for value in (0, 1, 0x1F, 0x20, 0x7F, 0x80, 0xFF, wire[at] ^ 0x10, wire[at] ^ 0x20, wire[at] ^ 0x40):
            changed = wire[:at] + bytes([value]) + wire[at + 1 :]
            try:
                frame = decode(changed)
            except FrameFault:
                continue
            assert encode(frame) == changed, "two spellings of one frame"


@given(st.binary(max_size=100))
def test_garbage_is_a_fault_or_has_one_spelling(data: bytes) -> None:
    try:
        frame = decode(data)
    except FrameFault:
        return
    assert encode(frame) == data


def test_sizes_are_exact() -> None:
    largest = Frame(kind=Kind.DATA, ack=0, limit=0, sack=2**256 - 1, seq=1, payload=bytes(frames.PAYLOAD_LIMIT))
    wire = encode(largest)
    assert len(wire) == frames.FRAME_LIMIT
    assert decode(wire) == largest
    for refused in (
        wire + b"x",
        encode(Frame(kind=Kind.DATA, ack=0, limit=0, seq=1, payload=bytes(frames.PAYLOAD_LIMIT + 1))),
        encode(Frame(kind=Kind.DATA, ack=0, limit=0, seq=1)),
        encode(Frame(kind=Kind.OPEN, ack=0, limit=0, payload=bytes(frames.OPEN_LIMIT + 1))),
        encode(Frame(kind=Kind.EOF, ack=0, limit=0, seq=1)) + b"x",
        encode(Frame(kind=Kind.ACK, ack=0, limit=0)) + b"x",
        encode(Frame(kind=Kind.ABORT, ack=0, limit=0, code="x" * 65)),
        encode(Frame(kind=Kind.ABORT, ack=0, limit=0, code="")),
        encode(Frame(kind=Kind.ABORT, ack=0, limit=0, code="Not A Code")),
        encode(Frame(kind=Kind.ABORT, ack=0, limit=0, code="c", message="m" * 1000)) + b"m",
        encode(Frame(kind=Kind.ABORT, ack=0, limit=0, code="c")) + b"\xff",
    ):
        with pytest.raises(FrameFault):
            decode(refused)
    opening = Frame(kind=Kind.OPEN, ack=0, limit=0, payload=bytes(frames.OPEN_LIMIT))
    assert decode(encode(opening)) == opening


def test_only_open_has_sequence_number_zero() -> None:
    for wrong in (Frame(kind=Kind.OPEN, ack=0, limit=0, seq=1), Frame(kind=Kind.DATA, ack=0, limit=0, payload=b"x")):
        with pytest.raises(FrameFault):
            decode(encode(wrong))


def test_a_sack_is_at_most_its_limit_and_not_padded() -> None:
    head = bytes([Kind.ACK]) + bytes(16)
    assert decode(head + b"\x02\x00\x01").sack == 256
    for sack in (b"\x01\x00", b"\x02\x01\x00", b"\x21" + b"\x01" * 33, b"\x02\x01", b"\xff"):
        with pytest.raises(FrameFault):
            decode(head + sack)


def test_another_version_is_told_apart() -> None:
    wire = encode(EXAMPLES["open"])
    at = len(wire) - len(EXAMPLES["open"].payload) - 1
    for other in (wire[:at] + b"\x02" + wire[at + 1 :], wire[:at]):
        with pytest.raises(VersionFault):
            decode(other)


def test_a_message_is_cut_between_characters() -> None:
    frame = decode(encode(Frame(kind=Kind.ABORT, ack=0, limit=0, code="c", message="é" * 600 + "\ud800")))
    assert frame.message == "é" * 500


@pytest.mark.parametrize("code", ["a", "a_9", "a" * 64])
def test_codes(code: str) -> None:
    assert is_code(code)


@pytest.mark.parametrize("text", ["", "A", "a\n", "a b", "é", "a" * 65])
def test_what_is_no_code(text: str) -> None:
    assert not is_code(text)
