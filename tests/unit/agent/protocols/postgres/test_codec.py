from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.postgres import messages
from agent.protocols.postgres.codec import (
    CLIENT_LIMITS,
    SERVER_LIMITS,
    STARTUP_LIMIT,
    Framer,
    Message,
    Rows,
    StartupFramer,
    join_rows,
)
from chalicelib.contracts.faults import Fault
from tests.unit.agent.protocols.postgres.conversation import IDLE, columns, complete, fault_of, parse, query, row, row_body

STREAM = columns("a") + row(b"1") + row(b"22") + row(None) + complete("SELECT 3") + IDLE


def flat(found: list[Message | Rows]) -> list[bytes]:
    out: list[bytes] = []
    for each in found:
        out += join_rows(each.bodies()).split(b"\0\0\0\0\0") if isinstance(each, Rows) else [each.raw]
    return out


def test_rows_come_as_one_unit() -> None:
    found = Framer(SERVER_LIMITS, whose="target", rows=True).feed(STREAM)
    assert [type(each).__name__ for each in found] == ["Message", "Rows", "Message", "Message"]
    rows = found[1]
    assert isinstance(rows, Rows)
    assert (rows.count, rows.bodies()) == (3, [row_body(b"1"), row_body(b"22"), row_body(None)])
    assert join_rows(rows.bodies()) == rows.raw


def test_without_rows_every_message_stands_alone() -> None:
    found = Framer(SERVER_LIMITS, whose="target").feed(STREAM)
    assert [each.kind for each in found if isinstance(each, Message)] == ["T", "D", "D", "D", "C", "Z"]


def test_split_at_every_byte() -> None:
    for cut in range(len(STREAM) + 1):
        framer = Framer(SERVER_LIMITS, whose="target", rows=True)
        found = framer.feed(STREAM[:cut]) + framer.feed(STREAM[cut:])
        assert b"".join(each.raw for each in found) == STREAM
        assert not framer.partial


def test_byte_by_byte_is_the_same_as_whole() -> None:
    framer = Framer(SERVER_LIMITS, whose="target")
    found = [each for byte in STREAM for each in framer.feed(bytes([byte]))]
    assert found == Framer(SERVER_LIMITS, whose="target").feed(STREAM)


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 3000), max_size=10))
def test_any_chunking_gives_the_same_messages(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(messages.message("d", body) for body in bodies)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    framer = Framer(SERVER_LIMITS, whose="target")
    found = [each for low, high in itertools.pairwise(edges) for each in framer.feed(stream[low:high])]
    assert [each.body for each in found if isinstance(each, Message)] == bodies


@pytest.mark.parametrize("length", [0, 3, 2**31, 2**32 - 1, SERVER_LIMITS[ord("C")] + 5])
def test_a_hostile_length_is_refused_before_its_body_comes(length: int) -> None:
    with pytest.raises(Fault, match="target_protocol"):
        Framer(SERVER_LIMITS, whose="target").feed(b"C" + struct.pack(">I", length))


def test_the_largest_body_is_accepted_and_one_more_is_not() -> None:
    limit = CLIENT_LIMITS[ord("D")]
    framer = Framer(CLIENT_LIMITS, whose="client")
    assert framer.feed(messages.message("D", bytes(limit)))[0].raw[5:] == bytes(limit)
    with pytest.raises(Fault, match="protocol_error"):
        framer.feed(b"D" + struct.pack(">I", limit + 5))


@given(st.binary(min_size=5, max_size=200))
def test_garbage_from_the_client_is_a_fault_or_waits(data: bytes) -> None:
    framer = Framer(CLIENT_LIMITS, whose="client")
    found: list[Message | Rows] = []
    code = fault_of(lambda: found.extend(framer.feed(data)))
    assert code in ("", "protocol_error")
    if not code:
        assert b"".join(each.raw for each in found) == data[: len(data) - len(framer.rest())]


def test_every_unknown_type_is_a_fault() -> None:
    for limits, whose in ((CLIENT_LIMITS, "client"), (SERVER_LIMITS, "target")):
        for kind in range(256):
            if kind not in limits:
                with pytest.raises(Fault):
                    Framer(limits, whose=whose).feed(bytes([kind]) + b"\0\0\0\4")


def test_many_pieces_of_a_large_message_are_joined_once() -> None:
    body = bytes(1_000_000)
    stream = parse("s", "SELECT 1")[:0] + messages.message("d", body)
    framer = Framer(CLIENT_LIMITS, whose="client")
    found: list[Message | Rows] = []
    for at in range(0, len(stream), 1000):
        found += framer.feed(stream[at : at + 1000])
    assert [each.raw for each in found] == [stream]


def test_what_is_left_can_be_taken_back() -> None:
    framer = Framer(CLIENT_LIMITS, whose="client")
    framer.feed(query("SELECT 1") + b"Q\0\0")
    assert framer.partial
    assert framer.rest() == b"Q\0\0"
    assert not framer.partial


def test_a_startup_packet_is_found_at_every_split() -> None:
    packet = messages.startup({"user": "ann", "database": "db"})
    for cut in range(len(packet) + 1):
        framer = StartupFramer()
        found = framer.feed(packet[:cut]) or framer.feed(packet[cut:] + b"rest")
        assert found == packet[4:]
        assert framer.rest() == (b"rest" if cut < len(packet) else b"")


@pytest.mark.parametrize("length", [0, 4, 7, STARTUP_LIMIT + 1, 2**32 - 1])
def test_a_startup_packet_that_cannot_be_is_a_fault(length: int) -> None:
    with pytest.raises(Fault, match="protocol_error"):
        StartupFramer().feed(struct.pack(">I", length))
