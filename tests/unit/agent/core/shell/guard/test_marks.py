"""Marks in terminal output: found whole in any pieces, never shown, never believed from others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.shell.guard.marks import LONGEST, EndlessError, Mark, Splitter, status

NONCE = "0123456789abcdef"


def mark(body: bytes, nonce: str = NONCE) -> bytes:
    return b"\x1b]7701;" + nonce.encode() + b";" + body + b"\x07"


def joined(pieces: list[bytes | Mark]) -> list[bytes | Mark]:
    whole: list[bytes | Mark] = []
    for piece in pieces:
        last = whole[-1] if whole else None
        if isinstance(piece, bytes) and isinstance(last, bytes):
            whole[-1] = last + piece
        else:
            whole.append(piece)
    return whole


def test_a_mark_that_somebody_begins_before_one_swallows_nothing() -> None:
    splitter = Splitter("0123456789abcdef")
    found = list(splitter.feed(b"a\x1b]7701;\x1b]7701;fed;x\x1b]7701;0123456789abcdef;A\x07b"))
    assert [each.kind if isinstance(each, Mark) else each for each in found] == [b"a", "A", b"b"]
    assert splitter.forged == 1


def test_text_and_marks_come_in_their_order() -> None:
    data = b"a" + mark(b"A") + b"b" + mark(rb"D;0;'/tmp'") + mark(b"B") + b"c"
    assert list(Splitter(NONCE).feed(data)) == [
        b"a",
        Mark("A", (), NONCE),
        b"b",
        Mark("D", (b"0", b"/tmp"), NONCE),
        Mark("B", (), NONCE),
        b"c",
    ]


def test_marks_of_others_are_dropped_and_counted() -> None:
    splitter = Splitter(NONCE)
    assert list(splitter.feed(b"a" + mark(b"Q;L;1;2;3;4", "f" * 16) + b"b\x1b]7701;\x07c")) == [b"a", b"b", b"c"]
    assert splitter.forged == 2


def test_several_may_speak() -> None:
    splitter = Splitter(NONCE, "boot", "f" * 16)
    said = splitter.feed(mark(b"bash", "boot") + mark(b"A", "f" * 16) + mark(b"B", "e" * 16))
    assert list(said) == [Mark("bash", (), "boot"), Mark("A", (), "f" * 16)]
    assert splitter.forged == 1


def test_who_may_speak_is_known_mark_by_mark() -> None:
    splitter = Splitter(NONCE)
    found = []
    for piece in splitter.feed(mark(b"A", "boot") + mark(b"A") + mark(b"B", "boot")):
        splitter.nonces.add("boot")
        found.append(piece)
    assert found == [Mark("A", (), NONCE), Mark("B", (), "boot")]


def test_what_is_no_mark_passes() -> None:
    data = b"\x1b]0;title\x07 \x1b[31mred\x1b[0m \x1b]770"
    splitter = Splitter(NONCE)
    assert b"".join(piece for piece in splitter.feed(data) if isinstance(piece, bytes)) + splitter.flush() == data
    assert splitter.flush() == b""


def test_a_mark_that_has_begun_is_never_shown() -> None:
    splitter = Splitter(NONCE)
    assert list(splitter.feed(b"\x1b]7701;" + NONCE.encode() + b";Q;L")) == []
    assert splitter.flush() == b""
    with pytest.raises(EndlessError):
        list(splitter.feed(b"x" * LONGEST))


@pytest.mark.parametrize(
    ("said", "forged"), [(b"\x1b]7701;hidden text", 1), (b"\x1b]7701;" + NONCE.encode() + b";Q", 0), (b"\x1b]77", 0), (b"x", 0)]
)
def test_what_was_hidden_behind_a_mark_without_an_end_is_told_of_at_the_end(said: bytes, forged: int) -> None:
    splitter = Splitter(NONCE)
    list(splitter.feed(said))
    splitter.flush()
    splitter.end()
    assert splitter.forged == forged
    splitter.end()
    assert splitter.forged == forged


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20).filter(lambda data: b"\x1b" not in data),
            st.sampled_from([mark(b"A"), mark(b"D;1;$'a\\n;b'"), mark(b"Q", "e" * 16), b"\x1b[0m", b"\x1b\x1b]"]),
        )
    ),
    st.lists(st.integers(1, 9)),
)
def test_the_pieces_do_not_matter(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    whole, cut = Splitter(NONCE), Splitter(NONCE)
    expected = [*whole.feed(data), whole.flush()]
    found: list[bytes | Mark] = []
    at = 0
    for size in cuts:
        found += cut.feed(data[at : at + size])
        at += size
    found += [*cut.feed(data[at:]), cut.flush()]
    empty = b""
    assert joined([piece for piece in found if piece != empty]) == joined([piece for piece in expected if piece != empty])
    assert cut.forged == whole.forged


@pytest.mark.parametrize(("field", "value"), [(b"0", 0), (b"130", 130), (b"70000", 70000), (b"-1", -1)])
def test_a_status_is_what_shells_have(field: bytes, value: int) -> None:
    assert status(field) == value


@pytest.mark.parametrize("field", [b"", b"x", b" 1", b"1_0", b"9" * 30, b"--1", "٣".encode()])
def test_anything_else_is_none(field: bytes) -> None:
    with pytest.raises(ValueError):
        status(field)
