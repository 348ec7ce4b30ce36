"""What counts as the same thing, for how long, and in which words a first time is told."""

from __future__ import annotations

import pytest

from chalicelib.contracts.approval import Precedent
from chalicelib.contracts.operation import Operation
from chalicelib.domain.precedents import WINDOW_MS, first_time, remembered, shape

NOW = 1_790_000_000_000


def drop(text: str = "DROP TABLE a", **changed: object) -> Operation:
    fields: dict[str, object] = {"kind": "query", "text": text, "effects": frozenset({"admin"}), "verbs": frozenset({"DROP"})}
    return Operation(**(fields | changed))  # type: ignore[arg-type]


def test_another_text_with_the_same_verbs_is_the_same_shape() -> None:
    one = shape("alice", "db", "app", drop())
    assert shape("alice", "db", "app", drop("DROP TABLE b", arguments=("1",), objects=frozenset({"b"}))) == one


@pytest.mark.parametrize(
    "other",
    [
        ("bob", "db", "app", drop()),
        ("alice", "db2", "app", drop()),
        ("alice", "db", "root", drop()),
        ("alice", "db", "app", drop(verbs=frozenset({"DROP", "SELECT"}))),
        ("alice", "db", "app", drop(kind="exec")),
        ("alice", "db", "app", None),
        ("alic", "edb", "app", drop()),
    ],
)
def test_another_person_place_or_verb_is_another(other: tuple[str, str, str, Operation | None]) -> None:
    assert shape(*other) != shape("alice", "db", "app", drop())


def test_it_counts_for_ninety_days_after_the_last_time() -> None:
    found = Precedent(times=2, first_ms=NOW - 2 * WINDOW_MS, last_ms=NOW)
    assert remembered(found, NOW + WINDOW_MS - 1) == found
    assert remembered(found, NOW + WINDOW_MS) is None
    assert remembered(None, NOW) is None


def test_the_words_say_what_is_known_and_for_how_long() -> None:
    assert first_time(drop()) == "First time here: within 90 days, this person has used no approval for DROP."
    assert first_time(None).endswith("no approval for access.")
    assert "shell" in first_time(drop(kind="shell", verbs=frozenset()))
    assert len(first_time(drop(verbs=frozenset({"x" * 500})))) <= 200
