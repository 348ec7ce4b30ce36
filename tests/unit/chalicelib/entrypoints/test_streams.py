"""Records of the table's stream: new audit events, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chalicelib.contracts.audit import AnyEvent, LoggedOut, SessionEnded
from chalicelib.entrypoints import streams
from tests.unit.chalicelib.entrypoints.conftest import Gateway

EVENT = LoggedOut(id="evt_1", time_ms=5, actor="a", token="t")


def record(event: AnyEvent, name: str = "INSERT", pk: str = "EVENT#2026-11-20") -> dict[str, Any]:
    image = {"body": {"S": msgspec.json.encode(event).decode()}}
    return {"eventName": name, "dynamodb": {"Keys": {"pk": {"S": pk}, "sk": {"S": event.id}}, "NewImage": image}}


def test_new_events_are_appended_once(gateway: Gateway) -> None:
    batch = {"Records": [record(EVENT)]}
    assert streams.sequence(batch) == 1
    assert streams.sequence(batch) == 0
    assert gateway.world.log.leaves == {"evt_1": 0}


@pytest.mark.parametrize(
    "other",
    [
        record(EVENT, name="MODIFY"),
        record(EVENT, pk="SESSION#ses_1"),
        {"eventName": "REMOVE", "dynamodb": {"Keys": {"pk": {"S": "EVENT#2026-11-20"}, "sk": {"S": "evt_1"}}}},
        {"eventName": "INSERT", "dynamodb": {}},
    ],
)
def test_everything_else_is_passed_over(gateway: Gateway, other: dict[str, Any]) -> None:
    assert streams.sequence({"Records": [other]}) == 0
    assert streams.seal({"Records": [other]}) == 0


def test_sessions_that_end_are_sealed(gateway: Gateway) -> None:
    world = gateway.world
    sid = world.live()
    world.clock.advance(600)
    from chalicelib.entrypoints import schedules

    schedules.reap()
    (ended,) = [event for event in world.store.recorded if isinstance(event, SessionEnded) and event.sid == sid]
    assert streams.seal({"Records": [record(EVENT), record(ended), record(ended)]}) == 2
    assert [event for event in world.types() if event == "session.sealed"] == ["session.sealed"]
    assert schedules.catch_up() == len(world.store.recorded)
