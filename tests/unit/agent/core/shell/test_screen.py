"""The raw text: size, nesting, invisible characters, joined lines."""

import pytest

from agent.core.shell import DEFAULT, Limits
from agent.core.shell.screen import screen


@pytest.mark.parametrize(
    "char",
    ["\0", "\r", "\x0b", "\x1b", "\x7f", "\x85", "\u00a0", "\u2003", "\u200b", "\u2028", "\u202e", "\u3000", "\ufeff", "\ud800"],
)
def test_what_a_reader_cannot_see_is_flagged(char: str) -> None:
    assert "control_characters" in screen(f"ls{char}x", DEFAULT)[0]


@pytest.mark.parametrize("text", ["ls -la", "ls\tx\ny", "echo é ñ 漢字 🙂"])
def test_ordinary_text_is_not(text: str) -> None:
    assert screen(text, DEFAULT) == (set(), text.encode())


def test_length_is_counted_in_bytes() -> None:
    limits = Limits(max_bytes=4)
    assert screen("abcd", limits)[0] == set()
    assert screen("abcde", limits) == ({"too_long"}, None)
    assert screen("ééé", limits) == ({"too_long"}, None)


@pytest.mark.parametrize("text", ["(" * 300, "{" * 300, "$(" * 300, "a[" * 300, "<<a " * 300, "f() " * 300])
def test_deep_nesting_is_not_parsed(text: str) -> None:
    assert screen(text, DEFAULT) == ({"too_deep"}, None)


def test_brackets_that_close_are_not_deep() -> None:
    assert screen("(a);" * 300, DEFAULT)[0] == set()


@pytest.mark.parametrize(
    ("text", "source"), [("r\\\nm", b"rm"), ("a \\\n b", b"a \\\n b"), ("a\\\\\nb", b"a\\\\\nb"), ('"a\\\nb"', b'"ab"')]
)
def test_joined_lines_are_joined_where_that_is_exact(text: str, source: bytes) -> None:
    assert screen(text, DEFAULT) == (set(), source)


@pytest.mark.parametrize("text", ["'a\\\nb'", "a #b\\\nc", "cat <<E\na\\\nb\nE"])
def test_joined_lines_elsewhere_are_a_parse_error(text: str) -> None:
    assert screen(text, DEFAULT)[0] == {"parse_error"}
