"""One text per value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.base64url import decode, encode


@given(st.binary(max_size=80))
def test_bytes_survive(raw: bytes) -> None:
    assert decode(encode(raw)) == raw


@pytest.mark.parametrize("text", ["A", "QQ==", "Q+", "Q/", "QR", "Q Q", "QQ\n", "é", "AAAAA"])
def test_anything_but_the_one_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text)
