"""Patterns as they are read before RE2 sees them: nothing is accepted that RE2 refuses, and no match is longer than was said."""

from __future__ import annotations

import math

import pytest
import re2  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.contracts import pattern_syntax
from chalicelib.contracts.patterns import MOST_PROGRAM


def compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.never_capture, options.never_nl, options.log_errors, options.max_mem = True, True, False, 64 << 20
    return re2.compile(pattern.encode(), options)


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        ("EMP-[0-9]{4}", 8, 8),
        (r"EMP-\d{4,6}", 8, 10),
        (r"EMP-\d+", 5, math.inf),
        ("a|bcd", 1, 3),
        ("a?b*?", 0, math.inf),
        ("(?:ab){2,3}c", 5, 7),
        ("(?P<x>ab)(?<y>c)", 3, 3),
        (r"\Qa.b*\E{2}", 5, 5),
        (r"\bkey\b", 3, 3),
        ("ä€", 5, 5),
        ("[ä€]", 1, 4),
        ("[^a]", 1, 4),
        (".", 1, 4),
        (r"\x{20ac}\x41", 4, 4),
        ("(?i)ksa", 3, 6),
        ("(?i)[a-z][^k]", 2, 7),
        ("a{,3}{", 6, 6),
        ("[]a-c-]", 1, 1),
        ("[[:alpha:]_]{3}", 3, 3),
        ("(a{0}){5}", 0, 0),
    ],
)
def test_how_long_a_match_is(pattern: str, least: int, most: float) -> None:
    compiled(pattern)
    found = pattern_syntax.read(pattern)
    assert (found.least, found.most) == (least, most)


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("a(b", 4), ("a)b", 2), ("a)|(b", 2), ("[a", 3), ("*a", 1), ("a**", 3), ("a{2}{3}", 5), ("a{3,2}", 7), ("a{1001}", 8),
        ("(a{100}){100}", 14), ("(a{2,}){501}", 13), ("(?=a)", 1), ("(?#a)", 1), (r"\1", 1), (r"\k", 1), ("a\\", 2), ("[z-a]", 5),
        (r"[a-\d]", 6), ("[[a]", 2), (r"\p{Klingon}", 1), (r"\x{110000}", 1), (r"\x{d800}", 1), ("(?P<a>x)(?P<a>y)", 15),
        ("^*", 2), ("(?i)*", 5), ("(" * 51 + "a" + ")" * 51, 52),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_with_its_place(pattern: str, place: int) -> None:
    with pytest.raises(ValueError, match=rf"\(character {place}\)$"):
        pattern_syntax.read(pattern)


def test_what_a_pattern_asks_of_lines() -> None:
    for pattern, anchored, newline in (("a", False, False), ("^a", True, False), (r"a\z", True, False), (r"\ba", False, False)):
        assert pattern_syntax.read(pattern)[3:] == (anchored, newline)
    assert pattern_syntax.read(r"a\nb").newline
    assert pattern_syntax.read("a\nb").newline
    assert not pattern_syntax.read(r"[\n^$]").anchored


PIECES = [
    *"abkKsS09 _-.^$|()[]{}*+?,:=!<>P\\äſ€",
    "(?:", "(?i)", "(?i:", "(?P<n>", "(?s-i:", "(?U)", "[^", "[a-z", "[[:alpha:]]", "[[:^digit:]]", "EMP", "]", ")",
    r"\d", r"\W", r"\b", r"\A", r"\z", r"\pL", r"\P{Nd}", r"\p{Greek}", r"\x41", r"\x{20ac}", r"\Q", r"\E", r"\n", r"\.", r"\_",
    r"\]", r"\/", "{2}", "{1,3}", "{0}", "{2,}", "{100}", "{1000}",
]  # fmt: skip
PATTERNS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).map("".join)
TEXTS = st.lists(st.sampled_from([*"abkKsS09 _-.", "\N{KELVIN SIGN}", "ſ", "ä", "€", "😀", "EMP", "EMP" * 5]), max_size=30).map(
    "".join
)


@settings(max_examples=3_000, deadline=None)
@example(r"a\Q\E*", "aaaa")
@example("a(?i)k", "aK")
@example(r"(?i)\w{3}", "\N{KELVIN SIGN}ſa")
@example(r"[\W\d]{2}", "😀€")
@example(r"(?:\PL|\pL){14}", "")
@example(r"(?i:[^\PL]){14}", "")
@given(PATTERNS, TEXTS)
def test_re2_accepts_what_is_accepted(pattern: str, text: str) -> None:
    try:
        said = pattern_syntax.read(pattern)
    except ValueError:
        return
    if said.cost > MOST_PROGRAM:
        return
    regexp = compiled(pattern)
    assert regexp.programsize <= said.cost, "a pattern that is not too large for plan is not too large for an agent"
    for match in regexp.finditer(text.encode()):
        start, end = match.span()
        assert said.least <= end - start <= said.most


@pytest.mark.parametrize("letter", [chr(code) for code in range(0x20, 0x7F)])
def test_escapes_are_read_as_re2_reads_them(letter: str) -> None:
    for pattern in (f"\\{letter}", f"[\\{letter}]"):
        try:
            pattern_syntax.read(pattern)
        except ValueError:
            continue
        compiled(pattern)


def test_every_class_that_is_known_has_its_name_from_re2() -> None:
    for name in pattern_syntax._CATEGORIES.split():
        for pattern in (rf"\p{{{name}}}", rf"\P{{{name}}}", rf"[^\p{{{name}}}]", rf"(?i)\p{{{name}}}"):
            assert compiled(pattern).programsize <= pattern_syntax.read(pattern).cost
