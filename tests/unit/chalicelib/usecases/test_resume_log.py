"""After a restore of the table: the log goes on from where the bucket says it ends, or nothing is changed."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from chalicelib.contracts.audit import LogResumed
from chalicelib.ports import Conflict, LogHead
from chalicelib.usecases.append_events import LogTamperedError, append_events, settle
from chalicelib.usecases.resume_log import NotAnExtensionError, resume_log
from tests.fakes.world import World
from tests.unit.chalicelib.usecases.test_append_events import CrashError, crash, events, interrupted, logged


def restored(size: int, lost: int) -> World:
    """A world whose log has ``size`` leaves, of which the table forgot the last ``lost``."""
    world = World()
    append_events(world.ports, events(size - lost))
    head, leaves = world.log.now, dict(world.log.leaves)
    append_events(world.ports, events(lost, size - lost))
    world.log.now, world.log.leaves = head, leaves
    return world


@pytest.mark.parametrize(("size", "lost"), [(7, 3), (7, 7), (300, 44), (600, 600), (1, 1)])
def test_the_head_is_set_to_where_the_bucket_ends(size: int, lost: int) -> None:
    world = restored(size, lost)
    with pytest.raises(LogTamperedError):
        append_events(world.ports, events(1, size))
    before = world.log.now
    looked = resume_log(world.ports, "operator:pat", apply=False)
    assert (looked.before, world.log.now) == (before, before)
    assert world.store.recorded == []
    done = resume_log(world.ports, "operator:pat", apply=True)
    assert (done.before.size, done.after.size, done.marked) == (size - lost, size, lost)
    (event,) = world.store.recorded
    assert isinstance(event, LogResumed)
    assert (event.actor, event.size_before, event.size, event.root) == ("operator:pat", size - lost, size, done.after.root)
    # What the table had forgotten is not appended again, and what is new is.
    assert append_events(world.ports, events(size + 2)) == 2
    assert logged(world) == [name for name, _ in events(size + 2)]
    assert resume_log(world.ports, "x", apply=True).before == resume_log(world.ports, "x", apply=True).after


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("at", range(9))
def test_a_batch_that_was_on_its_way_is_finished_and_no_other(at: int, after: bool) -> None:
    world = World()
    append_events(world.ports, events(5))
    head, leaves = world.log.now, dict(world.log.leaves)
    append_events(world.ports, events(3, 5))
    ports, _ = interrupted(world, at, crash, after)
    with contextlib.suppress(CrashError):
        append_events(ports, events(4, 8))
    world.log.now, world.log.leaves = head, leaves
    resume_log(world.ports, "operator:pat", apply=True)
    settle(world.ports)
    append_events(world.ports, events(20))
    assert logged(world) == [name for name, _ in events(20)]


def test_a_log_that_was_cut_is_not_resumed() -> None:
    world = restored(7, 0)
    old = World()
    append_events(old.ports, events(3))
    for key in [key for key in world.archive.kept if key.startswith("log/")]:
        del world.archive.kept[key]
    world.archive.kept |= old.archive.kept
    world.notary.made = old.notary.made
    before = world.log.now
    with pytest.raises(NotAnExtensionError, match="was cut"):
        resume_log(world.ports, "operator:pat", apply=True)
    assert (world.log.now, world.store.recorded) == (before, [])


def test_another_history_is_not_resumed() -> None:
    world, other = restored(7, 3), World()
    other.notary.made = world.notary.made
    append_events(other.ports, events(9, 100))
    world.archive.kept.clear()
    world.archive.kept |= other.archive.kept
    with pytest.raises(NotAnExtensionError, match="does not begin with the 4 entries"):
        resume_log(world.ports, "operator:pat", apply=True)


@pytest.mark.parametrize("what", ["signature", "tile", "entries", "no checkpoint", "nothing"])
def test_a_bucket_that_contradicts_itself_is_not_resumed(what: str) -> None:
    world = restored(7, 3)
    match what:
        case "signature":
            text = world.archive.objects()["log/checkpoint"].decode().partition("\n\n")[0] + "\n"
            for key in ("log/checkpoint", f"log/checkpoints/{7:020d}"):
                world.archive.put(key, str(World().notary.sign(text)).encode())
        case "tile":
            world.archive.put("log/tile/0/000.p/7", b"x" * 7 * 32)
        case "entries":
            del world.archive.kept["log/tile/entries/000.p/7"]
        case "no checkpoint":
            world.archive.put("log/checkpoint", b"hello")
        case _:
            world.archive.kept.clear()
    with pytest.raises(NotAnExtensionError):
        resume_log(world.ports, "operator:pat", apply=True)
    assert world.store.recorded == []


def test_a_head_that_moves_meanwhile_wins() -> None:
    world = restored(7, 3)

    def moved() -> None:
        world.log.now = LogHead(size=4, root="ab" * 32)

    log = interrupted(world, 1, moved)[0].log  # the marks are written before the head
    with pytest.raises(Conflict):
        resume_log(dataclasses.replace(world.ports, log=log), "operator:pat", apply=True)
    assert world.store.recorded == []
