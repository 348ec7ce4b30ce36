"""Few rows that are shown as they came after one look: where that finds nothing, masking them one by one changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.detectors import Detectors
from agent.protocols.postgres.messages import Field
from agent.protocols.postgres.rows import RowMask
from tests.unit.agent.protocols.postgres.conversation import row

INT, TEXT, NAME, VARCHAR, JSON, NUMERIC, BYTEA, TEXTS = 23, 25, 19, 1043, 114, 1700, 17, 1009
NOTHING: frozenset[str] = frozenset()


def mask(*types: int, tagged: str = "") -> RowMask:
    fields = tuple(Field(f"c{at}", 0, 0, kind, 0) for at, kind in enumerate(types))
    classes = [frozenset({tagged}) if tagged and not at else NOTHING for at in range(len(types))]
    return RowMask(fields, classes, Detectors(), lambda: NOTHING)


@pytest.mark.parametrize(
    ("types", "looks"),
    [
        ((INT, INT), ()),
        ((), ()),
        ((INT, TEXT, VARCHAR), (1, 2)),
        ((TEXT, NAME), None),
        ((TEXT, JSON), None),
        ((NUMERIC,), None),
        ((BYTEA,), None),
        ((TEXTS,), None),
        ((987_654,), None),
    ],
)
def test_columns_that_one_look_can_decide(types: tuple[int, ...], looks: tuple[int, ...] | None) -> None:
    assert mask(*types).looks == looks


def test_a_tagged_column_is_never_decided_by_a_look() -> None:
    assert mask(TEXT, INT, tagged="email").looks is None
    assert mask(INT, INT, tagged="email").looks is None


_PIECES = st.sampled_from(
    [
        "a",
        "ann",
        "@",
        "example",
        ".com",
        " ",
        "\n",
        "-",
        "078-05-1120",
        "078",
        "4111111111111111",
        "4111 1111 ",
        "1111 1111",
        "0",
        "%40",
        "+1 ",
        "212 555 0199",
        "\\",
        "ÿ",
        "&#64;",
        "AKIA",
        "IOSFODNN7EXAMPLE",
        "eyJ",
        "DE89370400440532013000",
        "=",
    ]
)
_VALUE = st.one_of(st.none(), st.lists(_PIECES, max_size=5).map("".join))


@given(st.lists(st.tuples(_VALUE, _VALUE), min_size=1, max_size=4))
def test_what_one_look_lets_through_is_what_masking_lets_through(values: list[tuple[str | None, str | None]]) -> None:
    masker = mask(TEXT, INT, VARCHAR)
    lines = "\n".join(value for pair in values for value in pair if value is not None)
    if not masker.quiet(lines.encode()):
        return
    rows = [row(*(None if each is None else each.encode() for each in (one, "7", other))) for one, other in values]
    starts = tuple(sum(map(len, rows[:at])) for at in range(len(rows)))
    raw = b"".join(rows)
    assert masker.few(raw, starts)[:2] == (raw, 0)
