"""Sessions under an approval: one for one yes, or any number until an absolute end; and what is taken back ends."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.api import ConfigFiles, SessionOffer, SessionOpen
from chalicelib.contracts.api_requests import RequestEnd
from chalicelib.contracts.capability import TICKET_TYP, TicketClaims
from chalicelib.contracts.session import State
from chalicelib.usecases.apply_config import apply_config
from chalicelib.usecases.claim_session import SessionClaim, claim_session
from chalicelib.usecases.end_request import revoke_request
from chalicelib.usecases.list_targets import list_targets
from chalicelib.usecases.open_session import open_session
from chalicelib.usecases.reap_sessions import reap_sessions
from tests.fakes.approvals import ASK_FIRST, DAN, DORA, LEA, access, answer, asking_world, kept
from tests.fakes.world import ADMIN, ALICE, FILES, MALLORY, World, person
from tests.unit.chalicelib.usecases.expecting import fault


def open_(world: World, rid: str = "", target: str = "db-1", login: str = "") -> SessionOffer:
    asked = SessionOpen(target=target, login=login, reason="ticket 7", approval=rid)
    return open_session(world.ports, ALICE, asked, "192.0.2.7")


def test_what_policy_holds_is_listed_and_says_who_is_asked() -> None:
    views = {view.name: view.asks for view in list_targets(asking_world().ports, ALICE, "").targets}
    assert views == {"db-1": ["dba"], "web-1": []}
    assert list_targets(asking_world().ports, MALLORY, "").targets == []


def test_without_a_yes_nothing_opens_and_the_attempt_is_on_record() -> None:
    world = asking_world()
    with fault("approval_required", "A DBA has to agree.", "somebody of dba", "ses_"):
        open_(world)
    assert world.types()[-1] == "session.denied"


def test_a_yes_opens_one_session_that_names_it() -> None:
    world = asking_world()
    request = access(world).request
    with fault("approval_pending", "Nobody has answered"):
        open_(world, request.rid)
    answer(world, DAN, request)
    offer = open_(world, request.rid)
    session = world.store.session(offer.sid)
    assert session is not None
    assert (session.approval, session.state) == (request.rid, State.OFFERED)
    claims = msgspec.convert(world.signer.verify_token(TICKET_TYP, offer.ticket), TicketClaims)
    assert claims.approvals == ["dba"]
    assert world.types()[-2:] == ["session.opened", "request.used"]
    after = kept(world, request.rid).request
    assert (after.state, after.sessions) == ("used", [offer.sid])
    with fault("approval_used"):
        open_(world, request.rid)
    with fault("approval_required"):
        open_(world)


def test_a_grant_is_found_without_its_name_and_its_end_is_the_sessions_end() -> None:
    world = asking_world()
    request = access(world, for_s=1800).request
    granted = answer(world, DAN, request)
    world.clock.advance(600)
    offers = [open_(world), open_(world)]
    assert {offer.deadline_ms for offer in offers} == {granted.until_ms}
    assert offers[0].deadline_ms == world.clock.now + 1_200_000
    world.clock.advance(1_200)
    with fault("approval_required"):
        open_(world)
    with fault("approval_expired"):
        open_(world, request.rid)


def test_a_yes_in_place_does_not_shorten_the_session() -> None:
    world = asking_world()
    request = access(world).request
    answer(world, DAN, request)
    assert open_(world).deadline_ms == world.clock.now + 8 * 3_600_000


def test_a_yes_is_for_one_person_one_target_and_one_login() -> None:
    world = asking_world()
    request = access(world).request
    answer(world, DAN, request)
    sam = person("sam@example.com", "sre")
    with fault("unknown_request"):
        open_session(world.ports, sam, SessionOpen(target="db-1", approval=request.rid), "")
    with fault("approval_required"):
        open_session(world.ports, sam, SessionOpen(target="db-1"), "")
    with fault("approval_mismatch"):
        open_(world, request.rid, login="other")
    # Where policy asks for nothing, naming one changes nothing and uses nothing.
    assert open_(world, request.rid, target="web-1").sid
    assert kept(world, request.rid).request.used == 0


@pytest.mark.parametrize("how", ["quorum:2 ", ""])
def test_a_policy_that_asks_for_more_by_now_is_not_lifted(how: str) -> None:
    world = asking_world()
    request = access(world, for_s=600).request
    answer(world, DAN, request)
    rules = ASK_FIRST.replace('"group:dba ttl:10m"', f'"group:dba {how}ttl:9m"')
    apply_config(world.ports, ADMIN, ConfigFiles(files=FILES | {"ask.cedar": rules}))
    if not how:
        assert open_(world, request.rid).sid
        return
    with fault("approval_mismatch"):
        open_(world, request.rid)
    with fault("approval_required"):
        open_(world)


class TestTakingBack:
    def granted(self) -> tuple[World, str, str]:
        world = asking_world()
        request = access(world, for_s=1800).request
        answer(world, DAN, request)
        sid = open_(world).sid
        claim_session(world.ports, world.agent, sid, SessionClaim(path="relay"))
        return world, request.rid, sid

    @pytest.mark.parametrize("who", [ALICE, DAN, DORA, ADMIN])
    def test_its_owner_an_approver_or_an_administrator_ends_it_with_its_sessions(self, who) -> None:  # type: ignore[no-untyped-def]
        world, rid, sid = self.granted()
        offered = open_(world).sid
        after = revoke_request(world.ports, who, rid, RequestEnd(comment="enough"), "").request
        assert (after.state, after.answer) == ("revoked", "enough")
        kills = [each["sid"] for each in world.downlink.sent["control-1"] if each["t"] == "kill"]
        assert kills == [sid, offered]
        found = world.store.session(offered)
        assert found is not None
        assert found.state is State.KILLED
        assert "request.revoked" in world.types()
        with fault("approval_required"):
            open_(world)

    def test_nobody_else_does(self) -> None:
        world, rid, _ = self.granted()
        world.login(MALLORY)
        with fault("unknown_request"):
            revoke_request(world.ports, MALLORY, rid, RequestEnd(), "")
        with fault("denied"):
            revoke_request(world.ports, LEA, rid, RequestEnd(), "")
        assert kept(world, rid).request.state == "approved"

    def test_an_agent_that_was_away_is_told_again(self) -> None:
        world, rid, sid = self.granted()
        world.store.connection_closed("control-1")
        revoke_request(world.ports, DAN, rid, RequestEnd(), "")
        world.downlink.sent.clear()
        reap_sessions(world.ports)
        world.connect_agent("control-2")
        reap_sessions(world.ports)
        assert [each["sid"] for each in world.downlink.sent["control-2"]] == [sid]

    def test_only_a_yes_is_taken_back_and_once(self) -> None:
        world = asking_world()
        request = access(world).request
        with fault("approval_pending", "withdraw"):
            revoke_request(world.ports, DAN, request.rid, RequestEnd(), "")
        answer(world, DAN, request)
        revoke_request(world.ports, DAN, request.rid, RequestEnd(), "")
        with fault("approval_over"):
            revoke_request(world.ports, DAN, request.rid, RequestEnd(), "")
        with fault("too_large"):
            revoke_request(world.ports, DAN, request.rid, RequestEnd(comment="x" * 2001), "")
