"""Ordinary operations work: none is `unknown`, and each has exactly the effects a policy author would expect."""

import json
from pathlib import Path

import pytest

from agent.core.shell import classify

ROWS = [json.loads(line) for line in Path(__file__).with_name("ordinary.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=[row["line"] for row in ROWS])
def test_an_ordinary_command_has_its_effects(row: dict[str, object]) -> None:
    found = classify(str(row["line"]))
    assert sorted(found.effects) == sorted(set(row["effects"])), found  # type: ignore[call-overload]
