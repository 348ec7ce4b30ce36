"""Known ways to run a forbidden program past a deny-list, each beside an innocent twin of the same shape.

An evasion must name the program in `verbs` or be `unknown`; its twin must be understood, or the gateway is an outage.
Rows are only ever added.
"""

import json
from pathlib import Path

import pytest

from agent.core.shell import classify

ROWS = [json.loads(line) for line in Path(__file__).with_name("evasions.jsonl").read_text().splitlines()]


def test_the_corpus_only_grows() -> None:
    assert len(ROWS) >= 300
    assert len({row["evasion"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row["evasion"] for row in ROWS])
def test_an_evasion_is_seen_or_unknown(row: dict[str, str]) -> None:
    found = classify(row["evasion"])
    assert row["verb"] in found.verbs or "unknown" in found.effects, found


@pytest.mark.parametrize("twin", sorted({row["twin"] for row in ROWS}))
def test_its_innocent_twin_is_understood(twin: str) -> None:
    found = classify(twin)
    assert "unknown" not in found.effects, found
    assert not found.verbs & {"rm", "touch"}, found
