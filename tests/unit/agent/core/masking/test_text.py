"""Errors and notices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.detectors import Detectors
from agent.core.masking.text import TextScrubber

DETECTORS = Detectors()
TAGS = {"ssn": "ssn", "email": "email", "nick": "badge"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Key (ssn)=(123-45-6789) already exists.", "Key (ssn)=(***-**-****) already exists."),
        ("Key (email)=(alice@b.co) already exists.", "Key (email)=(a***@***.co) already exists."),
        ('Key ("nick")=(x) is not present in table "t".', 'Key ("nick")=([masked badge]) is not present in table "t".'),
        ("Key (a, b)=(1, hush) already exists.", "Key (a, b)=(***) already exists."),
        ("Key (lower(a))=(hush) already exists.", "Key (lower(a))=(***) already exists."),
        ("Key (a)=(hu) is duplicated sh) already exists.", "Key (a)=(***) already exists."),
        ("Key (a)=(hush) conflicts with existing key (a)=(hush).", "Key (a)=(***) conflicts with existing key (a)=(***)."),
        ("Failing row contains (1, hu(sh, null, x)).", "Failing row contains (***)."),
        ('invalid input syntax for type integer: "hush"', 'invalid input syntax for type integer: "***"'),
        ('invalid input syntax for type integer: "hu"sh"', 'invalid input syntax for type integer: "***"'),
        ('invalid input value for enum mood: "hush"', 'invalid input value for enum mood: "***"'),
        ('value "hush" is out of range for type integer', 'value "***" is out of range for type integer'),
        ('malformed array literal: "hush"', 'malformed array literal: "***"'),
        ('date/time field value out of range: "hush"', 'date/time field value out of range: "***"'),
        ('COPY t, line 1, column a: "hush"', 'COPY t, line 1, column a: "***"'),
        ('Token "hush" is invalid.', 'Token "***" is invalid.'),
        ("JSON data, line 1: {hush...", "JSON data, line 1: ***"),
        ("user says alice@example.com", "user says a***@***.com"),
    ],
)
def test_quoted_data_goes(text: str, shown: str) -> None:
    scrubber = TextScrubber(DETECTORS, tags=TAGS)
    assert scrubber.scrub(text.encode()) == shown.encode()
    assert sum(scrubber.report().hits.values()) > 0


@pytest.mark.parametrize(
    "text",
    [
        'relation "users" does not exist',
        'duplicate key value violates unique constraint "users_ssn_key"',
        'null value in column "a" of relation "t" violates not-null constraint',
        "permission denied for table users",
        'syntax error at or near "selct"',
        "value too long for type character varying(10)",
        "division by zero",
        "canceling statement due to user request",
        "",
    ],
)
def test_what_quotes_no_data_stays(text: str) -> None:
    assert TextScrubber(DETECTORS, tags=TAGS).scrub(text.encode()) == text.encode()


def test_a_revealed_column_stays() -> None:
    text = b"Key (ssn)=(123-45-6789) already exists."
    assert TextScrubber(DETECTORS, frozenset({"ssn"}), tags=TAGS).scrub(text) == text


WORDS = st.sampled_from(
    ["Key (a)=(", "hush", ")", '"', "Failing row contains (", "COPY t, line 1: ", "\n", 'value "', ") already exists.", "key ("]
)


@given(st.lists(WORDS, max_size=12).map("".join).map(str.encode) | st.binary(max_size=60))
def test_nothing_is_raised_and_scrubbing_ends(text: bytes) -> None:
    TextScrubber(DETECTORS, tags=TAGS).scrub(text)


@given(st.text(max_size=20).filter(lambda text: '"' not in text and "\n" not in text and len(text) > 5))
def test_no_failing_row_or_cast_shows_its_data(value: str) -> None:
    scrubber = TextScrubber(DETECTORS)
    for text in (
        "Failing row contains (1, {}).",
        'invalid input syntax for type date: "{}"',
        "Key (a)=({}) already exists.",
    ):
        shown, other = (scrubber.scrub(text.replace("{}", each).encode("utf-8", "replace")) for each in (value, "x"))
        assert shown == other
