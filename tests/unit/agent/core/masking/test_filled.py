"""What is recognised in a column that was full of secrets is exactly what the detectors would find there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.checks import luhn
from agent.core.masking.detectors import Custom, Detectors
from agent.core.masking.rows import FEW, Column, RowMasker
from tests.unit.agent.core.masking.test_rows import body, framed

DETECTORS = Detectors()
HEAT = {"email": b"ann@example.com", "ssn": b"123-45-6789", "card": b"4111 1111 1111 1111"}
NAMES = st.one_of(
    st.from_regex(rb"[a-z]{1,8}[.-]?[a-z0-9]{0,18}", fullmatch=True),
    st.sampled_from([b"git", b"github", b"xoxb-1234567890", b"de12345678901234", b"DE89370400440532013000", b"eyJabcde.abcdef"]),
    st.sampled_from([b"AKIAIOSFODNN7EXAMPLE", b"xapp-1-1234567890", b"4111111111111111", b"glpat-abcdefghijklmnopqrst"]),
    st.sampled_from([b"555-123-4567", b"jo12", b"a", b"1a", b".a"]),
    st.text("aZ09.-_+'% é@", max_size=30).map(str.encode),
)
DOMAINS = st.one_of(
    st.sampled_from(
        [
            b"example.com",
            b"x.co.uk",
            b"2x.png",
            b"tty1.service",
            b"x.PNG",
            b"a.b",
            b"a..com",
            b"-.de",
            b"example.com.",
            b"x.xn--p1ai",
        ]
    ),
    st.from_regex(rb"[a-z0-9.-]{0,12}\.[A-Za-z]{1,12}", fullmatch=True),
    st.text("aZ09.-_é@", max_size=20).map(str.encode),
)


def with_check_digit(digits: str) -> bytes:
    return next(number for last in range(10) if luhn(number := f"{digits}{last}".encode()))


NUMBERS = st.from_regex(r"[2-6][0-9]{14}", fullmatch=True).map(with_check_digit)
CARDS = st.one_of(
    NUMBERS,
    st.tuples(NUMBERS, st.sampled_from([b" ", b"-", b".", b"\0"])).map(
        lambda pair: pair[1].join(pair[0][at : at + 4] for at in (0, 4, 8, 12))
    ),
    st.from_regex(rb"[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}", fullmatch=True),
    st.sampled_from([b"4444444444444444", b"4444 4444 4444 4444", b"0000 0000 0000 0000", b"4111 1111-1111 1111"]),
)
VALUES = {
    "email": st.tuples(NAMES, st.just(b"@"), DOMAINS).map(b"".join),
    "ssn": st.one_of(
        st.from_regex(rb"[0-9]{3}([ -])[0-9]{2}\1[0-9]{4}", fullmatch=True),
        st.sampled_from(
            [b"000-12-3456", b"666-12-3456", b"900-12-3456", b"123-00-4567", b"123-45-0000", b"123 45-6789", b"1234567890a"]
        ),
    ),
    "card": CARDS,
}


@pytest.mark.parametrize("name", sorted(VALUES))
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_dense_column_shows_what_its_values_would(name: str, data: st.DataObject) -> None:
    value = st.one_of(VALUES[name], VALUES[name], st.none(), st.sampled_from([HEAT[name], b"", b"plain", b"-", b"a@b.de"]))
    rows = [body(each, b"next") for each in data.draw(st.lists(value, min_size=FEW, max_size=2 * FEW))]
    fast, slow = RowMasker([Column(25), Column(25)], DETECTORS), RowMasker([Column(25), Column(25)], DETECTORS)
    fast.mask([body(HEAT[name], b"next")] * FEW)
    fast.report()
    for _ in range(2):
        assert fast.mask(rows) == b"".join(slow.mask([row]) for row in rows)
        assert fast.report() == slow.report()


@pytest.mark.parametrize("name", sorted(HEAT))
def test_a_dense_column_is_recognised_without_the_detectors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [body(HEAT[name], b"next")] * (8 * FEW)
    masker = RowMasker([Column(25), Column(25)], DETECTORS)
    want = masker.mask(rows)
    seen: list[bytes] = []
    monkeypatch.setattr(Detectors, "spans", lambda _self, data: seen.append(data) or [])
    assert masker.mask(rows) == want
    assert HEAT[name] not in seen[0]
    assert HEAT[name] not in want


def test_a_column_that_cools_is_looked_through_again() -> None:
    masker = RowMasker([Column(25)], DETECTORS)
    masker.mask([body(HEAT["email"])] * FEW)
    plain = [body(b"plain, or a card: 4111 1111 1111 1111")] * FEW
    for _ in range(3):
        assert masker.mask(plain) == framed(*[body(b"plain, or a card: **** **** **** 1111")] * FEW)


def test_revealed_classes_and_custom_patterns_are_left_to_the_detectors() -> None:
    shown = RowMasker([Column(25)], DETECTORS, frozenset({"email"}))
    rows = [body(HEAT["email"])] * FEW
    assert shown.mask(rows) == shown.mask(rows) == framed(*rows)
    custom = RowMasker([Column(25)], Detectors([Custom("odd", r"\*\*\*")]))
    assert custom.mask(rows) == custom.mask(rows)
