"""A target's own detectors: read once, and refused where they would find nothing."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.masking.classes import Tally
from agent.core.sql.catalogue import Catalogue
from agent.protocols.postgres.patterns import read_patterns
from agent.protocols.postgres.reading import make_masks
from agent.protocols.postgres.snapshot import Snapshot
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import FakeServing, make_claims, make_policy, make_target


def test_patterns_stand_beside_the_built_in_detectors() -> None:
    detectors, classes = read_patterns({"patterns": ["badge=EMP-[0-9]{4}"]})
    assert classes == {"badge"}
    shown = detectors.scrub(b"EMP-4711 zoe@example.com EMP-471", frozenset(), Tally())
    assert shown == b"[masked badge] z***@***.com EMP-471"
    assert detectors.scrub(b"EMP-4711", frozenset({"badge"}), Tally()) == b"EMP-4711"


def test_without_patterns_all_targets_share_one() -> None:
    assert read_patterns({})[0] is read_patterns({"patterns": []})[0]
    assert read_patterns({})[1] == frozenset()


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
        read_patterns({"patterns": patterns})


async def test_their_classes_are_hidden_until_they_are_revealed() -> None:
    target = make_target(name="db", protocol="postgres", options={"patterns": ["badge=EMP-[0-9]{4}"]})
    rule = 'permit(principal, action == Action::"reveal", resource) unless { context.data_class == "badge" };'
    serving = FakeServing(target=target, policy=make_policy(rule, target=target), claims=make_claims(target="db"))
    masks = make_masks(serving, lambda: Snapshot(Catalogue(), {}, 0))
    assert masks.hidden() == {"badge"}
    assert masks.recorded("SELECT 'EMP-4711'", ("EMP-4711", "4711"), None) == (
        "SELECT '[masked badge]'",
        ("[masked badge]", "4711"),
    )
