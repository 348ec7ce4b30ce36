"""Known ways past a rule about SQL, each beside an innocent twin of the same shape.

Every row names the fact that a policy relies on: a verb, a flag, an effect, a table, or a data class that comes out (`out`), is
tested (`probe`) or is copied (`store`). An evasion must show the fact or be `unknown`; its twin must be understood and must not
show it, or the gateway is an outage. Rows are only ever added.
"""

import json
from pathlib import Path

import pytest

from agent.core.sql import Analysis, analyse, tagged
from tests.bypass.sql.database import CATALOGUE, TAGS

ROWS = [json.loads(line) for line in Path(__file__).with_name("evasions.jsonl").read_text(encoding="utf-8").splitlines()]


def shows(found: Analysis, fact: str) -> bool:
    """Whether the analysis says what the row is about."""
    kind, _, name = fact.partition(":")
    if kind == "unknown":
        return "unknown" in found.effects
    if kind in ("verb", "flag", "effect", "table"):
        return name in getattr(found, {"verb": "verbs", "flag": "flags", "effect": "effects", "table": "tables"}[kind])
    facts = tagged(found, TAGS)
    if kind == "probe":
        return any(name in statement.probed for statement in facts)
    if kind == "store":
        return any(name in statement.stored for statement in facts)
    return any(name in classes for statement in facts for classes in statement.outputs)


def test_the_corpus_only_grows() -> None:
    assert len(ROWS) >= 250
    assert len({row["evasion"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row["evasion"] for row in ROWS])
def test_an_evasion_is_seen_or_unknown(row: dict[str, str]) -> None:
    found = analyse(row["evasion"], CATALOGUE)
    assert shows(found, row["fact"]) or "unknown" in found.effects, found


@pytest.mark.parametrize("row", ROWS, ids=[row["twin"] for row in ROWS])
def test_its_innocent_twin_is_understood(row: dict[str, str]) -> None:
    found = analyse(row["twin"], CATALOGUE)
    assert "unknown" not in found.effects, found
    assert not shows(found, row["fact"]), found
