"""Telling people: at once, again with backoff, never twice on purpose, and visibly given up."""

from __future__ import annotations

import pytest

from chalicelib.ports import Conflict
from chalicelib.usecases.deliver_notices import ATTEMPTS, dead_letters, deliver, deliver_notices
from tests.fakes.approvals import access, asking_world
from tests.fakes.world import World


def world_with(*failing: str) -> World:
    world = asking_world()
    world.notifier.names = ["mail", "slack"]
    world.notifier.failing = set(failing)
    access(world)
    return world


def test_every_channel_is_told_at_once_and_is_an_event() -> None:
    world = world_with()
    assert [channel for channel, _, _ in world.notifier.sent] == ["mail", "slack"]
    assert world.types().count("request.notified") == 2
    assert deliver_notices(world.ports) == 0
    (_, notice, request) = world.notifier.sent[0]
    assert (notice.rid, notice.groups, request.message) == (request.rid, ["dba"], "A DBA has to agree.")


def test_a_channel_that_failed_is_tried_again_later_and_alone() -> None:
    world = world_with("slack")
    assert deliver_notices(world.ports) == 0
    world.notifier.failing.clear()
    world.clock.advance(29)
    assert deliver_notices(world.ports) == 0
    world.clock.advance(1)
    assert deliver_notices(world.ports) == 1
    assert [channel for channel, _, _ in world.notifier.sent] == ["mail", "slack"]
    assert len({notice.nid for _, notice, _ in world.notifier.sent}) == 1


def test_backoff_doubles_up_to_an_hour_and_ends_in_a_letter_that_can_be_seen() -> None:
    world = world_with("mail", "slack")
    waits = []
    while notices := [each for each in world.store.notices.values() if not each.dead]:
        waits.append(notices[0].due_ms - world.clock.now)
        world.clock.now = notices[0].due_ms
        deliver_notices(world.ports)
    assert waits[:4] == [30_000, 60_000, 120_000, 240_000]
    assert max(waits) == 3_600_000
    assert len(waits) == ATTEMPTS - 1
    (letter,) = dead_letters(world.ports).letters
    assert (letter.channels, letter.attempts, letter.error) == (["mail", "slack"], ATTEMPTS, "slack is closed")
    world.clock.advance(10**6)
    assert deliver_notices(world.ports) == 0


def test_a_notice_that_somebody_else_has_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_with("mail", "slack")
    (notice,) = world.store.notices.values()
    world.notifier.failing.clear()

    def taken(*_: object) -> None:
        raise Conflict

    monkeypatch.setattr(world.store, "settle_notice", taken)
    assert deliver(world.ports, [notice]) == 0
    assert world.notifier.sent == []


def test_a_fact_is_stored_though_no_channel_works() -> None:
    world = world_with("mail", "slack")
    assert "request.asked" in world.types()
    assert len(world.store.kept_cases) == 1
