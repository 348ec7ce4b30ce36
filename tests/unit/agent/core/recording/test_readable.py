"""What is read in bytes that are no text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.recording.readable import SHORTEST, readable


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", b""),
        (b"\0", b"."),
        (b"abc\0", b"."),
        (b"\0\1\2 a line\n\xff\xfe", b". a line\n."),
        (b"letters", b"letters"),
        (b"12345\x00123456\x01", b".123456."),
        (b"\0a page\fand\vmore\x7f\0", b".a page.and.more.."),
        (b"/etc/passwd\0\0\0/etc/shadow", b"/etc/passwd./etc/shadow"),
    ],
)
def test_texts_stay_and_what_is_between_is_a_dot(data: bytes, told: bytes) -> None:
    assert readable(data) == told


PIECES = st.lists(
    st.binary(max_size=20)
    | st.sampled_from([b"a line of text, " * 20, b"/etc/passwd"])
    | st.text(st.sampled_from("\t\n\v\f\r a~\x7f")).map(str.encode)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(str.encode)
)


@pytest.mark.parametrize("between", [1, 2000])
@given(pieces=PIECES)
def test_it_is_what_a_pattern_would_find(pieces: list[bytes], between: int) -> None:
    data = (b"\0" * between).join(pieces)
    runs = re.split(rb"(?s)((?:[\t-\r -\x7f]){%d,})" % SHORTEST, data)
    runs[1::2] = [re.sub(rb"[\v\f\x7f]", b".", run) for run in runs[1::2]]
    assert readable(data) == b"".join(run if number % 2 else b"." if run else b"" for number, run in enumerate(runs))
