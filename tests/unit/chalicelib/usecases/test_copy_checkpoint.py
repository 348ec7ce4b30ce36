"""The second bucket: every checkpoint once, firmly kept, and another tree under the same name told."""

from __future__ import annotations

import dataclasses

from chalicelib.contracts.audit import EvidenceAlert
from chalicelib.usecases.append_events import append_events
from chalicelib.usecases.copy_checkpoint import copy_checkpoint
from tests.fakes.log import FakeArchive
from tests.fakes.world import World
from tests.unit.chalicelib.usecases.test_append_events import events


def copying() -> tuple[World, FakeArchive]:
    world, second = World(), FakeArchive()
    world.ports = dataclasses.replace(world.ports, second=second)
    return world, second


def test_each_checkpoint_is_copied_once() -> None:
    world, second = copying()
    assert copy_checkpoint(world.ports) == 0
    append_events(world.ports, events(3))
    assert [copy_checkpoint(world.ports), copy_checkpoint(world.ports)] == [3, 0]
    append_events(world.ports, events(2, 3))
    assert copy_checkpoint(world.ports) == 5
    assert sorted(second.kept) == [f"gw.example/log/checkpoints/{size:020d}" for size in (3, 5)]
    newest = world.archive.read("log/checkpoint")
    assert newest is not None
    assert second.objects()[f"gw.example/log/checkpoints/{5:020d}"] == newest.body
    (lock,) = set(second.locks.values())
    assert (lock.mode, lock.until_s > world.clock.now // 1000 + 3_650 * 86_400) == ("COMPLIANCE", True)
    assert world.store.recorded == []


def test_without_a_second_bucket_nothing_happens() -> None:
    world = World()
    append_events(world.ports, events(3))
    assert copy_checkpoint(world.ports) == 0


def test_another_tree_under_the_same_name_is_told_once() -> None:
    world, second = copying()
    append_events(world.ports, events(3))
    copy_checkpoint(world.ports)
    other = World()
    other.notary.made = world.notary.made
    append_events(other.ports, events(3, 50))
    world.archive.kept = other.archive.kept
    assert [copy_checkpoint(world.ports), copy_checkpoint(world.ports)] == [0, 0]
    (event,) = world.store.recorded
    assert isinstance(event, EvidenceAlert)
    assert len(second.kept) == 1


def test_a_checkpoint_that_was_signed_twice_is_no_other() -> None:
    world, _ = copying()
    append_events(world.ports, events(3))
    copy_checkpoint(world.ports)
    found = world.archive.read("log/checkpoint")
    assert found is not None
    text = found.body.decode().partition("\n\n")[0] + "\n"
    world.archive.put("log/checkpoint", str(world.notary.sign(text)).encode())
    assert copy_checkpoint(world.ports) == 0
    assert world.store.recorded == []
