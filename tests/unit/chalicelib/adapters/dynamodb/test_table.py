"""Attribute values and what counts as a lost race. The rest is held by tests/conformance."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.adapters.dynamodb.table import Table, pack, pack_row, unpack, unpack_row
from chalicelib.ports import Conflict

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_values_survive(value: Any) -> None:
    assert unpack(pack(value)) == value


@given(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=4))
def test_rows_survive(row: dict[str, Any]) -> None:
    assert unpack_row(pack_row(row)) == row


@pytest.mark.parametrize("value", [1.5, {1, 2}, object()])
def test_what_dynamodb_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        pack(value)


class Failing:
    def __init__(self, code: str, *reasons: str) -> None:
        self.code, self.reasons = code, reasons

    def put_item(self, **_: Any) -> None:
        response: Any = {
            "Error": {"Code": self.code, "Message": ""},
            "CancellationReasons": [{"Code": reason} for reason in self.reasons],
        }
        raise ClientError(response, "PutItem")

    update_item = delete_item = transact_write_items = put_item


@pytest.mark.parametrize(
    ("code", "reasons", "lost"),
    [
        ("ConditionalCheckFailedException", (), True),
        ("TransactionCanceledException", ("None", "ConditionalCheckFailed"), True),
        ("TransactionCanceledException", ("TransactionConflict", "None"), True),
        ("TransactionConflictException", (), True),
        ("TransactionCanceledException", ("ThrottlingError",), False),
        ("TransactionCanceledException", (), False),
        ("ProvisionedThroughputExceededException", (), False),
        ("AccessDeniedException", (), False),
    ],
)
def test_only_a_lost_race_is_a_conflict(code: str, reasons: tuple[str, ...], lost: bool) -> None:
    table = Table(Failing(code, *reasons), "t")  # type: ignore[arg-type]
    with pytest.raises(Conflict if lost else ClientError):
        table.write([table.putting({"pk": "a"}), table.creating({"pk": "b"})])
