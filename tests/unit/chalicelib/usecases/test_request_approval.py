"""Asking: who is asked comes from policy, what is asked for is kept to the byte, and nobody is called in vain."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.api import SessionOpen
from chalicelib.contracts.api_requests import ApprovalUse, OperationAsk
from chalicelib.contracts.approval import Precedent, access_digest
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Approval
from chalicelib.usecases.open_session import open_session
from chalicelib.usecases.request_approval import PENDING_LIMIT, request_operation
from chalicelib.usecases.use_approval import use_approval
from tests.fakes.approvals import BOTH, DAN, FILES_ASK, ONLY_ONE, access, answer, asking_world, drop, inside, kept
from tests.fakes.world import ALICE, FILES, MALLORY, AgentKeys, World
from tests.unit.chalicelib.usecases.expecting import fault


class TestAccess:
    def test_a_request_says_who_what_where_and_why(self) -> None:
        world = asking_world()
        found = access(world)
        request = found.request
        assert (request.principal, request.target, request.login, request.reason) == (
            "alice@example.com",
            "db-1",
            "dba",
            "ticket 7",
        )
        assert (request.rules, request.asks, request.message) == (["ask-dba"], [Approval("dba", 1, 600)], "A DBA has to agree.")
        assert request.digest == access_digest("db-1", "dba")
        assert request.deadline_ms == world.clock.now + 600_000
        assert (request.source_ip, request.uses, found.missing, found.approval) == ("192.0.2.7", 1, ["dba"], "")
        assert found.link == f"https://gw.example/approvals/{request.rid}"
        assert kept(world, request.rid).asker.email == "alice@example.com"

    def test_it_is_an_event_and_the_group_is_told(self) -> None:
        world = asking_world()
        access(world)
        assert world.types()[-2:] == ["request.asked", "request.notified"]
        assert world.notifier.told() == ["asked > dba"]

    def test_asking_twice_calls_people_once(self) -> None:
        world = asking_world()
        first = access(world).request
        assert access(world).request == first
        assert world.notifier.told() == ["asked > dba"]
        # The twins: another time, another reason, and after the answer.
        assert access(world, for_s=60).request.rid != first.rid
        assert access(world, reason="another").request.rid != first.rid
        answer(world, DAN, first)
        assert access(world).request.rid != first.rid

    def test_a_time_boxed_grant_may_be_answered_for_a_day(self) -> None:
        world = asking_world()
        request = access(world, for_s=3600).request
        assert (request.for_s, request.uses) == (3600, 0)
        assert request.deadline_ms == world.clock.now + 24 * 3_600_000

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"target": "web-1"}, "approval_unneeded"),
            ({"target": "web-1", "login": "root"}, "denied"),
            ({"target": "nowhere"}, "unknown_target"),
            ({"login": "nobody"}, "unknown_login"),
            ({"reason": "x" * 2001}, "too_large"),
            ({"target": "x" * 129}, "too_large"),
            ({"for_s": -1}, "bad_request"),
            ({"for_s": 24 * 3600 + 1}, "bad_request"),
            ({"uses": 0}, "bad_request"),
            ({"uses": 101}, "bad_request"),
        ],
    )
    def test_what_cannot_be_asked_for_leaves_nothing(self, changed: dict[str, object], code: str) -> None:
        world = asking_world()
        before = world.types()
        with fault(code):
            access(world, **changed)
        assert (world.types(), world.store.kept_cases, world.notifier.sent) == (before, {}, [])

    def test_whom_a_yes_would_not_help_is_told_no(self) -> None:
        with fault("denied"):
            access(asking_world(), MALLORY)

    def test_one_person_cannot_call_people_without_end(self) -> None:
        world = asking_world()
        for n in range(PENDING_LIMIT):
            access(world, reason=f"{n}")
        with fault("too_many"):
            access(world, reason="one more")
        assert access(world, world_person("sam@example.com")).request.principal == "sam@example.com"

    def test_without_channels_nobody_is_told_and_everything_else_works(self) -> None:
        world = asking_world()
        world.notifier.names = []
        assert answer(world, DAN, access(world).request).state == "approved"
        assert world.store.notices == {}


def world_person(name: str):  # type: ignore[no-untyped-def]
    from tests.fakes.world import person

    return person(name, "sre")


class TestOperations:
    def test_the_operation_is_kept_to_the_byte(self) -> None:
        world = asking_world()
        operation = drop("DROP TABLE \u202e x; --\x1b[2J", arguments=("1", "ü"), environment=(("LANG", "C"),))
        request = inside(world, operation, risks=["no WHERE", "y" * 500, *["z"] * 40]).request
        assert request.operation == operation
        assert (request.kind, request.digest) == ("operation", operation.digest())
        assert (request.principal, request.target, request.reason) == ("alice@example.com", "web-1", "deploy")
        assert request.asks == [Approval("dba", 2, 900)]
        assert (request.risks[0], len(request.risks[1]), len(request.risks)) == ("no WHERE", 200, 17)

    def test_a_port_is_decided_by_where_it_goes(self) -> None:
        rule = (
            '@approval("group:dba") forbid(principal, action == Action::"forward", resource) when { context.port == 5432 } '
            'unless { context.approvals.contains("dba") };\n'
            "permit(principal, action, resource);"
        )
        world = asking_world(FILES_ASK | {"ports.cedar": rule})
        place = Operation(
            action="forward",
            kind="direct-tcpip",
            text="direct-tcpip db:5432",
            effects=frozenset({"read"}),
            host="db",
            port=5432,
            direction="local",
        )
        request = inside(world, place).request
        assert request.operation == place
        with fault("approval_unneeded"):
            inside(world, msgspec.structs.replace(place, text="direct-tcpip db:22", port=22))

    def test_every_rule_that_holds_is_asked_for(self) -> None:
        request = inside(asking_world(), drop("TRUNCATE t", "TRUNCATE")).request
        assert request.rules == ["truncate", "truncate-lead"]
        assert request.asks == [Approval("dba", 1, 900), Approval("leads", 1, 300)]

    @pytest.mark.parametrize(
        ("operation", "code"),
        [
            (drop("ls", "ls"), "approval_unneeded"),
            (drop("rm", "rm"), "denied"),
            (drop("x" * 70_000), "too_large"),
        ],
    )
    def test_what_is_not_held_is_not_asked(self, operation, code: str) -> None:  # type: ignore[no-untyped-def]
        world = asking_world()
        sid = world.live()
        with fault(code):
            inside(world, operation, sid)
        assert world.store.kept_cases == {}

    def test_only_the_sessions_own_agent_asks_and_only_while_it_lives(self) -> None:
        world = asking_world()
        sid = world.live()
        stranger = world.enrol("west", AgentKeys())
        with fault("unknown_session"):
            request_operation(world.ports, stranger, sid, OperationAsk(operation=drop()))
        offered, _ = world.open()
        with fault("conflict"):
            inside(world, sid=offered)

    def test_a_requester_who_may_approve_is_still_only_the_requester(self) -> None:
        world = asking_world(FILES | {"ask.cedar": ONLY_ONE})
        world.login(BOTH)
        request = inside(world).request
        assert request.principal == ALICE.sub
        with fault("denied"):
            answer(world, ALICE, request)


class TestPrecedents:
    FIRST = "First time here: within 90 days, this person has used no approval for DROP."

    def used(self, world: World, sid: str, text: str = "DROP TABLE orders") -> None:
        request = inside(world, drop(text), sid).request
        for who in (DAN, BOTH):
            answer(world, who, request)
        use_approval(world.ports, world.agent, sid, request.rid, ApprovalUse(digest=drop(text).digest(), key="k"))

    def test_a_first_time_is_told_and_a_second_is_none(self) -> None:
        world = asking_world()
        sid = world.live()
        first = inside(world, sid=sid, risks=["no WHERE"]).request
        assert (first.risks, first.before) == (["no WHERE", self.FIRST], None)
        # Asking is not doing: neither the request nor the yes is a precedent.
        assert self.FIRST in inside(world, sid=sid).request.risks
        self.used(world, sid)
        done_ms = world.clock.now
        second = inside(world, drop("DROP TABLE another"), sid).request
        assert (second.risks, second.before) == ([], Precedent(times=1, first_ms=done_ms, last_ms=done_ms))
        # Another verb, and another login of the target, are other things.
        assert "TRUNCATE" in inside(world, drop("TRUNCATE t", "TRUNCATE"), sid).request.risks[0]

    def test_it_is_forgotten_after_ninety_days(self) -> None:
        world = asking_world()
        self.used(world, world.live())
        world.clock.advance(90 * 24 * 3600)
        assert inside(world).request.risks == [self.FIRST]

    def test_access_that_was_used_is_a_precedent(self) -> None:
        world = asking_world()
        request = access(world).request
        assert request.risks == ["First time here: within 90 days, this person has used no approval for access."]
        answer(world, DAN, request)
        open_session(world.ports, ALICE, SessionOpen(target="db-1", approval=request.rid), "192.0.2.7")
        again = access(world, reason="again").request
        assert again.before is not None
        assert (again.risks, again.before.times) == ([], 1)
        sam = access(world, world_person("sam@example.com")).request
        assert (len(sam.risks), sam.before) == (1, None)
