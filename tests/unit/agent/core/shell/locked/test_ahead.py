"""What a terminal keeps of keys that a program did not take, and what it never keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.shell.locked.ahead import KEPT, Ahead


def left(typed: bytes, back: bytes) -> bytes | None:
    ahead = Ahead()
    ahead.add(typed)
    return ahead.left(back)


@pytest.mark.parametrize(
    ("typed", "back", "means"),
    [
        (b"", b"", b""),
        (b"all of it\r", b"", b""),
        (b"to cat\rls\r", b"ls\r", b"ls\n"),
        (b"to cat\rls\r", b"ls\n", b"ls\n"),
        (b"lx\x7fs\r", b"ls\n", b"ls\n"),
        (b"lx\x7fs\r", b"lx\x7fs\n", b"lx\x7fs\n"),
        (b"gone\x15ls\r", b"ls\n", b"ls\n"),
        (b"one\rtwo three\x17\x17ls\r", b"one\nls\n", b"one\nls\n"),
        (b"a-b_c d\x17\x17x", b"a-x", b"a-x"),
        (b"gone\x03ls\r", b"ls\n", b"ls\n"),
        (b"a\x16\x03b", b"a\x03b", b"a\x03b"),
        (b"to cat\x04\x04ls\r", b"to catls\n", b"to catls\n"),
        ("gröx\x7f\x7fön".encode(), "grön".encode(), "grön".encode()),
        (b"ls\x13\x11 -l\r", b"ls -l\n", b"ls -l\n"),
        # edited at first, and then as it came
        (b"lx\x7fs\rx\x7f\r", b"ls\nx\x7f\n", b"ls\nx\x7f\n"),
        (b"x\x7f\x7f\x7f\x15\x17ls\r", b"ls\n", b"ls\n"),
    ],
)
def test_the_end_of_what_was_typed_comes_back(typed: bytes, back: bytes, means: bytes) -> None:
    assert left(typed, back) == means


@pytest.mark.parametrize(
    ("typed", "back"),
    [
        (b"", b"\n"),
        (b"x", b"touch f\n"),
        (b"to cat\r", b"rm\n"),
        (b"a long text\r", b"along\n"),
        (b"a long text\r", b"a long text"),
        (b"rm -rf /tmp/x\x15ls\r", b"rm -rf /tmp/xls\n"),
        (b"one\x03two\r", b"onetwo\n"),
        (b"ls\r", b"\x12ls\n"),
        (b"ls\r", b"\x1b[Als\n"),
        (b"ls\x7f\x7frm\r", b"lsrm\n"),
    ],
)
def test_what_was_not_typed_does_not(typed: bytes, back: bytes) -> None:
    assert left(typed, back) is None


def test_what_neither_terminals_nor_shells_keep_is_not_put_back() -> None:
    assert left(b"l\x00s\r", b"l\x13s\x11\x00\n") == b"ls\n"


@given(st.binary(max_size=60), st.data())
def test_every_end_of_what_was_typed_may_come_back(typed: bytes, data: st.DataObject) -> None:
    assert left(typed, typed[data.draw(st.integers(0, len(typed))) :]) is not None


@given(st.lists(st.binary(min_size=1, max_size=8), max_size=12))
def test_however_it_was_read(pieces: list[bytes]) -> None:
    ahead = Ahead()
    for piece in pieces:
        ahead.add(piece)
    whole = b"".join(pieces)
    assert ahead.left(whole) == left(whole, whole) is not None


def test_memory_is_bounded() -> None:
    ahead = Ahead()
    for _ in range(10):
        ahead.add(b"x" * KEPT)
    assert ahead.left(b"x" * KEPT) is not None
    assert ahead.left(b"x" * (KEPT + 1)) is None
