from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.terminal_filter import RESET, TerminalFilter
from tests.unit.cli.test_terminal_parser import STREAM

#: Everything that may come out, written down a second time and independently of the filter.
HARMLESS = re.compile(
    r"[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
    r"|[\b\t\n\v\f\r\x0e\x0f]"
    r"|\x1b[78DEHM]|\x1b[()][0AB]|\x1b#8"
    r"|\x1b\[(?!\d{5})(?:\d{1,4}(?!\d)|[;:])*[ABCDEFGHIJKLMPSTXZ@`abdefgmrsu]"
    r"|\x1b\[4[hl]|\x1b\[\?(?:7|25|47|1047|1048|1049)(?:;(?:7|25|47|1047|1048|1049))*[hl]"
)
ERASES_SCROLLBACK = re.compile(r"\x1b\[[0-9;:]*3[0-9;:]*J")


def assert_harmless(text: str) -> None:
    assert HARMLESS.sub("", text) == ""
    assert not ERASES_SCROLLBACK.search(text)


@given(STREAM)
def test_only_what_is_harmless_comes_out(text: str) -> None:
    assert_harmless(TerminalFilter().feed(text))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_come_out_harmless(data: bytes) -> None:
    assert_harmless(TerminalFilter().feed(data.decode("latin-1")))
    assert_harmless(TerminalFilter().feed(data.decode("utf-8", "replace")))


@given(STREAM, st.integers(0, 60))
def test_cutting_the_stream_changes_nothing(text: str, cut: int) -> None:
    filtered = TerminalFilter()
    assert filtered.feed(text[:cut]) + filtered.feed(text[cut:]) == TerminalFilter().feed(text)


@given(STREAM)
def test_filtering_twice_changes_nothing(text: str) -> None:
    once = TerminalFilter().feed(text)
    assert TerminalFilter().feed(once) == once


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=80))
def test_readable_text_is_left_alone(text: str) -> None:
    assert TerminalFilter().feed(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[1;38;5;208mx\x1b[0m",
        "\x1b[4:3mcurly",
        "\x1b[10;20H",
        "\x1b[2J\x1b[H",
        "\x1b[?25l",
        "\x1b[?1049h",
        "\x1b(0lqk\x1b(B",
        "\x1b7\x1b8",
        "\x1bM",
        "\x1b[2;20r",
        "a\tb\r\n",
    ],
)
def test_what_programs_need_passes(text: str) -> None:
    assert TerminalFilter().feed(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]52;c;cm0gLXJmIC8=\x07",
        "\x1b]0;title\x1b\\",
        "\x1b]8;;http://evil.example\x1b\\",
        "\x1b]1337;File=:AAAA\x07",
        "\x1bP+q544e\x1b\\",
        "\x1b_Gf=32;AAAA\x1b\\",
        "\x1b^x\x1b\\",
        "\x05",
        "\x07",
        "\x1bZ",
        "\x1b[c",
        "\x1b[>c",
        "\x1b[6n",
        "\x1b[?6n",
        "\x1b[21t",
        "\x1b[8;5;5t",
        "\x1b[3J",
        "\x1b[3g",
        "\x1b[g",
        "\x1bH",
        "\x1b[?1000h",
        "\x1b[?2004h",
        "\x1b[?1h",
        "\x1b=",
        "\x1b[>4;2m",
        "\x1b[?u",
        "\x1b[>1u",
        "\x1b[!p",
        '\x1b[0"p',
        "\x1b[99999b",
        "\x1b[12h",
        "\x1b%G",
        "\x1b[1;2 q",
        "\x1b[?1;1S",
        "\x1b[0i",
        "\x1b[5i",
        "\u202e",
    ],
)
def test_what_reaches_beyond_the_picture_does_not_pass(text: str) -> None:
    assert TerminalFilter().feed(text) == ""
    assert TerminalFilter().feed(f"a{text}b") == "ab"


def test_a_mode_among_others_passes_alone() -> None:
    assert TerminalFilter().feed("\x1b[?1000;25;2004h") == "\x1b[?25h"


def test_eight_bit_forms_come_out_in_seven() -> None:
    assert TerminalFilter().feed("\x9b1m") == "\x1b[1m"


def test_a_full_reset_only_clears() -> None:
    assert TerminalFilter().feed("\x1bc") == "\x1b[0m\x1b[2J\x1b[H"


def test_the_alternate_screen_is_left_at_the_end() -> None:
    filtered = TerminalFilter()
    filtered.feed("\x1b[?1049h")
    assert filtered.alternate
    assert filtered.reset() == "\x1b[?1049l" + RESET
    assert filtered.reset() == RESET
