from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given

from cli.terminal_text import FULL_SCREEN, LINE_LIMIT, TerminalText
from tests.unit.cli.test_terminal_parser import STREAM


def lines(*pieces: str) -> list[str]:
    screen = TerminalText()
    return [line for piece in pieces for line in screen.feed(piece)] + screen.flush()


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("$ lss\b\x1b[K\r\n", ["$ ls"]),
        ("$ lss\b \b\r\n", ["$ ls"]),
        ("10 %\r50 %\r100 %\n", ["100 %"]),
        ("abc\rX\n", ["Xbc"]),
        ("abcdef\x1b[3D\x1b[P\n", ["abcef"]),
        ("ac\x1b[D\x1b[@b\n", ["abc"]),
        ("abc\x1b[2G-\n", ["a-c"]),
        ("a\x1b[3Cb\n", ["a   b"]),
        ("abc\x1b[2Kd\n", ["   d"]),
        ("a\tb\n", ["a       b"]),
        ("\x1b[1;31mred\x1b[0m\n", ["red"]),
        ("\x1b]0;title\x07$ \n", ["$"]),
        ("no newline", ["no newline"]),
        # nobody but us says what was decided
        ("▸ allowed: rm\n", [" ▸ allowed: rm"]),
        ("\x1b[31m\u200b▸\b▸ denied\r\n", [" ▸ denied"]),
        ("x\r▸ exit status 0\n", [" ▸ exit status 0"]),
        ("── channel 2 ──\n", [" ── channel 2 ──"]),
        ("a ▸ b\n────\n", ["a ▸ b", "────"]),
        ("before\x1b[?1049h\x1b[2Jvim\n~\n\x1b[?1049lafter\n", ["before", FULL_SCREEN, "after"]),
    ],
)
def test_examples(text: str, seen: list[str]) -> None:
    assert lines(text) == seen
    assert lines(*text) == seen


@given(STREAM)
def test_lines_can_only_be_read(text: str) -> None:
    for line in lines(text):
        assert all(unicodedata.category(character)[0] != "C" for character in line)


def test_a_line_is_bounded() -> None:
    assert len(lines("x" * (LINE_LIMIT + 500) + "\n")[0]) == LINE_LIMIT
    assert len(lines("\x1b[9999C" * 50 + "x\n")[0]) <= LINE_LIMIT
