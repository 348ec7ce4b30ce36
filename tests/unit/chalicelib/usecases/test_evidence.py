"""Looking at sessions and recordings."""

from __future__ import annotations

import pytest

from chalicelib.contracts import ids, recording
from chalicelib.contracts.audit import RecordingViewed
from chalicelib.contracts.session import Session
from chalicelib.domain import base64url
from chalicelib.usecases import view_recording as view_recording_module
from chalicelib.usecases.list_sessions import Listing, list_sessions, view_session
from chalicelib.usecases.register_chunk import register_chunk
from chalicelib.usecases.view_recording import Page, view_recording
from tests.fakes.world import ALICE, BOB, CAROL, FILES, MALLORY, World
from tests.unit.chalicelib.usecases.expecting import fault

OWN = '@id("own") permit(principal, action == Action::"replay", resource) when { resource.owner == principal };'


def page(world: World, who=ALICE, **asked):  # type: ignore[no-untyped-def]
    return list_sessions(world.ports, who, Listing(**asked), "192.0.2.7")


def ids_of(sessions: list[Session]) -> list[str]:
    return [session.sid for session in sessions]


class TestListing:
    def test_own_sessions_are_listed_newest_first(self) -> None:
        world = World.ready()
        first, _ = world.open()
        world.clock.advance(1)
        second, _ = world.open()
        assert ids_of(page(world).sessions) == [second, first]

    def test_other_peoples_sessions_need_the_policy(self) -> None:
        world = World.ready()
        mine, _ = world.open(ALICE)
        world.clock.advance(1)
        theirs, _ = world.open(BOB)
        assert ids_of(page(world, ALICE).sessions) == [mine]
        assert ids_of(page(world, CAROL).sessions) == [theirs, mine]
        assert page(world, MALLORY).sessions == []
        assert page(world, MALLORY, principal=ALICE.sub).sessions == []

    def test_a_policy_may_look_at_the_target(self) -> None:
        policy = '@id("web") permit(principal, action == Action::"replay", resource in Tag::"prod");'
        world = World.ready(FILES | {"web.cedar": policy})
        sid, _ = world.open(ALICE)
        assert ids_of(page(world, BOB).sessions) == [sid]

    def test_pages_continue_where_they_ended(self) -> None:
        world = World.ready()
        made = []
        for _ in range(5):
            made.append(world.open()[0])
            world.clock.advance(1)
        first = page(world, limit=2)
        second = page(world, limit=2, cursor=first.cursor)
        third = page(world, limit=2, cursor=second.cursor)
        assert ids_of([*first.sessions, *second.sessions, *third.sessions]) == made[::-1]
        assert third.cursor == ""

    def test_a_page_looks_past_what_is_not_for_the_caller(self) -> None:
        world = World.ready()
        mine, _ = world.open(ALICE)
        for _ in range(3):
            world.clock.advance(1)
            world.open(BOB)
        assert ids_of(page(world, ALICE, limit=2).sessions) == [mine]

    @pytest.mark.parametrize("day", ["today", "2026-9-1", "2026-02-30", "20261120", "2026-W01-1", "../x"])
    def test_days_read_one_way(self, day: str) -> None:
        with fault("bad_request", "day reads like"):
            page(World.ready(), day=day)

    def test_cursors_are_ours(self) -> None:
        with fault("bad_request", "cursor"):
            page(World.ready(), cursor="eyJwayI6ICJDT05GSUcifQ")
        with fault("too_large"):
            page(World.ready(), principal="x" * 300)

    def test_one_session_is_seen_by_its_owner_and_by_auditors(self) -> None:
        world = World.ready()
        sid, _ = world.open(ALICE)
        assert view_session(world.ports, ALICE, sid, "").sid == sid
        assert view_session(world.ports, CAROL, sid, "").sid == sid
        for who in (BOB, MALLORY):
            with fault("unknown_session"):
                view_session(world.ports, who, sid, "")
        for text in ("", "CONFIG", "ses_x"):
            with fault("unknown_session"):
                view_session(world.ports, CAROL, text, "")


class TestRecording:
    def recorded(self, world: World) -> str:
        sid = world.live(ALICE)
        for body in (b"one", b"two"):
            register_chunk(world.ports, world.agent, sid, world.next_chunk(sid, body))
        return sid

    def test_links_come_with_what_proves_them_and_leave_a_trace(self) -> None:
        world = World.ready()
        sid = self.recorded(world)
        found = view_recording(world.ports, CAROL, sid, Page(), "")
        assert found.chain_seed == recording.seed(sid, world.keys.public_key)
        assert [stored.chunk.n for stored in found.chunks] == [0, 1]
        assert all(stored.key in url for stored, url in zip(found.chunks, found.urls, strict=True))
        assert found.expires_ms == world.clock.now + 300_000
        event = world.store.recorded[-1]
        assert isinstance(event, RecordingViewed)
        assert (event.actor, event.owner, event.rule, event.chunks) == (CAROL.sub, ALICE.sub, "auditors", 2)

    def test_the_trace_comes_before_the_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = World.ready()
        sid = self.recorded(world)

        def broken(events: object) -> None:
            raise ConnectionError

        monkeypatch.setattr(world.store, "record", broken)
        with pytest.raises(ConnectionError):
            view_recording(world.ports, CAROL, sid, Page(), "")

    @pytest.mark.parametrize(("who", "code"), [(ALICE, "denied"), (BOB, "unknown_session"), (MALLORY, "unknown_session")])
    def test_nobody_looks_without_a_policy(self, who, code: str) -> None:  # type: ignore[no-untyped-def]
        world = World.ready()
        sid = self.recorded(world)
        before = len(world.store.recorded)
        with fault(code):
            view_recording(world.ports, who, sid, Page(), "")
        assert len(world.store.recorded) == before

    def test_a_policy_may_be_about_ones_own(self) -> None:
        world = World.ready(FILES | {"own.cedar": OWN})
        sid = self.recorded(world)
        assert view_recording(world.ports, ALICE, sid, Page(), "").urls
        with fault("unknown_session"):
            view_recording(world.ports, BOB, sid, Page(), "")

    def test_a_recording_outlives_its_target_and_its_agent(self) -> None:
        from chalicelib.contracts.api import ConfigFiles
        from chalicelib.usecases.apply_config import apply_config
        from tests.fakes.world import ADMIN, AgentKeys

        world = World.ready()
        sid = self.recorded(world)
        seed = recording.seed(sid, world.keys.public_key)
        apply_config(world.ports, ADMIN, ConfigFiles(files=FILES | {"gateway.yaml": "version: 1\ntargets: {}\n"}))
        world.enrol("edge", AgentKeys())
        assert view_recording(world.ports, CAROL, sid, Page(), "").chain_seed == seed

    def test_a_recording_of_any_length_is_read_page_by_page_and_every_page_is_an_event(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = World.ready()
        sid = self.recorded(world)
        whole = view_recording(world.ports, CAROL, sid, Page(), "")
        assert (whole.next, len(whole.chunks) > 1) == (0, True)
        monkeypatch.setattr(view_recording_module, "LINKS_LIMIT", 1)
        chunks, first = [], 0
        while True:
            page = view_recording(world.ports, CAROL, sid, Page(first=first), "")
            assert len(page.chunks) == len(page.urls) == 1
            chunks += page.chunks
            viewed = world.store.recorded[-1]
            assert isinstance(viewed, RecordingViewed)
            assert viewed.chunks == 1
            first = page.next
            if not first:
                break
        assert chunks == whole.chunks
        assert view_recording(world.ports, CAROL, sid, Page(first=900_000), "").chunks == []

    @pytest.mark.parametrize("first", [-1, 1_000_000])
    def test_a_page_begins_at_a_chunk(self, first: int) -> None:
        world = World.ready()
        with fault("bad_request"):
            view_recording(world.ports, CAROL, self.recorded(world), Page(first=first), "")

    def test_the_recorders_key_comes_with_it(self) -> None:
        world = World.ready()
        sid = self.recorded(world)
        found = view_recording(world.ports, CAROL, sid, Page(), "")
        assert recording.seed(sid, base64url.decode(found.agent_key)) == found.chain_seed

    def test_what_was_never_minted_is_unknown(self) -> None:
        world = World.ready()
        for sid in ("x", ids.mint(ids.SESSION, 1, b"0123456789")):
            with fault("unknown_session"):
                view_recording(world.ports, CAROL, sid, Page(), "")
