"""Values that are looked through apart from a batch: what is found in the copy stands where it is said to stand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.detectors import Custom, Detectors
from agent.core.masking.extracts import extract
from agent.core.masking.rows import FEW, Column, RowMasker
from tests.unit.agent.core.masking.test_hostile_rows import HOSTILE
from tests.unit.agent.core.masking.test_rows import body

DETECTORS = Detectors()
#: Of a type in which nothing is looked for, and longer than everything beside it.
HARMLESS, LONG = Column(23), b"7" * 5_000
TEXTS = st.one_of(st.just(Column(25)), st.just(Column(17, 1)), st.sampled_from([Column(25, 0, "email"), Column(25, 0, "secret")]))


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.data())
def test_a_batch_of_little_text_shows_what_its_values_would(texts: list[Column], data: st.DataObject) -> None:
    shape = [HARMLESS, *texts]
    row = st.tuples(*[HOSTILE] * len(texts)).map(lambda values: body(LONG, *values))
    rows = data.draw(st.lists(row, min_size=FEW, max_size=FEW + 4))
    fast, slow = RowMasker(shape, DETECTORS), RowMasker(shape, DETECTORS)
    assert fast.mask(rows) == b"".join(slow.mask([one]) for one in rows)
    assert fast.report() == slow.report()


def test_what_reaches_across_values_is_looked_at_in_each_of_them() -> None:
    detectors = Detectors([Custom("odd", "BEGIN[^x]*END")])
    shape = [HARMLESS, Column(25), Column(25)]
    rows = [body(LONG, b"BEGIN", b"bob@example.org"), body(LONG, b"alice@example.com END", b"BEGINEND")] * FEW
    fast, slow = RowMasker(shape, detectors), RowMasker(shape, detectors)
    assert fast.mask(rows) == b"".join(slow.mask([one]) for one in rows)
    assert fast.report() == slow.report()


def test_a_column_full_of_secrets_is_masked_once() -> None:
    shape = [HARMLESS, Column(25), Column(25)]
    rows = [body(LONG, b"user%d@example.com" % at, b"ask bob@example.org") for at in range(80)]
    masker = RowMasker(shape, DETECTORS)
    assert masker.mask(rows) == b"".join(RowMasker(shape, DETECTORS).mask([one]) for one in rows)
    assert masker.report().hits == {"email": 160}


def columns(*values: list[bytes]) -> tuple[bytes, np.ndarray[tuple[int, int], np.dtype[np.int64]], list[list[int]]]:
    """A batch of a lot of dashes and ``values``, a list for each column; where they begin, and how long they are."""
    raw, begins = b"", np.zeros((len(values), len(values[0])), np.int64)
    for row in range(len(values[0])):
        for column, each in enumerate(values):
            raw += b"-" * 400
            begins[column, row] = len(raw)
            raw += each[row]
    return raw, begins, [[len(value) for value in each] for each in values]


def test_values_stand_side_by_side_and_what_is_found_leads_back() -> None:
    raw, begins, sizes = columns([b"ann", b"", b"alice"], [b"x", b"yes", b"no"])
    found = extract(raw, begins, np.array(sizes))
    assert found is not None
    assert found.text == b"ann\0\0\0" + b"\0\0\0\0\0\0" + b"alice\0" + b"x\0\0\0" + b"yes\0" + b"no\0\0"
    at = [found.text.index(word) for word in (b"lic", b"yes", b"nn")]
    cells = found.cells([(at[0], at[0] + 3, "a", ""), (at[1], at[1] + 3, "b", ""), (at[2], at[2] + 2, "c", "")])
    assert {cell: [(raw[start:end], name) for start, end, name, _ in inside] for cell, inside in cells.items()} == {
        0: [(b"nn", "c")],
        3: [(b"yes", "b")],
        4: [(b"lic", "a")],
    }


def test_a_value_that_is_absent_leaves_its_place_empty() -> None:
    raw, begins, _ = columns([b"ann", b"bob"])
    found = extract(raw, begins, np.array([[-1, 3]]))
    assert found is not None
    assert found.text == b"\0\0\0\0bob\0"
    nothing = extract(raw, begins, np.array([[-1, -1]]))
    assert nothing is not None
    assert nothing.text == b"\0\0"


def test_a_batch_that_is_mostly_text_is_looked_through_as_it_is() -> None:
    raw, begins, sizes = columns([b"x" * 500, b"y" * 500])
    assert extract(raw, begins, np.array(sizes)) is None
    assert extract(raw, begins, np.array(sizes) // 2) is not None
