"""A target's own detectors, as its rows and statements are masked with them."""

from __future__ import annotations

from agent.core.sql.catalogue import Catalogue
from agent.protocols.postgres.reading import make_masks
from agent.protocols.postgres.snapshot import Snapshot
from tests.fakes.agent_runtime import FakeServing, make_claims, make_policy, make_target


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
