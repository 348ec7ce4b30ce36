"""Replacements are deterministic, keep what their class declares, and are their own replacement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.classes import BUILT_IN, Tally, data_class


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("email", b"alice@mail.example.com", b"a***@***.com"),
        ("email", b"n/a", b"****"),
        ("email", b"a@b@c.com", b"****"),
        ("email", "élan@example.com".encode(), b"****"),
        ("card", b"4111 1111-1111 1111", b"**** ****-**** 1111"),
        ("card", b"4111", b"****"),
        ("card", b"4111111111111111 x", b"****"),
        ("ssn", b"123-45-6789", b"***-**-****"),
        ("ssn", b"", b"***-**-****"),
        ("phone", b"+49 (0)30 1234567", b"+** (*)** *****67"),
        ("iban", b"DE89 3704 0044 0532 0130 00", b"**** **** **** **** **30 00"),
        ("secret", b"hunter2", b"[masked secret]"),
        ("badge", b"EMP-1", b"[masked badge]"),
    ],
)
def test_what_a_class_leaves_visible(name: str, value: bytes, shown: bytes) -> None:
    assert data_class(name).replace(value) == shown


@given(st.sampled_from(sorted(BUILT_IN)), st.binary(max_size=60) | st.from_regex(rb"[0-9 .@a-zA-Z-]{0,40}", fullmatch=True))
def test_a_replacement_is_its_own_replacement(name: str, value: bytes) -> None:
    shown = data_class(name).replace(value)
    assert data_class(name).replace(shown) == shown


@given(st.from_regex(rb"[0-9]{12,19}", fullmatch=True))
def test_a_card_shows_four_digits_and_no_more(digits: bytes) -> None:
    shown = data_class("card").replace(digits)
    assert shown[-4:] == digits[-4:]
    assert set(shown[:-4]) == {0x2A}


_NUMBERS = st.from_regex(rb"[0-9*]{1,5}(?:[ -]?[0-9*]{1,6}){0,4}x?", fullmatch=True)


@given(st.sampled_from(["card", "phone"]), st.lists(_NUMBERS, min_size=1, max_size=6))
def test_what_numbers_before_it_were_like_changes_nothing(name: str, values: list[bytes]) -> None:
    for value in values:
        shown = data_class(name).replace(value)
        assert shown == data_class(name)._starred(value, b"0123456789*", b" -.()/+")
        assert shown == data_class(name).replace(value)


def test_counts_are_taken_once() -> None:
    tally = Tally()
    tally.add("email", 2)
    tally.add("email")
    tally.add("ssn", 0)
    assert tally.take().hits == {"email": 3}
    assert tally.take().hits == {}
