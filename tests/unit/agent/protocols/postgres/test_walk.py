"""Headers that are found all at once are those that a walk from one to the next finds."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.protocols.postgres import walk
from agent.protocols.postgres.messages import message

LIMIT = 1 << 20
BODY = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"d\0\0\0\x09abcd", b"d\0\0\0\4" * 5, b"d\0\0\0\4d", b"d" * 30, b"\0\0d\0\0\1\0", bytes(300)]),
)


def plain(data: bytes, at: int, limit: int) -> tuple[int, list[int]]:
    starts, first = [], at
    while len(data) - at >= 5:
        kind, length = struct.unpack_from(">BI", data, at)
        if kind != ord("d") or at + 1 + length > len(data) or length < 4 or length - 4 > limit:
            break
        starts.append(at - first)
        at += 1 + length
    return at, starts


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_MANY", 0)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=8), st.lists(BODY, max_size=30), st.binary(max_size=12), st.integers(0, 400))
def test_both_ways_find_the_same(before: bytes, bodies: list[bytes], behind: bytes, cut: int) -> None:
    stream = b"".join(message("d", body) for body in bodies)
    data = before + stream[: max(0, len(stream) - cut)] + behind
    end, starts = walk.run(data, len(before), ord("d"), LIMIT)
    assert (end, np.asarray(starts).tolist()) == plain(data, len(before), LIMIT)


def test_a_long_message_among_short_ones() -> None:
    data = b"".join(message("d", bytes(size)) for size in (5, 70_000, 6, 7, 300_000, 8))
    end, starts = walk.run(data, 0, ord("d"), LIMIT)
    assert (end, np.asarray(starts).tolist()) == plain(data, 0, LIMIT)
    assert end == len(data)


def test_doubts_have_an_end() -> None:
    data = b"".join(message("d", b"d\0\0\0\5") for _ in range(200))
    end, starts = walk.run(data, 0, ord("d"), LIMIT)
    assert (end, np.asarray(starts).tolist()) == plain(data, 0, LIMIT)


def test_a_body_past_the_limit_ends_the_run() -> None:
    data = message("d", bytes(10)) + message("d", bytes(99)) + message("d", bytes(10))
    assert walk.run(data, 0, ord("d"), 50)[0] == 15
