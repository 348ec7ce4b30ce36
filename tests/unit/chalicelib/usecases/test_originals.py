"""Sealed originals, from the key that an agent is given to the day on which nobody can read them any more."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts import originals
from chalicelib.contracts.api import ConfigFiles
from chalicelib.contracts.approval import RequestState
from chalicelib.contracts.audit_requests import OriginalsErased, OriginalsKeyMade, OriginalsReleased, OriginalsUnmasked
from chalicelib.contracts.translog import leaves
from chalicelib.usecases.apply_config import apply_config
from tests.fakes.originals import ASKS, DINA, FILES_SEALED, IP, SECRET, WILL, SealedWorld, plain
from tests.fakes.world import ADMIN, ALICE, CAROL, MALLORY, World
from tests.unit.chalicelib.usecases.expecting import fault

DAY_S = 24 * 3600


class TestKeys:
    def test_one_key_for_each_target_and_month_made_when_it_is_first_needed(self) -> None:
        world = SealedWorld.made()
        assert world.store.originals == {}
        _, first = world.claimed()
        _, second = world.claimed()
        assert first == second != ""
        made = [event for event in world.store.recorded if isinstance(event, OriginalsKeyMade)]
        assert [(event.target, event.month, event.key) for event in made] == [
            ("web-1", originals.month_of(world.clock.now), world.key().name)
        ]
        world.clock.advance(40 * DAY_S)
        _, later = world.claimed()
        assert later != first
        assert len(world.store.originals) == 2

    def test_a_target_that_keeps_none_has_none(self) -> None:
        world = World.ready()
        sid, _ = world.open()
        assert SealedWorld.claimed(world)[1] == ""  # type: ignore[arg-type]
        assert world.store.originals == {}
        assert sid

    def test_without_kms_a_session_that_must_keep_originals_does_not_begin_and_may_be_tried_again(self) -> None:
        world = SealedWorld.made()
        sid, _ = world.open()
        world.vault.away = True
        from chalicelib.contracts.api import SessionClaim
        from chalicelib.usecases.claim_session import claim_session

        with fault("originals_unavailable"):
            claim_session(world.ports, world.agent, sid, SessionClaim(path="relay"))
        world.vault.away = False
        assert claim_session(world.ports, world.agent, sid, SessionClaim(path="relay")).sealing

    def test_an_agent_that_cannot_seal_gets_no_target_that_must(self) -> None:
        world = World.ready()
        with fault("config_unenforceable"):
            apply_config(world.ports, ADMIN, ConfigFiles(files=FILES_SEALED))


class TestUnmasking:
    def test_a_second_person_the_log_and_then_the_key_once(self) -> None:
        world = SealedWorld.made()
        sid = world.recorded(SECRET, b'{"ch":1,"text":"more"}\n')
        request = world.asks(sid)
        assert (request.kind, request.sid, request.state, [ask.group for ask in request.asks]) == (
            "unmask", sid, RequestState.PENDING, ["platform"],
        )  # fmt: skip
        assert sid in request.matter
        world.says(ADMIN, request)
        use = "u" * 16
        with fault("log_behind"):
            world.unmask(request.rid, sid, use=use)
        assert world.vault.opened == 0, "the key is not touched before the log knows"
        world.log_catches_up()
        found = world.unmask(request.rid, sid, use=use)
        assert plain(found, world.sealed(sid)[1]) == SECRET + b'{"ch":1,"text":"more"}\n'
        (unmasked,) = [event for event in world.store.recorded if isinstance(event, OriginalsUnmasked)]
        assert (unmasked.actor, unmasked.owner, unmasked.reason, unmasked.approvers, unmasked.sid) == (
            DINA.sub, ALICE.sub, "case 12", [ADMIN.sub], sid,
        )  # fmt: skip
        assert world.log.leaf(unmasked.id) == found.leaf
        (released,) = [event for event in world.store.recorded if isinstance(event, OriginalsReleased)]
        assert (released.use, released.key) == (unmasked.use, world.key().name)
        assert world.store.kept_cases[request.rid].request.state is RequestState.USED

    def test_nothing_secret_is_in_the_events_or_the_rows(self) -> None:
        world = SealedWorld.made()
        sid = world.recorded()
        request = world.agreed(sid)
        found = world.unmasked(request.rid, sid)
        everything = msgspec.json.encode([*world.store.recorded, *world.store.kept_cases.values()])
        for secret in (found.content_key.encode(), b"4111 1111", b"u" * 16):
            assert secret not in everything
        for event in world.store.recorded:
            assert b"case 12" not in leaves.leaf_of(msgspec.json.encode(event))

    def test_whom_policy_asks_is_asked_and_not_administrators(self) -> None:
        world = SealedWorld.made(ASKS)
        sid = world.recorded()
        request = world.asks(sid)
        assert [ask.group for ask in request.asks] == ["works-council"]
        assert request.message == "The works council has to agree."
        with fault("denied"):
            world.says(ADMIN, request)
        world.says(WILL, request)
        assert world.unmasked(request.rid, sid).sid == sid

    def test_asking_twice_is_one_request(self) -> None:
        world = SealedWorld.made()
        sid = world.recorded()
        assert world.asks(sid).rid == world.asks(sid).rid
        assert world.asks(sid, reason="another case").rid != world.asks(sid).rid

    @pytest.mark.parametrize("reason", ["", "  "])
    def test_there_is_a_reason(self, reason: str) -> None:
        world = SealedWorld.made()
        with fault("reason_required"):
            world.asks(world.recorded(), reason=reason)

    def test_who_may_not_is_told_no_more_than_they_may_know(self) -> None:
        world = SealedWorld.made()
        sid = world.recorded()
        with fault("denied"):
            world.asks(sid, CAROL)  # may look at recordings
        with fault("denied"):
            world.asks(sid, ALICE)  # her own session
        with fault("unknown_session"):
            world.asks(sid, MALLORY)
        with fault("unknown_session"):
            world.asks("ses_01JD8QZ6T3N0V9C4K2M7X5B1HR")

    def test_a_session_without_originals_and_one_that_is_open(self) -> None:
        world = SealedWorld.made()
        with fault("conflict"):
            world.asks(world.claimed()[0])
        world.clock.advance(2 * 3600)
        sid, _ = world.claimed()
        world.deliver(sid, "ch01.cast", b"nothing masked\n")
        from chalicelib.usecases.reap_sessions import reap_sessions

        world.clock.advance(3 * 3600)
        reap_sessions(world.ports)
        with fault("originals_none"):
            world.asks(sid)

    def test_the_yes_has_an_end(self) -> None:
        world = SealedWorld.made()
        sid = world.recorded()
        request = world.agreed(sid)
        world.clock.advance(901)
        with fault("approval_expired"):
            world.unmask(request.rid, sid)

    def test_a_use_that_waited_for_the_log_too_long_is_over_as_well(self) -> None:
        world = SealedWorld.made()
        sid = world.recorded()
        request = world.agreed(sid)
        with fault("log_behind"):
            world.unmask(request.rid, sid, use="u" * 16)
        world.clock.advance(901)
        world.log_catches_up()
        with fault("approval_expired"):
            world.unmask(request.rid, sid, use="u" * 16)
        assert world.vault.opened == 0

    def test_kms_that_is_away_costs_nothing_but_time(self) -> None:
        world = SealedWorld.made()
        sid = world.recorded()
        request = world.agreed(sid)
        with fault("log_behind"):
            world.unmask(request.rid, sid, use="u" * 16)
        world.log_catches_up()
        world.vault.away = True
        with fault("originals_unavailable"):
            world.unmask(request.rid, sid, use="u" * 16)
        world.vault.away = False
        assert world.unmask(request.rid, sid, use="u" * 16).sid == sid

    def test_policy_may_change_its_mind(self) -> None:
        world = SealedWorld.made()
        sid = world.recorded()
        request = world.agreed(sid)
        apply_config(world.ports, ADMIN, ConfigFiles(files=FILES_SEALED | {"asks.cedar": ASKS}))
        with fault("approval_mismatch"):
            world.unmask(request.rid, sid)
        apply_config(world.ports, ADMIN, ConfigFiles(files=FILES_SEALED | {"originals.cedar": ""}))
        with fault("denied"):
            world.unmask(request.rid, sid)

    @pytest.mark.parametrize(
        "changed",
        [{"content": "!"}, {"content": "AAAA"}, {"use": "short"}, {"use": "with some spaces"}, {"use": "x" * 65}],
    )
    def test_what_does_not_read_is_refused(self, changed: dict[str, str]) -> None:
        world = SealedWorld.made()
        sid = world.recorded()
        request = world.agreed(sid)
        with fault("bad_request"):
            world.unmask(request.rid, sid, **changed)
        assert world.types()[-1] == "originals.refused"


class TestErasing:
    def over(self) -> tuple[SealedWorld, str, str]:
        """A world a month later: a session of last month, and that month."""
        world = SealedWorld.made()
        sid = world.recorded()
        month = originals.month_of(world.clock.now)
        world.clock.advance(40 * DAY_S)
        for who in (ADMIN, DINA, WILL):
            world.login(who)
        return world, sid, month

    def fresh(self, world: SealedWorld) -> tuple[object, object]:
        """The same people with tokens of today."""
        now = world.clock.now // 1000
        return tuple(msgspec.structs.replace(who, iat=now, exp=now + 3600) for who in (ADMIN, DINA))  # type: ignore[return-value]

    def test_the_key_goes_in_one_step_with_its_event_and_what_was_sealed_stays(self) -> None:
        world, sid, month = self.over()
        admin, dina = self.fresh(world)
        request = world.asks_erasure(month, dina)  # type: ignore[arg-type]
        assert (request.kind, request.month) == ("erase", month)
        assert month in request.matter
        world.says(admin, request)  # type: ignore[arg-type]
        before = dict(world.archive.kept)
        found = world.erase(request.rid, dina)  # type: ignore[arg-type]
        key = world.key(month)
        assert (key.wrapped, key.erased_ms, key.erased_by, found.key) == (b"", world.clock.now, request.rid, key.name)
        erased = world.store.recorded[-1]
        assert isinstance(erased, OriginalsErased)
        assert (erased.month, erased.approvers, erased.key) == (month, [ADMIN.sub], key.name)
        assert world.archive.kept == before
        assert world.erase(request.rid, dina) == found, "asked again, the same"  # type: ignore[arg-type]
        with fault("originals_erased"):
            world.asks(sid, dina)  # type: ignore[arg-type]
        world.log_catches_up()
        assert f"log/originals/{key.name}.tlog-proof" in world.archive.kept

    def test_a_yes_to_unmask_is_worth_nothing_afterwards(self) -> None:
        world, sid, month = self.over()
        admin, dina = self.fresh(world)
        look = world.says(admin, world.asks(sid, dina))  # type: ignore[arg-type]
        end = world.says(admin, world.asks_erasure(month, dina))  # type: ignore[arg-type]
        world.erase(end.rid, dina)  # type: ignore[arg-type]
        with fault("originals_erased"):
            world.unmask(look.rid, sid, dina)  # type: ignore[arg-type]

    def test_the_running_month_cannot_be_erased(self) -> None:
        world = SealedWorld.made()
        world.recorded()
        with fault("bad_request"):
            world.asks_erasure(originals.month_of(world.clock.now))

    @pytest.mark.parametrize(
        ("target", "month", "code"), [("web-1", "2026-13", "bad_request"), ("db-1", "2020-01", "originals_none")]
    )
    def test_there_must_be_something_to_erase(self, target: str, month: str, code: str) -> None:
        world = SealedWorld.made()
        with fault(code):
            world.asks_erasure(month, target=target)

    def test_not_everybody_may_ask_and_nobody_alone(self) -> None:
        world, _, month = self.over()
        _, dina = self.fresh(world)
        with fault("denied"):
            world.asks_erasure(month, CAROL)
        request = world.asks_erasure(month, dina)  # type: ignore[arg-type]
        with fault("own_request"):
            world.says(dina, request)  # type: ignore[arg-type]
        with fault("approval_required"):
            world.erase(request.rid, dina)  # type: ignore[arg-type]
        assert world.key(month).wrapped
        assert IP
