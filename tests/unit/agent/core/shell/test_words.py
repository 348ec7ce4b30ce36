"""Quote removal and what is left for the shell."""

import pytest

from agent.core.shell.words import (
    Word,
    decode_ansi,
    is_live,
    sleeps,
    unescape_backquoted,
    unescape_double,
    unescape_unquoted,
)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("rm", "rm"),
        ("\\x72m", "rm"),
        ("\\162\\155", "rm"),
        ("\\u0072m", "rm"),
        ("\\U00000072m", "rm"),
        ("a\\tb", "a\tb"),
        ("\\'", "'"),
        ("\\q", "\\q"),
        ("a\\0b", None),
        ("\\x00", None),
        ("\\xff", None),
        ("\\ca", None),
        ("\\ud800", None),
    ],
)
def test_ansi_c_quoting(raw: str, value: str | None) -> None:
    assert decode_ansi(raw) == value


def test_backslashes_by_context() -> None:
    assert unescape_unquoted("a\\ b\\\nc\\\\") == "a bc\\"
    assert unescape_double('a\\"b\\$c\\d\\\ne') == 'a"b$c\\de'
    assert unescape_backquoted('\\$x \\`a\\` \\"b\\"', in_double=False) == '$x `a` \\"b\\"'
    assert unescape_backquoted('\\"b\\"', in_double=True) == '"b"'


@pytest.mark.parametrize("raw", ["$(a)", "`a`", "${a}", "$a", "$1", "$[1]", "<(a)", "$@"])
def test_text_with_an_expansion_is_live(raw: str) -> None:
    assert is_live(raw, quoted=False)
    assert not is_live("\\" + raw.replace("(", "").replace("a`", "a\\`"), quoted=True)


def test_a_lone_dollar_is_not() -> None:
    assert not is_live("a$ b$", quoted=True)


@pytest.mark.parametrize(
    ("text", "expected"), [("a[$(x)]", True), ("a[`x`]", True), ("$(x)", False), ("^[a-z]+$", False), ("a[1]", False)]
)
def test_text_that_sleeps_in_a_subscript(text: str, expected: bool) -> None:
    assert sleeps(text) is expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (Word("-x", "-x"), True),
        (Word("x", "x"), False),
        (Word("*", "*", glob=True), True),
        (Word("./*", "./*", glob=True), False),
        (Word(None, ""), True),
        (Word(None, "a"), False),
        (Word(None, "a", splits=True), True),
        (Word(None, "-a"), True),
    ],
)
def test_which_words_may_turn_into_options(word: Word, expected: bool) -> None:
    assert word.may_be_option is expected
