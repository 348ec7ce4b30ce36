from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.terminal_parser import SEQUENCE_LIMIT, STRING_LIMIT, Kind, Parser, Token

STREAM = st.text(
    alphabet=st.one_of(st.sampled_from("\x1b\x9b\x9d\x90\x9c\x18\x1a\x07\x7f\n[]P_^X\\0?;:5hlmcJ #(é数"), st.characters()),
    max_size=60,
)


def merged(tokens: list[Token]) -> list[Token]:
    """Neighbouring text as one token, because where text is cut means nothing."""
    result: list[Token] = []
    for token in tokens:
        if token.kind is Kind.TEXT and result and result[-1].kind is Kind.TEXT:
            result[-1] = Token(Kind.TEXT, result[-1].body + token.body)
        else:
            result.append(token)
    return result


@given(STREAM, st.lists(st.integers(0, 60), max_size=6))
def test_cutting_the_stream_changes_nothing(text: str, cuts: list[int]) -> None:
    whole = Parser().feed(text)
    pieces, parser = [], Parser()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True):
        pieces += parser.feed(text[start:end])
    assert merged(pieces) == merged(whole)
    bytewise = Parser()
    assert merged([token for character in text for token in bytewise.feed(character)]) == merged(whole)


@given(STREAM)
def test_text_holds_no_control(text: str) -> None:
    for token in Parser().feed(text):
        if token.kind is Kind.TEXT:
            assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in token.body)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a\x1b[1;31mb", [Token(Kind.TEXT, "a"), Token(Kind.SEQUENCE, "1;31", "m"), Token(Kind.TEXT, "b")]),
        ("\x9b2J", [Token(Kind.SEQUENCE, "2", "J")]),
        ("\x1b(0", [Token(Kind.ESCAPE, "(", "0")]),
        ("\x1b[3\n1m", [Token(Kind.CONTROL, "\n"), Token(Kind.SEQUENCE, "31", "m")]),
        ("\x1b[3\x18x", [Token(Kind.TEXT, "x")]),
        ("\x1b[3\x1b[4m", [Token(Kind.SEQUENCE, "4", "m")]),
        ("\x1b[3é", [Token(Kind.TEXT, "é")]),
        ("\x1b]0;t\x07x", [Token(Kind.STRING, "", "]"), Token(Kind.TEXT, "x")]),
        ("\x1b]0;t\x1b\\x", [Token(Kind.STRING, "", "]"), Token(Kind.TEXT, "x")]),
        ("\x9d0;t\x9cx", [Token(Kind.STRING, "", "]"), Token(Kind.TEXT, "x")]),
        ("\x1b]0;t\x1b[1mx", [Token(Kind.STRING, "", "]"), Token(Kind.SEQUENCE, "1", "m"), Token(Kind.TEXT, "x")]),
        ("\x1b]0;t\x9b1mx", [Token(Kind.STRING, "", "]"), Token(Kind.SEQUENCE, "1", "m"), Token(Kind.TEXT, "x")]),
        ("\x1bP$q\x18x", [Token(Kind.STRING, "", "P"), Token(Kind.TEXT, "x")]),
        ("a\x7fb", [Token(Kind.TEXT, "a"), Token(Kind.TEXT, "b")]),
    ],
)
def test_examples(text: str, tokens: list[Token]) -> None:
    assert Parser().feed(text) == tokens


def test_what_never_ends_stops_hiding_what_follows() -> None:
    assert Parser().feed("\x1b]" + "x" * (STRING_LIMIT + 1) + "seen")[-1] == Token(Kind.TEXT, "seen")
    assert Parser().feed("\x1b[" + "1" * (SEQUENCE_LIMIT + 1) + "seen")[-1].body.endswith("seen")
