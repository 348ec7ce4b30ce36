from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts import ids

TIMES = st.integers(min_value=0, max_value=(1 << 48) - 1)
ENTROPY = st.binary(min_size=10, max_size=10)


@given(TIMES, ENTROPY, st.sampled_from(sorted(ids.KINDS)))
def test_an_identifier_tells_its_kind_and_its_time(now_ms: int, entropy: bytes, kind: str) -> None:
    identifier = ids.mint(kind, now_ms, entropy)
    assert ids.is_id(kind, identifier)
    assert ids.minted_ms(identifier) == now_ms
    assert not any(ids.is_id(other, identifier) for other in ids.KINDS - {kind})


@given(TIMES, TIMES, ENTROPY, ENTROPY)
def test_identifiers_sort_by_time(first: int, second: int, one: bytes, two: bytes) -> None:
    earlier, later = sorted((first, second))
    if earlier < later:
        assert ids.mint("ses", earlier, one) < ids.mint("ses", later, two)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ses_",
        "ses_01JD8QZ6T3N0V9C4K2M7X5B1H",
        "ses_81JD8QZ6T3N0V9C4K2M7X5B1HR",
        "SES_01JD8QZ6T3N0V9C4K2M7X5B1HR",
        "ses_01jd8qz6t3n0v9c4k2m7x5b1hr",
        "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR\n",
        "../ses_01JD8QZ6T3N0V9C4K2M7X5B1HR",
    ],
)
def test_what_is_not_an_identifier(text: str) -> None:
    assert not ids.is_id("ses", text)
    with pytest.raises(ValueError):
        ids.minted_ms(text)


@pytest.mark.parametrize(("kind", "now", "entropy"), [("xxx", 0, b"0" * 10), ("ses", -1, b"0" * 10), ("ses", 0, b"")])
def test_minting_refuses_nonsense(kind: str, now: int, entropy: bytes) -> None:
    with pytest.raises(ValueError):
        ids.mint(kind, now, entropy)
