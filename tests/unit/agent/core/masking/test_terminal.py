"""A terminal: the stream is masked, and what stands on the screen because of it; everything else stays where it was."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.detectors import Detectors
from agent.core.masking.screen import Row, Screen
from agent.core.masking.stream import Piece, shown
from agent.core.masking.terminal import TerminalMasker
from tests.unit.agent.core.masking.test_stream import SECRETS

DETECTORS = Detectors()
KEY = b"AKIAIOSFODNN7EXAMPLE"
CARD = b"4111 1111 1111 1111"
COLUMNS, ROWS = 40, 6

MOVES = [b"\x1b[A", b"\x1b[B", b"\x1b[3C", b"\x1b[2D", b"\x1b[H", b"\x1b[3;7H", b"\x1b[9G", b"\x1b[K", b"\x1b[1K", b"\x1b[2P"]
MOVES += [
    b"\x1b[2@",
    b"\x1b[3X",
    b"\x1b[L",
    b"\x1b[M",
    b"\r",
    b"\b",
    b"\r\n",
    b"\x1bM",
    b"\x1b7",
    b"\x1b8",
    b"\x1b[31m",
    b"\x1b[m",
]
TEXTS = [KEY, CARD, b"alice@example.com", b"ls -l ", b"x", "größe ".encode(), b"4111", b" 1111 1111 1111"]


def rows(data: bytes) -> list[str]:
    screen = Screen(COLUMNS, ROWS, lambda row: None)
    screen.write(data, -1)
    return ["".join(cell or "." for cell in row.text) for row in screen.rows]


def play(*writes: bytes, columns: int = COLUMNS) -> tuple[bytes, TerminalMasker]:
    """Return what is shown of ``writes`` that come a second apart."""
    masker = TerminalMasker(DETECTORS, columns, ROWS)
    out = b""
    for number, write in enumerate(writes):
        out += shown(masker.overdue(1_000 * number)) + shown(masker.take(write, 1_000 * number))
    return out + shown(masker.rest()), masker


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(MOVES + TEXTS), max_size=40), st.integers(1, 60))
def test_every_cell_is_what_it_was_or_covered_and_none_has_moved(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    masker = TerminalMasker(DETECTORS, COLUMNS, ROWS)
    pieces: list[Piece] = []
    for at in range(0, len(data), size):
        pieces += masker.take(data[at : at + size], at)
    pieces += masker.rest()
    assert b"".join(raw for raw, _ in pieces) == data
    glyphs = set("*[masked secret]alice@.com 14größ")
    before, after = rows(data + b"|"), rows(shown(pieces) + b"|")
    for was, now in zip(before, after, strict=True):
        if len(was) == len(now):
            assert all(old == new or new in glyphs for old, new in zip(was, now, strict=True))
    assert [row.find("|") for row in before] == [row.find("|") for row in after]


def test_the_rest_of_a_line_that_is_written_again_is_covered() -> None:
    # What readline does when a key is typed into the middle of a line that was fetched from the history.
    line = b"$ export K=" + KEY
    out, masker = play(line, b"\b" * 12, b"x" + KEY[8:] + b"\b" * 12, b"\b\x1b[P")
    assert KEY[8:] not in out
    assert masker.report().hits["secret"] >= 1
    out, _ = play(line, b"\x1b[12D" + KEY[8:])
    assert out.count(b"*" * 5) >= 1
    assert KEY[8:] not in out


def test_words_of_others_stand_on_the_screen_too() -> None:
    masker = TerminalMasker(DETECTORS, COLUMNS, ROWS)
    masker.tell(b"4111 1111 1111")
    masker.take(b"\x1b[0K", 0)
    assert shown(masker.take(b" 1111\r\n", 100)) == b"\x1b[0K ****\r\n"


def test_a_size_counts_from_its_change_on() -> None:
    masker = TerminalMasker(DETECTORS, 80, ROWS)
    masker.take(b"x\x1b[0K\r\n", 0)
    masker.resize(20, ROWS)
    out = shown(masker.take(b"secret: " + KEY[:12] + b"\r\n" + KEY[12:] + b"\r\n", 50))
    assert KEY[12:] not in out
    assert out.startswith(b"secret: [masked sec")


def test_what_is_revealed_is_not_covered() -> None:
    masker = TerminalMasker(DETECTORS, COLUMNS, ROWS)
    masker.reveal = frozenset({"card"})
    data = b"4999\b\b\b111 1111 1111 1111 \r\nAKIA\b" + KEY[3:] + b"\r\n"
    out = shown(masker.take(data, 0))
    assert out.startswith(b"4999\b\b\b111 1111 1111 1111 \r\n")
    assert KEY[8:] not in out


def test_bulk_is_kept_unread_and_bounded() -> None:
    masker = TerminalMasker(DETECTORS, COLUMNS, ROWS)
    masker.take(b"x\x1b[0K\r\n", 0)
    for number in range(100):
        masker.take(b"a line of text\r\n" * 500, number)
    assert masker._size <= 64 * 1024
    assert not masker._follows
    out = shown(masker.take(b"4999\b\b\b111 1111 1111 1111\r\n", 500))
    assert b"1111 1111" not in out


def test_a_last_digit_is_not_kept_beside_what_was_shown() -> None:
    out, _ = play(b"4111 1111 1111", b" 1111", b"\r\n")
    assert out.startswith(b"4111 1111 1111 ")
    assert out.endswith(b" ****\r\n")


def test_numbers_in_rows_of_a_table_are_not_one_number() -> None:
    # 4111, 1111, 1111 and 1111 under each other, as a full-screen program draws them.
    data = b"".join(b"\x1b[%d;5H%b" % (row, number) for row, number in enumerate(CARD.split(), 1))
    out, masker = play(data + b"\x1b[5;1Hdone")
    assert out == data + b"\x1b[5;1Hdone"
    assert masker.report().hits == {}


def test_what_stands_behind_a_token_in_another_line_is_not_swallowed() -> None:
    token = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + b"dozjgNryP4J3jVmNHl0w5N" * 2
    masker = TerminalMasker(DETECTORS, 200, ROWS)
    out = shown(masker.take(token, 0)) + shown(masker.take(b"ab\x1b[2;1Hvisible\r\n", 5))
    assert b"visible" in out
    assert token[20:] not in out


def test_lines_of_a_key_that_are_drawn_again_are_covered() -> None:
    lines = [
        b"-----BEGIN PRIVATE KEY-----",
        b"MIIEvQIBADANBgkqhkiG9w0BAQ",
        b"EFAASCBKcwggSjAgEAAoIBAQ",
        b"-----END PRIVATE KEY-----",
        b"text",
    ]
    first = b"\r\n".join(lines)
    out, _ = play(b"\x1b[H" + first, b"\x1b[2;1H\x1b[K" + lines[1] + b"\x1b[5;1H" + lines[4] + b"\x1b[6;1H")
    assert lines[1] not in out
    assert lines[2] not in out
    assert out.endswith(b"text\x1b[6;1H")


ODD = [
    b"\x1b[",
    b"\x1b[99b",
    b"\xf0\x9f\x99",
    "４１".encode(),
    "e\u0301".encode(),
    b"\x1bc",
    b"\x1b[2;3r",
    b"\x1b[?1049h",
    b"\x1b[?1049l",
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(max_size=30) | st.sampled_from(MOVES + TEXTS + ODD + SECRETS), st.sampled_from([0, 5, 11, 200]))
    ),
    st.sampled_from([0, 1, 2, 7, 80, 9_999]),
)
def test_whatever_comes_when_nothing_is_lost_or_raised(parts: list[tuple[bytes, int]], columns: int) -> None:
    masker = TerminalMasker(DETECTORS, columns, columns)
    pieces: list[Piece] = []
    now = 0
    for number, (part, pause) in enumerate(parts):
        now += pause
        pieces += masker.overdue(now) + masker.take(part, now)
        if number % 7 == 6:
            pieces += masker.rest()
            masker.resize(number, number)
    pieces += masker.rest()
    sent = b"".join(part for part, _ in parts)
    got = b"".join(raw for raw, _ in pieces)
    assert sent.startswith(got)
    assert len(sent) - len(got) <= 410


def drawn(masker: TerminalMasker, data: bytes) -> bytes:
    return shown(masker.take(data, 0)) + shown(masker.rest())


def test_a_key_drawn_on_a_large_screen_is_covered_at_a_bounded_price(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    text = cast(property, Row.text).fget
    assert text is not None

    def counted(row: Row) -> list[str]:
        nonlocal asked
        asked += 1
        return cast(list[str], text(row))

    monkeypatch.setattr(Row, "text", property(counted))
    masker = TerminalMasker(DETECTORS, 500, 500)
    head = b"\x1b[H-----BEGIN RSA PRIVATE KEY-----"
    line = b"MIIEpAIBAAKCAQEAabcd"
    first = drawn(masker, head + b"\x1b[2;1H" + line)
    # A row that is drawn for itself, now and in the middle of a storm of rows.
    storm = b"".join(b"\x1b[%d;1H" % (3 + at) + line for at in range(490))
    rest = drawn(masker, storm)
    assert line not in first
    assert line not in rest
    # All that stands above each of them would be 120,000 rows.
    assert asked < 40_000


def test_many_rows_beside_no_key_are_shown() -> None:
    masker = TerminalMasker(DETECTORS, 500, 500)
    storm = b"".join(b"\x1b[%d;1Hnothing of interest" % (1 + at % 490) for at in range(1_500))
    assert drawn(masker, storm) == storm
    assert drawn(masker, b"PRIVATE KEY is what the file is called\r\n\x1b[3;1Hand this is its size") == (
        b"PRIVATE KEY is what the file is called\r\n\x1b[3;1Hand this is its size"
    )
