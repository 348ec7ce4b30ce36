"""The bucket, watched: what arrives is noted, and what should not be there is told once, to everybody who can do something."""

from __future__ import annotations

import pytest

from chalicelib.contracts.audit import EvidenceAlert
from chalicelib.contracts.retention import Lock
from chalicelib.usecases.deliver_notices import deliver_notices
from chalicelib.usecases.register_chunk import register_chunk
from chalicelib.usecases.watch_bucket import Happened, sweep_bucket, watch_bucket
from tests.fakes.world import World

LOCK = Lock(mode="COMPLIANCE", until_s=1)


class Watched(World):
    """A world with one session of one chunk, which has arrived."""

    sid = key = ""

    @classmethod
    def with_a_chunk(cls) -> Watched:
        world = cls.ready()
        assert isinstance(world, Watched)
        world.sid = world.live()
        register_chunk(world.ports, world.agent, world.sid, world.next_chunk(world.sid, b"one"))
        world.key = world.store.chunks(world.sid)[0].key
        world.archive.create(world.key, b"one", "application/zstd", LOCK)
        return world

    def tell(self, version: str, key: str = "", *, deleted: bool = False) -> str:
        return watch_bucket(self.ports, Happened(key=key or self.key, version=version, deleted=deleted))

    @property
    def alerts(self) -> list[tuple[str, str, str, str]]:
        found = [each for each in self.store.recorded if isinstance(each, EvidenceAlert)]
        return [(each.what, each.version, each.first, each.found_by) for each in found]


@pytest.fixture
def world() -> Watched:
    return Watched.with_a_chunk()


def test_the_version_of_what_arrives_is_noted_once(world: Watched) -> None:
    assert world.tell("v1") == world.tell("v1") == ""
    assert world.store.chunks(world.sid)[0].version == "v1"
    # Registering the same chunk again is still the same chunk.
    asked = world.next_chunk(world.sid, b"two")
    register_chunk(world.ports, world.agent, world.sid, asked)
    assert world.tell("", "recordings/x/manifest.json") == ""
    assert world.alerts == []


def test_a_second_version_is_told_whichever_notification_comes_first(world: Watched) -> None:
    world.archive.put(world.key, b"forged")
    assert world.tell("v2") == ""  # nothing is known yet to hold against it
    assert world.tell("v1") == "rewritten"
    assert world.alerts == [("rewritten", "v2", "v1", "notification")]
    other = Watched.with_a_chunk()
    other.tell("v1")
    other.archive.put(other.key, b"forged")
    assert other.tell("v2") == other.tell("v2") == "rewritten"
    assert other.alerts == [("rewritten", "v2", "v1", "notification")]


def test_a_delete_marker_is_told_as_it_happens(world: Watched) -> None:
    world.tell("v1")
    world.archive.hide(world.key)
    assert world.tell("v2", deleted=True) == "hidden"
    assert world.alerts == [("hidden", "v2", "", "notification")]
    assert sweep_bucket(world.ports) == 1
    assert len(world.alerts) == 1, "the same thing is told once"


def test_an_object_that_nobody_registered_is_told(world: Watched) -> None:
    for key in (world.key.replace("000000_", "000007_"), world.key.replace("recordings/2026", "recordings/2025")):
        assert world.tell("v1", key) == "stray"
    assert [what for what, *_ in world.alerts] == ["stray", "stray"]
    assert world.tell("v1", "somewhere/else") == ""


def test_the_log_is_watched_too_and_its_newest_checkpoint_may_be_replaced(world: Watched) -> None:
    for body in (b"1", b"2"):
        world.archive.put("log/checkpoint", body)
        world.archive.put("log/tile/0/000", body)
    assert world.tell("v2", "log/checkpoint") == ""
    assert world.tell("v2", "log/tile/0/000") == "rewritten"
    world.archive.hide("log/checkpoint")
    assert world.tell("v3", "log/checkpoint", deleted=True) == "hidden"


def test_administrators_are_told_through_every_channel(world: Watched) -> None:
    world.archive.hide(world.key)
    world.tell("v2", deleted=True)
    assert deliver_notices(world.ports) == 1
    ((channel, notice, request),) = world.notifier.sent
    assert (channel, notice.about, notice.groups, request) == ("mail", "evidence", ["platform"], None)
    assert "was deleted, which hides it (version v2)" in notice.text
    assert world.store.due_notices(world.clock.now + 10**9, 10) == []


def test_a_channel_that_fails_is_tried_again_and_given_up_visibly(world: Watched) -> None:
    world.notifier.failing.add("mail")
    world.archive.hide(world.key)
    world.tell("v2", deleted=True)
    for _ in range(10):
        deliver_notices(world.ports)
        world.clock.advance(3600)
    assert [each.about for each in world.store.dead_notices(10)] == ["evidence"]


def test_a_sweep_finds_what_no_notification_told_and_goes_on_where_it_stopped(world: Watched) -> None:
    for n in range(7):
        world.archive.put(f"log/tile/0/{n:03d}", b"x")
        world.archive.put(f"recordings/z/{n}", b"x")
    world.archive.put("log/tile/0/006", b"y")
    world.archive.hide("recordings/z/6")
    world.archive.page_keys = 3
    rounds = 0
    while True:
        sweep_bucket(world.ports, pages=1)
        rounds += 1
        if not world.store.sweep_mark():
            break
    assert world.alerts == [("rewritten", "v2", "v1", "sweep"), ("hidden", "v2", "v1", "sweep")]
    assert rounds == 6
    assert sweep_bucket(world.ports) == 2
    assert len(world.alerts) == 2
