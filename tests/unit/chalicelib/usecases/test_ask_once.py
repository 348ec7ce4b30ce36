"""A repeated ask: the same key and body get the same request, whatever became of it, and nobody is called twice."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.api_requests import AccessAsk, OperationAsk, RequestEnd
from chalicelib.usecases.end_request import revoke_request
from chalicelib.usecases.request_approval import request_operation
from tests.fakes.approvals import BOTH, DAN, access, answer, asking_world, drop, inside
from tests.fakes.world import ALICE, AgentKeys
from tests.unit.chalicelib.usecases.expecting import fault

DAY_MS = 24 * 3600 * 1000


class TestPeople:
    def test_the_same_again_is_the_same_request_as_it_is_by_then(self) -> None:
        world = asking_world()
        first = access(world, key="k1")
        assert access(world, key="k1") == first
        answer(world, DAN, first.request)
        again = access(world, key="k1").request
        assert (again.rid, again.state) == (first.request.rid, "approved")
        revoke_request(world.ports, ALICE, again.rid, RequestEnd(), "192.0.2.7")
        assert access(world, key="k1").request.state == "revoked"
        assert world.types().count("request.asked") == 1
        assert world.notifier.told().count("asked > dba") == 1

    def test_without_a_key_every_ask_after_an_answer_is_a_new_one(self) -> None:
        world = asking_world()
        first = access(world).request
        answer(world, DAN, first)
        assert access(world).request.rid != first.rid

    @pytest.mark.parametrize(
        "changed", [{"reason": "another"}, {"for_s": 60}, {"uses": 2}, {"login": "dba"}, {"target": "web-1"}]
    )
    def test_another_body_under_the_same_key_is_refused(self, changed: dict[str, object]) -> None:
        world = asking_world()
        access(world, key="k1")
        with fault("key_reused"):
            access(world, key="k1", **changed)
        assert len(world.store.kept_cases) == 1

    def test_a_key_is_its_callers_own(self) -> None:
        world = asking_world()
        mine = access(world, key="k1").request
        world.login(msgspec.structs.replace(BOTH, groups=[*BOTH.groups, "sre"]))
        theirs = access(world, msgspec.structs.replace(BOTH, groups=[*BOTH.groups, "sre"]), key="k1").request
        assert (mine.principal, theirs.principal) == ("alice@example.com", "both@example.com")

    def test_it_is_forgotten_after_a_day(self) -> None:
        world = asking_world()
        first = access(world, key="k1").request
        answer(world, DAN, first)
        world.clock.now += DAY_MS - 1
        assert access(world, key="k1").request.rid == first.rid
        world.clock.now += 1
        assert access(world, key="k1", reason="another").request.rid != first.rid

    def test_a_key_is_bounded(self) -> None:
        world = asking_world()
        assert access(world, key="k" * 64).request.state == "pending"
        with fault("bad_request"):
            access(world, key="k" * 65)

    def test_an_ask_that_found_what_waits_keeps_to_it(self) -> None:
        world = asking_world()
        waits = access(world).request
        assert access(world, key="k2").request.rid == waits.rid
        answer(world, DAN, waits, approve=False, comment="no")
        again = access(world, key="k2").request
        assert (again.rid, again.state) == (waits.rid, "denied")

    def test_an_emergency_goes_first_once(self) -> None:
        world = asking_world()
        caller = msgspec.structs.replace(ALICE, groups=["sre", "on-call"])
        first = access(world, caller, key="k1", emergency=True).request
        assert access(world, caller, key="k1", emergency=True).request == first
        assert access(world, caller, key="k2", emergency=True).request.rid != first.rid


class TestAgents:
    def test_the_same_again_is_the_same_request_with_its_capability(self) -> None:
        world = asking_world()
        sid = world.live()
        first = inside(world, sid=sid, key="op-1").request
        assert inside(world, sid=sid, key="op-1").request == first
        assert inside(world, sid=sid, key="op-2").request.rid != first.rid
        answer(world, DAN, first)
        answer(world, BOTH, first)
        again = inside(world, sid=sid, key="op-1")
        assert (again.request.state, bool(again.approval)) == ("approved", True)

    @pytest.mark.parametrize("changed", [{"reason": "x"}, {"risks": ["rows: 5"]}, {"uses": 2}])
    def test_another_body_is_refused(self, changed: dict[str, object]) -> None:
        world = asking_world()
        sid = world.live()
        inside(world, sid=sid, key="op-1")
        with fault("key_reused"):
            inside(world, sid=sid, key="op-1", **changed)
        with fault("key_reused"):
            inside(world, drop("DROP TABLE users"), sid, key="op-1")
        # The same text with other facts about it is another ask, too.
        with fault("key_reused"):
            inside(world, drop(objects=frozenset({"orders"})), sid, key="op-1")

    def test_the_order_of_sets_is_no_difference(self) -> None:
        world = asking_world()
        sid = world.live()
        verbs = [f"V{n}" for n in range(64)]
        one = drop(objects=frozenset(verbs))
        other = drop(objects=frozenset(reversed(verbs)))
        assert inside(world, one, sid, key="op").request.rid == inside(world, other, sid, key="op").request.rid

    def test_a_key_is_the_sessions_own_and_its_agents(self) -> None:
        world = asking_world()
        sid, other = world.live(), world.live()
        assert inside(world, sid=sid, key="op-1").request.rid != inside(world, sid=other, key="op-1").request.rid
        with fault("unknown_session"):
            request_operation(world.ports, world.enrol("west", AgentKeys()), sid, OperationAsk(operation=drop(), key="op-1"))


class Faster:
    """A store in which the same ask arrives a moment earlier, on another connection."""

    def __init__(self, world, twin) -> None:  # type: ignore[no-untyped-def]
        self._world, self._twin, self._done = world, twin, False

    def __getattr__(self, name: str) -> object:
        return getattr(self._world.store, name)

    def add_case(self, *arguments: object) -> None:
        if not self._done:
            self._done = True
            self.first = self._twin()
        self._world.store.add_case(*arguments)


def test_of_two_at_once_one_makes_the_request_and_both_get_it() -> None:
    import dataclasses

    from chalicelib.usecases.request_approval import request_access

    world = asking_world()
    asked = AccessAsk(target="db-1", reason="ticket 7", key="k1")
    store = Faster(world, lambda: access(world, key="k1"))
    ports = dataclasses.replace(world.ports, store=store)  # type: ignore[arg-type]
    assert request_access(ports, ALICE, asked, "192.0.2.7") == store.first
    assert world.notifier.told() == ["asked > dba"]
    assert len(world.store.kept_cases) == 1
