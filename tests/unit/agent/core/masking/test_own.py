"""A target's own detectors: read once, and refused where they would find nothing."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.masking.classes import Tally
from agent.core.masking.own import read_detectors
from agent.core.masking.patterns import LONGEST
from chalicelib.contracts.faults import Fault


def test_patterns_stand_beside_the_built_in_detectors() -> None:
    detectors = read_detectors({"patterns": ["badge=EMP-[0-9]{4}"]})
    assert detectors.named == {"badge"}
    shown = detectors.scrub(b"EMP-4711 zoe@example.com EMP-471", frozenset(), Tally())
    assert shown == b"[masked badge] z***@***.com EMP-471"
    assert detectors.scrub(b"EMP-4711", frozenset({"badge"}), Tally()) == b"EMP-4711"


def test_without_patterns_all_targets_share_one() -> None:
    assert read_detectors({}) is read_detectors({"patterns": []})
    assert read_detectors({}).named == frozenset()


@pytest.mark.parametrize(
    "patterns",
    [
        ["badge"],
        ["=x"],
        ["Badge=x"],
        ["badge="],
        ["badge=("],
        ["badge=x*"],
        ["badge=" + "x" * 2_000],
        ["badge=x"] * 65,
        "b=x",
        [7],
    ],
)
def test_what_would_find_nothing_is_refused(patterns: Any) -> None:
    with pytest.raises(Fault, match="config_invalid"):
        read_detectors({"patterns": patterns})


@pytest.mark.parametrize("pattern", ["EMP-[0-9]+", "EMP.{128}", "^EMP", r"EMP\z", "(?i)[a-z]{171}"])
def test_a_stream_can_hold_back_only_so_much(pattern: str) -> None:
    options = {"patterns": [f"badge={pattern}"]}
    assert read_detectors(options).named == {"badge"}
    with pytest.raises(Fault, match="config_invalid"):
        read_detectors(options, LONGEST)
