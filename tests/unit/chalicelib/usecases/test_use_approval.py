"""A yes covers one thing: other bytes, another session, a late use and one too many are refused, and a newer policy counts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from chalicelib.contracts.api import ConfigFiles, SessionClose
from chalicelib.contracts.api_requests import ApprovalUse, ApprovalUsed, RequestEnd
from chalicelib.contracts.approval import ApprovalRequest, RequestState, refusal
from chalicelib.contracts.faults import Fault
from chalicelib.usecases.apply_config import apply_config
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.end_request import expire_requests, revoke_request, withdraw_operation
from chalicelib.usecases.use_approval import use_approval
from tests.fakes.approvals import ASK_FIRST, DAN, DORA, answer, asking_world, drop, inside, kept
from tests.fakes.world import ADMIN, FILES, AgentKeys, World
from tests.unit.chalicelib.usecases.expecting import fault

MORE = """
@id("lead-too") @approval("group:leads")
forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") }
unless { context.approvals.contains("leads") };
"""


class Approved:
    """A live session with a yes to one DROP."""

    def __init__(self, **changed: object) -> None:
        self.world: World = asking_world()
        self.sid = self.world.live()
        self.request = inside(self.world, sid=self.sid, **changed).request
        for who in (DAN, DORA):
            answer(self.world, who, self.request)

    def use(self, digest: str = "", key: str = "k", sid: str = "", rid: str = "") -> ApprovalUsed:
        asked = ApprovalUse(digest=digest or drop().digest(), key=key)
        return use_approval(self.world.ports, self.world.agent, sid or self.sid, rid or self.request.rid, asked)


def test_a_use_is_counted_before_anything_runs() -> None:
    it = Approved()
    assert it.use() == ApprovalUsed(used=1, uses=1)
    assert kept(it.world, it.request.rid).request.state == "used"
    event = it.world.store.recorded[-1]
    assert (event.__struct_config__.tag, event.actor) == ("request.used", "alice@example.com")
    with fault("approval_used"):
        it.use(key="another")


def test_an_answer_that_was_lost_is_given_again() -> None:
    it = Approved(uses=2)
    assert [it.use().used, it.use().used, it.use(key="k2").used, it.use(key="k2").used] == [1, 1, 2, 2]
    with fault("approval_used"):
        it.use(key="k3")
    assert it.world.types().count("request.used") == 2


@pytest.mark.parametrize(
    "other",
    [
        drop("DROP TABLE orders "),
        drop("DROP TABLE ordess"),
        drop(arguments=("1",)),
        drop(environment=(("search_path", "evil"),)),
        drop(kind="exec"),
        drop(action="transfer"),
    ],
)
def test_other_bytes_are_another_operation(other) -> None:  # type: ignore[no-untyped-def]
    it = Approved()
    with fault("approval_mismatch"):
        it.use(other.digest())
    assert it.use().used == 1


def test_a_yes_is_for_one_session_of_one_agent() -> None:
    it = Approved()
    elsewhere = it.world.live()
    with fault("unknown_request"):
        it.use(sid=elsewhere)
    stranger = it.world.enrol("west", AgentKeys())
    with fault("unknown_session"):
        use_approval(it.world.ports, stranger, it.sid, it.request.rid, ApprovalUse(digest=drop().digest(), key="k"))
    for rid in ("req_x", "req_01JD8QZ6T3N0V9C4K2M7X5B1HR"):
        with fault("unknown_request"):
            it.use(rid=rid)


def test_late_is_late() -> None:
    it = Approved()
    it.world.clock.advance(900)
    with fault("approval_expired"):
        it.use()


def test_a_session_that_is_over_uses_nothing() -> None:
    it = Approved()
    session = it.world.store.session(it.sid)
    assert session is not None
    end = SessionClose(state="ended", chunks=0, chain=session.chain, operations=0, denied=0)
    close_session(it.world.ports, it.world.agent, it.sid, end)
    with fault("session_ended"):
        it.use()


def _late(world: World, request: ApprovalRequest) -> None:
    world.clock.advance(900)


def _late_and_known(world: World, request: ApprovalRequest) -> None:
    world.clock.advance(900)
    assert expire_requests(world.ports) == 1


def _yes(world: World, request: ApprovalRequest) -> None:
    for who in (DAN, DORA):
        answer(world, who, request)


#: What happened to a request, and what a use of it is told: its own code and status for each state.
ENDS: dict[str, tuple[list[Callable[[World, ApprovalRequest], object]], str, int]] = {
    "nobody has answered": ([], "approval_pending", 409),
    "one of two has answered": ([lambda world, request: answer(world, DAN, request)], "approval_pending", 409),
    "a no": ([lambda world, request: answer(world, DAN, request, False, "no")], "approval_denied", 403),
    "withdrawn": (
        [lambda world, request: withdraw_operation(world.ports, world.agent, request.sid, request.rid)],
        "approval_withdrawn",
        409,
    ),
    "nobody answered in time": ([_late], "approval_expired", 410),
    "nobody answered in time, and the reaper knows": ([_late_and_known], "approval_expired", 410),
    "not used in time": ([_yes, _late], "approval_expired", 410),
    "not used in time, and the reaper knows": ([_yes, _late_and_known], "approval_expired", 410),
    "taken back": (
        [_yes, lambda world, request: revoke_request(world.ports, DAN, request.rid, RequestEnd(), "192.0.2.9")],
        "approval_revoked",
        410,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_without_a_yes_there_is_nothing_to_use(end: str) -> None:
    steps, code, status = ENDS[end]
    world = asking_world()
    sid = world.live()
    request = inside(world, sid=sid).request
    for step in steps:
        step(world, request)
    with pytest.raises(Fault) as refused:
        use_approval(world.ports, world.agent, sid, request.rid, ApprovalUse(digest=drop().digest(), key="k"))
    assert (refused.value.code, refused.value.kind.status) == (code, status)
    assert kept(world, request.rid).request.used == 0


def test_every_state_without_a_yes_has_a_code_of_its_own() -> None:
    codes = {
        refusal(msgspec.structs.replace(Approved().request, state=state)).code for state in RequestState if state != "approved"
    }
    assert len(codes) == len(RequestState) - 1


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (ASK_FIRST.replace("quorum:2", "quorum:3"), "asks for more"),
        (ASK_FIRST + MORE, "asks for more"),
        (ASK_FIRST + 'forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") };', "forbids"),
    ],
)
def test_a_policy_that_asks_for_more_by_now_is_not_lifted(rules: str, words: str) -> None:
    it = Approved()
    apply_config(it.world.ports, ADMIN, ConfigFiles(files=FILES | {"ask.cedar": rules}))
    with fault("denied", words):
        it.use()
    assert kept(it.world, it.request.rid).request.used == 0


def test_the_twin_a_policy_that_asks_for_less_is() -> None:
    it = Approved()
    files = FILES | {"ask.cedar": ASK_FIRST.replace("quorum:2", "quorum:1")}
    apply_config(it.world.ports, ADMIN, ConfigFiles(files=files))
    assert it.use().used == 1


@pytest.mark.parametrize("key", ["", "x" * 65])
def test_a_use_has_a_short_name(key: str) -> None:
    with fault("bad_request"):
        Approved().use(key=key)
