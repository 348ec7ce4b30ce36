"""The sequencer: each event once, one tree, whatever crashes and whoever races."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from typing import Any

import msgspec
import pytest

from chalicelib.contracts.audit import LoggedOut
from chalicelib.contracts.translog import checkpoints, leaves, merkle, signatures, tiles
from chalicelib.ports import LogHead, Ports
from chalicelib.usecases.append_events import BATCH, LogTamperedError, append_events, settle
from chalicelib.usecases.catch_up_log import catch_up_log
from tests.fakes.log import ORIGIN
from tests.fakes.world import World

Body = tuple[str, bytes]


def event(number: int) -> Body:
    made = LoggedOut(id=f"evt_{number:04d}", time_ms=1_790_000_000_000 + number, actor="a@example.com", token=f"lgn_{number}")
    return made.id, msgspec.json.encode(made)


def events(count: int, start: int = 0) -> list[Body]:
    return [event(start + number) for number in range(count)]


def logged(world: World) -> list[str]:
    """The identifiers in the published log, in order, after checking everything that can be checked about it."""
    assert world.log.now.finished
    objects = {key.removeprefix("log/"): body for key, body in world.archive.objects().items() if key.startswith("log/")}
    newest, note = checkpoints.parse(objects["checkpoint"])
    assert checkpoints.signed_by_log(note, ORIGIN, [world.notary.key()], signatures.check)
    reader = tiles.Tiles(objects.get, newest.size)
    entries = [entry for _, entry in reader.entries()]
    frontier, roots = merkle.Frontier(), {}
    for entry in entries:
        frontier.append(merkle.leaf_hash(entry))
        roots[frontier.size] = frontier.root()
    assert newest.root == frontier.root() == merkle.root(newest.size, reader.node)
    assert (world.log.now.size, world.log.now.root) == (newest.size, newest.root.hex())
    history = [checkpoints.parse(body)[0] for name, body in objects.items() if name.startswith("checkpoints/")]
    # One tree: every checkpoint that was ever signed is a beginning of it.
    assert all(roots[stated.size] == stated.root for stated in history)
    found = [leaves.read(entry).id for entry in entries]
    assert {event: index for index, event in enumerate(found)} == world.log.leaves
    # Nothing but the newest checkpoint was ever written twice.
    assert all(len(versions) == 1 for key, versions in world.archive.kept.items() if key != "log/checkpoint")
    return found


class CrashError(Exception):
    pass


class Interrupted:
    """A port that does something before the nth write of all ports that share ``counter``; n starts at 0."""

    WRITES = {"create", "replace", "advance", "finish", "mark_logged"}

    def __init__(self, port: Any, counter: list[int], at: int, then: Any, after: bool = False, reads: bool = False) -> None:
        self._port, self._counter, self._at, self._then, self._after = port, counter, at, then, after
        self._counted = self.WRITES | ({"head", "logged", "read"} if reads else set())

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name not in self._counted:
            return found

        def call(*arguments: Any) -> Any:
            number = self._counter[0]
            self._counter[0] += 1
            if number == self._at and not self._after:
                self._then()
            answer = found(*arguments)
            if number == self._at and self._after:
                self._then()
            return answer

        return call


def interrupted(world: World, at: int, then: Any, after: bool = False, reads: bool = False) -> tuple[Ports, list[int]]:
    counter = [0]
    archive = Interrupted(world.archive, counter, at, then, after, reads)
    log = Interrupted(world.log, counter, at, then, after, reads)
    return dataclasses.replace(world.ports, archive=archive, log=log), counter


def crash() -> None:
    raise CrashError


def test_events_become_leaves_in_order() -> None:
    world = World()
    assert append_events(world.ports, events(3)) == 3
    assert append_events(world.ports, events(2, 3)) == 2
    assert logged(world) == [event for event, _ in events(5)]


def test_delivery_again_changes_nothing() -> None:
    world = World()
    append_events(world.ports, events(5))
    before = world.archive.objects()
    assert append_events(world.ports, events(5)) == 0
    assert append_events(world.ports, []) == 0
    assert world.archive.objects() == before
    assert append_events(world.ports, [*events(7), *events(7)]) == 2
    assert len(logged(world)) == 7


def test_many_events_are_several_batches() -> None:
    world = World()
    assert append_events(world.ports, events(2 * BATCH + 1)) == 2 * BATCH + 1
    assert logged(world) == [event for event, _ in events(2 * BATCH + 1)]


def test_an_empty_log_is_settled() -> None:
    world = World()
    assert settle(world.ports) == LogHead()
    assert world.archive.objects() == {}


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("first", [0, 3, 256])
def test_a_crash_at_any_write_forks_and_loses_nothing(first: int, after: bool) -> None:
    writes = 0
    for at in range(100):
        world = World()
        append_events(world.ports, events(first))
        ports, counter = interrupted(world, at, crash, after)
        try:
            append_events(ports, events(4, first))
        except CrashError:
            assert counter[0] == at + 1
        else:
            writes = at
            break
        # What runs next is handed more, and the crashed batch again.
        append_events(world.ports, events(6, first))
        assert logged(world) == [event for event, _ in events(first + 6)]
    assert writes >= 8


@pytest.mark.parametrize("first", [0, 3])
def test_a_crash_of_the_repair_is_repaired(first: int) -> None:
    for at in range(3, 14):
        for again in range(10):
            world = World()
            append_events(world.ports, events(first))
            for number in (at, again):
                ports, _ = interrupted(world, number, crash)
                with contextlib.suppress(CrashError):
                    append_events(ports, events(4, first))
            append_events(world.ports, events(4, first))
            assert logged(world) == [event for event, _ in events(first + 4)]


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("overlap", [0, 2, 4], ids=["other events", "some events", "the same events"])
def test_a_race_at_any_write_has_one_winner(first: int, overlap: int) -> None:
    for at in range(20):
        world = World()
        append_events(world.ports, events(first))
        start = first + 4 - overlap

        def rival(world: World = world, start: int = start) -> None:
            append_events(world.ports, events(4, start))

        ports, _ = interrupted(world, at, rival)
        append_events(ports, events(4, first))
        append_events(world.ports, events(4, start))
        assert sorted(logged(world)) == [event for event, _ in events(first + 8 - overlap)]


@pytest.mark.parametrize("stops_at", range(9))
def test_a_rival_that_crashes_at_any_write_at_any_moment_does_no_harm(stops_at: int) -> None:
    for at in range(40):
        world = World()
        append_events(world.ports, events(3))

        def rival(world: World = world) -> None:
            # It finishes what was begun, begins a batch of its own, and stops somewhere in it.
            ports, _ = interrupted(world, stops_at, crash)
            with contextlib.suppress(CrashError):
                settle(world.ports)
                append_events(ports, events(4, 50))

        ports, _ = interrupted(world, at, rival, after=True, reads=True)
        append_events(ports, events(4, 3))
        append_events(world.ports, events(4, 50))
        assert sorted(logged(world)) == [event for event, _ in [*events(7), *events(4, 50)]]


def test_threads_race() -> None:
    world = World()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for batch in range(6):
                append_events(world.ports, events(5, 100 * number + 3 * batch))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(logged(world)) == sorted(event for number in range(4) for event, _ in events(20, 100 * number))


@pytest.mark.parametrize("key", ["tile/0/000.p/3", "tile/entries/000.p/3"])
@pytest.mark.parametrize("body", [None, b"forged" * 16], ids=["gone", "forged"])
def test_nothing_is_built_on_a_forged_tree(key: str, body: bytes | None) -> None:
    world = World()
    append_events(world.ports, events(3))
    if body is None:
        world.archive.hide(f"log/{key}")
    else:
        world.archive.put(f"log/{key}", body)
    with pytest.raises(LogTamperedError, match="tile/"):
        append_events(world.ports, events(1, 3))
    assert world.log.now.size == 3


def test_a_tile_that_was_laid_out_in_advance_stops_the_log() -> None:
    world = World()
    world.archive.put("log/tile/0/000.p/3", b"x" * 96)
    with pytest.raises(LogTamperedError, match=r"tile/0/000\.p/3"):
        append_events(world.ports, events(3))


def test_a_checkpoint_of_another_tree_stops_the_log() -> None:
    world, other = World(), World()
    append_events(other.ports, events(3, 50))
    for raw in (other.archive.objects()["log/checkpoint"], b"no checkpoint"):
        world.archive.kept.clear()
        world.log.now = LogHead()
        world.archive.put("log/checkpoints/00000000000000000003", raw)
        with pytest.raises(LogTamperedError, match="checkpoints/"):
            append_events(world.ports, events(3))


@pytest.mark.parametrize("head", [LogHead(), "earlier"], ids=["deleted", "restored from a backup"])
def test_a_head_that_went_back_stops_the_log(head: LogHead | str) -> None:
    world = World()
    append_events(world.ports, events(2))
    earlier = world.log.now
    append_events(world.ports, events(3, 2))
    world.log.now = earlier if isinstance(head, str) else head
    world.log.leaves.clear()
    before = world.archive.objects()
    with pytest.raises(LogTamperedError, match="was published"):
        append_events(world.ports, events(1, 5))
    assert world.archive.objects() == before


def test_a_staged_bundle_that_is_gone_or_changed_stops_the_log() -> None:
    for spoil in ("gone", "changed"):
        world = World()
        ports, _ = interrupted(world, 2, crash)
        with pytest.raises(CrashError):
            append_events(ports, events(3))
        key = world.log.now.staging
        assert key
        world.archive.hide(key) if spoil == "gone" else world.archive.put(key, b"\x80")
        with pytest.raises(LogTamperedError, match="staging"):
            settle(world.ports)


def test_what_is_no_event_is_refused_whole() -> None:
    world = World()
    with pytest.raises(ValueError, match="stored event"):
        append_events(world.ports, [*events(1), ("evt_x", b"nonsense")])
    assert world.log.now == LogHead()


def test_the_newest_checkpoint_never_goes_back() -> None:
    world = World()
    append_events(world.ports, events(1))

    def overtake() -> None:
        append_events(world.ports, events(3, 1))

    for at in range(12):
        ports, _ = interrupted(world, at, overtake)
        append_events(ports, events(1, 10 + at))
    newest, _ = checkpoints.parse(world.archive.objects()["log/checkpoint"])
    assert newest.size == world.log.now.size == len(logged(world))


def test_what_the_stream_lost_is_caught_up_with() -> None:
    world = World.ready()
    world.open()
    assert catch_up_log(world.ports) == len(world.store.recorded) > 2
    assert sorted(logged(world)) == sorted(event.id for event in world.store.recorded)
    assert catch_up_log(world.ports) == 0
    world.clock.advance(86_400)
    world.open()
    assert catch_up_log(world.ports) == 1
