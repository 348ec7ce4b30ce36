"""Lines that are packed once, and what is read of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.packing import GATHERED, Gathering, Packed, frames, text
from tests.fakes.chunks import text_of

LINES = [b"one\n" * 100, b"two\n", b"\0\xff three\n" * 50]


def test_what_is_packed_is_what_was_written() -> None:
    packed = Packed(LINES)
    assert (len(packed), packed.text()) == (len(b"".join(LINES)), b"".join(LINES))
    body = packed.body()
    assert len(body) < len(packed) // 4
    assert (len(packed), packed.text(), packed.body()) == (len(b"".join(LINES)), b"".join(LINES), body)
    assert text_of(body) == b"".join(LINES)


def test_what_was_read_is_the_same() -> None:
    body = Packed(LINES).body()
    read = Packed.read(body)
    assert (len(read), text(read), read.body()) == (len(b"".join(LINES)), b"".join(LINES), body)


def test_a_flood_is_gathered_where_another_one_was() -> None:
    first, second = Gathering(flood=True), Gathering(flood=True)
    for number in range(300):
        first.add(b"first %d\n" % number)
        second.add(b"second %d\n" % number)
    wanted = [b"".join(b"%b %d\n" % (name, number) for number in range(300)) for name in (b"first", b"second")]
    made = [first.lines(), second.lines()]
    assert [text(each) for each in made] == wanted
    assert [len(each) for each in made] == [first.size, second.size] == list(map(len, wanted))
    bodies = [frames([each]) for each in made]
    # Whoever comes next writes over what was there; what was packed is no longer of it.
    for _ in range(20):
        another = Gathering(flood=True)
        another.add(b"x" * GATHERED)
        frames([another.lines()])
    assert [text_of(body) for body in bodies] == [text(each) for each in made] == wanted


def test_too_little_is_not_packed() -> None:
    gathering = Gathering()
    for number in range(3):
        gathering.add(b"%d\n" % number)
    assert gathering.lines() == b"0\n1\n2\n"


def test_a_frame_says_its_checksum() -> None:
    body = Packed(LINES).body()
    assert zstandard.get_frame_parameters(body).has_checksum


def test_several_threads_get_the_same_bytes() -> None:
    for _ in range(20):
        packed = Packed(LINES)
        with ThreadPoolExecutor(4) as threads:
            assert len(set(threads.map(lambda each: each.body(), [packed] * 8))) == 1


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=50))))
def test_parts_in_a_row_are_one_text(parts: list[tuple[bool, bytes]]) -> None:
    body = frames([Packed([data]) if packed else data for packed, data in parts])
    assert text_of(body) == b"".join(data for _, data in parts)


def test_small_pieces_between_two_frames_are_one_frame() -> None:
    body = frames([b"a", b"b", Packed([b"c"]), b"d", b"e", Packed([b"f"])])
    first = zstandard.ZstdDecompressor().decompressobj()
    assert first.decompress(body) == b"ab"
    assert body == frames([b"ab"]) + Packed([b"c"]).body() + frames([b"de"]) + Packed([b"f"]).body()
