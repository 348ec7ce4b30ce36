"""Ordinary statements work: none is `unknown`, and each has exactly the effects that a policy author would expect."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.core.sql import analyse
from tests.bypass.sql.database import CATALOGUE

ROWS = [json.loads(line) for line in Path(__file__).with_name("ordinary.jsonl").read_text(encoding="utf-8").splitlines()]


def test_there_are_many() -> None:
    assert len({row["statement"] for row in ROWS}) == len(ROWS) >= 150


@pytest.mark.parametrize("row", ROWS, ids=[row["statement"] for row in ROWS])
def test_an_ordinary_statement_has_its_effects(row: dict[str, Any]) -> None:
    found = analyse(row["statement"], CATALOGUE)
    assert sorted(found.effects) == sorted(row["effects"]), found
