"""COPY in batches: what is masked where it stands reads as if every row had been taken apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.copies import FEW, CopyForm, CopyMasker
from agent.core.masking.detectors import Custom, Detectors
from agent.core.masking.rows import Column
from tests.unit.agent.core.masking.test_hostile_rows import SECRETS

DETECTORS = Detectors()
VALUE = st.one_of(
    st.sampled_from([b"", b"\\N", b"plain", b"n/a", b"N", "größe".encode(), b"a\\\\b", b"x\\ty", b"\\N\\N", *SECRETS[:8]]),
    st.sampled_from(SECRETS[:8]).flatmap(
        lambda secret: st.sampled_from([b"see " + secret, secret + b".", b"d" + secret, secret * 2])
    ),
    st.integers(1, 300).map(lambda size: b"x" * size),
)


def messages(rows: list[bytes]) -> tuple[bytes, np.ndarray]:
    framed = [b"d" + (len(row) + 4).to_bytes(4) + row for row in rows]
    return b"".join(framed), np.cumsum([0, *map(len, framed[:-1])])


def taken_apart(masker: CopyMasker, rows: list[bytes]) -> bytes:
    return messages([masker.feed(row) for row in rows])[0]


def both(columns: list[Column], rows: list[bytes], form: CopyForm = "text") -> bytes | None:
    """Mask in one batch, after checking that row by row says the same."""
    fast, slow = CopyMasker(columns, DETECTORS, form=form), CopyMasker(columns, DETECTORS, form=form)
    shown = fast.mask_framed(*messages(rows))
    if shown is not None:
        assert shown == taken_apart(slow, rows)
        assert fast.report() == slow.report()
    return shown


@pytest.mark.parametrize("form", ["text", "csv"])
@settings(max_examples=120, deadline=None)
@given(
    names=st.lists(st.sampled_from([None, None, "email", "card", "ssn", "iban", "badge"]), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_batch_reads_as_its_rows_would(form: CopyForm, names: list[str | None], data: st.DataObject) -> None:
    delimiter = b"\t" if form == "text" else b","
    row = st.lists(VALUE, min_size=len(names), max_size=len(names)).map(lambda values: delimiter.join(values) + b"\n")
    rows = data.draw(st.lists(row, min_size=FEW, max_size=2 * FEW))
    both([Column(25, 0, name) for name in names], rows, form)


def test_clean_rows_are_the_same_object() -> None:
    raw, starts = messages([b"%d\tplain\t\\N\n" % at for at in range(40)])
    assert CopyMasker([Column(25)] * 3, DETECTORS).mask_framed(raw, starts) is raw


def test_the_tagged_road_is_taken_and_nulls_stay() -> None:
    rows = [b"7\tuser%d@example.com\t\\N\tcall +49 170 1234567\n" % at for at in range(FEW)]
    rows[3] = b"7\t\\N\t123-45-6789\tnothing\n"
    shown = both([Column(25), Column(25, 0, "email"), Column(25, 0, "ssn"), Column(25)], rows)
    assert shown is not None
    assert shown.count(b"u***@***.com") == FEW - 1
    assert shown.count(b"***-**-****") == 1
    assert b"1234567" not in shown


def test_lengths_that_read_as_letters_hide_nothing() -> None:
    for size in (48, 65, 97, 0x5C, 0x22):
        rows = [b"4111111111111111,".ljust(size - 5, b".") + b"\n"] * FEW
        shown = both([Column(25)], rows)
        assert shown is not None
        assert b"4111111111111111" not in shown


def test_a_key_block_of_several_rows_is_masked_as_row_by_row() -> None:
    rows = [b"-----BEGIN PRIVATE KEY-----\n", b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n", *[b"plain\n"] * FEW]
    assert both([Column(25)], rows) is not None


@pytest.mark.parametrize(
    "rows",
    [
        [*[b"a\tb\n"] * FEW, b"a\tb"],
        [*[b"a\tb\n"] * FEW, b""],
        [*[b"a\tb\n"] * FEW, b"a\tb\nc\td\n"],
        [*[b"a\tb\n"] * FEW, b"a\n", b"a\tb\tc\n"],
        [*[b"a\tb\n"] * FEW, b"a\tb\r\n"],
        [*[b"a\tb\n"] * FEW, b"\\.\n"],
        [b"a\tb\n"] * (FEW - 1),
    ],
)
def test_what_is_not_as_plain_is_left_to_be_taken_apart(rows: list[bytes]) -> None:
    assert CopyMasker([Column(25, 0, "email"), Column(25)], DETECTORS).mask_framed(*messages(rows)) is None


def test_custom_patterns_and_open_rows_are_taken_apart() -> None:
    raw, starts = messages([b"plain\n"] * FEW)
    assert CopyMasker([Column(25)], Detectors([Custom("odd", "^plain")])).mask_framed(raw, starts) is None
    masker = CopyMasker([Column(25)], DETECTORS)
    masker.feed(b"begun")
    assert masker.mask_framed(raw, starts) is None
