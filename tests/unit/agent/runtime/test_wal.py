"""The write-ahead log's bytes: whatever a crash or a bad disk leaves, what is read back was written, whole and in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.wal import (
    HEADER_BYTES,
    PAYLOAD_LIMIT,
    Cut,
    Frame,
    Progress,
    Type,
    checkpoint,
    cut_payload,
    encode,
    read_cut,
    read_segment,
)

PROGRESS = Progress(sid="ses_0", n=3, chain="ab" * 32, upto={"ch01.cast": 4}, operations=2, denied=1)

payloads = st.lists(st.binary(max_size=60).map(lambda each: each + b"\n"), max_size=6)


def segment(lines: list[bytes], first: int = 5) -> tuple[bytes, list[Frame]]:
    frames = [Frame(Type.CAST, 1, first + at, 1_000 + at, at, 0, line) for at, line in enumerate(lines)]
    return checkpoint(PROGRESS, first) + b"".join(encode(frame) for frame in frames), frames


@given(payloads)
def test_a_whole_segment_reads_back(lines: list[bytes]) -> None:
    data, frames = segment(lines)
    read = read_segment(data)
    assert (read.progress, read.first_seq, read.frames, read.state) == (PROGRESS, 5, frames, "whole")
    assert read.end == len(data)


@given(payloads)
def test_a_segment_cut_off_anywhere_keeps_every_whole_frame(lines: list[bytes]) -> None:
    data, frames = segment(lines)
    ends = [len(checkpoint(PROGRESS, 5))]
    for frame in frames:
        ends.append(ends[-1] + HEADER_BYTES + len(frame.payload))
    for length in range(len(data)):
        read = read_segment(data[:length])
        whole = sum(end <= length for end in ends[1:])
        assert read.frames == (frames[:whole] if length >= ends[0] else [])
        assert read.state == ("whole" if length in ends else "torn")
        assert (read.progress is None) == (length < ends[0])


@given(payloads, st.data())
def test_a_flipped_bit_is_never_read_as_something_else(lines: list[bytes], data: st.DataObject) -> None:
    whole, frames = segment(lines)
    at = data.draw(st.integers(0, len(whole) - 1))
    spoiled = bytearray(whole)
    spoiled[at] ^= 1 << data.draw(st.integers(0, 7))
    read = read_segment(bytes(spoiled))
    assert read.frames == frames[: len(read.frames)]
    assert read.state != "whole"
    assert read.progress in (None, PROGRESS)


def test_garbage_behind_the_last_frame_is_damage() -> None:
    data, frames = segment([b"one\n", b"two\n"])
    read = read_segment(data + b"\0" * 100)
    assert (read.frames, read.state) == (frames, "damaged")


def test_a_forged_frame_inside_a_damaged_one_is_not_found() -> None:
    forged = encode(Frame(Type.CAST, 1, 6, 0, 0, 0, b"forged\n"))
    data, _ = segment([b"x" + forged])
    spoiled = bytearray(data)
    spoiled[len(checkpoint(PROGRESS, 5)) + HEADER_BYTES] ^= 1
    read = read_segment(bytes(spoiled))
    assert (read.frames, read.state) == ([], "damaged")


def test_a_repeated_frame_is_damage() -> None:
    data, frames = segment([b"one\n"])
    read = read_segment(data + encode(frames[0]))
    assert (read.frames, read.state) == (frames, "damaged")


def test_a_length_past_the_limit_is_damage_and_not_an_allocation() -> None:
    data, _ = segment([])
    header = bytearray(encode(Frame(Type.CAST, 1, 5, 0, 0, 0, b"")))
    header[-8:-4] = (PAYLOAD_LIMIT + 1).to_bytes(4, "big")
    assert read_segment(data + bytes(header)).state == "damaged"


def test_a_segment_without_a_checkpoint_holds_nothing() -> None:
    assert read_segment(encode(Frame(Type.CAST, 1, 1, 0, 0, 0, b"a\n"))).state == "damaged"
    assert read_segment(b"").progress is None


def test_a_payload_past_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode(Frame(Type.CAST, 1, 1, 0, 0, 0, b"x" * (PAYLOAD_LIMIT + 1)))


def test_progress_moves_forward_only() -> None:
    cut = Cut(n=3, kind="ch01.cast", upto=9, chain="cd" * 32)
    later = PROGRESS.after(cut)
    assert (later.n, later.chain, later.upto) == (4, "cd" * 32, {"ch01.cast": 9})
    assert later.after(cut) is later
    assert read_cut(Frame(Type.CUT, 0, 1, 0, 0, 0, cut_payload(cut))) == cut
