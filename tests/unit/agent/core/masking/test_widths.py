"""Replacements that are as wide as what they replace, and leave escape sequences where they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.detectors import Detectors
from agent.core.masking.widths import SameWidth, sized, stars, tokens, width

FORM = SameWidth(Detectors())


@pytest.mark.parametrize(
    ("data", "cells"),
    [
        (b"", 0),
        (b"hello", 5),
        (b"\x1b[1;31mred\x1b[0m", 3),
        (b"\x1b]0;a title\x07x", 1),
        (b"\x1b]0;a title\x1b\\x", 1),
        (b"\x1b(B\x1b=\x1b7a", 1),
        (b"a\x08b\r\n", 2),
        ("größe".encode(), 5),
        ("４１１１".encode(), 8),
        ("4\u200b1".encode(), 2),
        ("e\u0301".encode(), 1),
        (b"\xff\xfe", 2),
        (b"\x1b[3", 0),
    ],
)
def test_cells_are_counted_as_a_terminal_does(data: bytes, cells: int) -> None:
    assert width(data) == cells


@given(st.binary(max_size=200))
def test_tokens_are_the_whole(data: bytes) -> None:
    parts = list(tokens(data))
    assert b"".join(part for _, part, _ in parts) == data
    assert [place for place, _, _ in parts] == [sum(len(part) for _, part, _ in parts[:index]) for index in range(len(parts))]


@pytest.mark.parametrize(
    ("replacement", "cells", "want"),
    [
        (b"a***@***.com", 12, b"a***@***.com"),
        (b"a***@***.com", 17, b"a***@********.com"),
        (b"a***@***.com", 8, b"********"),
        (b"[masked secret]", 20, b"[masked secret]*****"),
        (b"***-**-****", 11, b"***-**-****"),
        (b"****", 2, b"**"),
    ],
)
def test_a_replacement_is_made_to_fit(replacement: bytes, cells: int, want: bytes) -> None:
    assert sized(replacement, cells) == want


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        ("email", b"alice@example.com", b"a***@********.com"),
        ("card", b"4111 1111 1111 1111", b"**** **** **** 1111"),
        ("card", b"4111\x1b[31m1111\x1b[0m11111111", b"****\x1b[31m****\x1b[0m****1111"),
        ("card", "４１１１１１１１１１１１１１１１".encode(), b"************1111" + b"*" * 16),
        ("email", b"alice%40example.com", b"a***@**********.com"),
        ("ssn", "123\u200b-45-6789".encode(), b"***-**-****"),
        ("secret", b"AKIAIOSF\x1b[1mODNN7EXAMPLE\x1b[m", b"[masked \x1b[1msecret]*****\x1b[m"),
    ],
)
def test_escapes_keep_their_places(name: str, value: bytes, want: bytes) -> None:
    assert FORM.instead(name, value, 0) == want


@given(st.sampled_from([b"alice@example.com", b"4111\x1b[31m1111\x1b[0m11111111", "４１１１1111".encode()]), st.integers(0, 20))
def test_what_was_seen_is_not_shown_again(value: bytes, seen: int) -> None:
    seen = min(seen, len(value))
    while seen < len(value) and (value[seen] & 0xC0 == 0x80 or b"\x1b" in value[max(0, seen - 5) : seen + 1]):
        seen += 1
    assert width(FORM.instead("card", value, seen)) == width(value[seen:])


def test_stars_stand_for_what_is_visible() -> None:
    assert stars(b"abc def\r\n\x1b[1mgh\x1b[m") == b"*** ***\r\n\x1b[1m**\x1b[m"
    assert stars("é４".encode()) == b"***"
