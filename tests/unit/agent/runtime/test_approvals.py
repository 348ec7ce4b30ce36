"""Operations that wait: whatever is lost, late or forged, they run only after a verified yes, and nobody is asked in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from agent.core.policy import Yes
from agent.runtime.approvals import Approvals, Surface
from agent.runtime.backoff import Backoff
from chalicelib.contracts.api_requests import ApprovalUse, ApprovalUsed, OperationAsk, RequestStanding
from chalicelib.contracts.approval import RequestState, Vote
from chalicelib.contracts.capability import ApprovalClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation
from tests.fakes.agent_runtime import NOW_MS, SID, make_approval, make_claims, make_request
from tests.patience import HANG_S

DROP = Operation(kind="query", text="DROP TABLE t", effects=frozenset({"admin"}))
AWAY = Fault("control_plane_unreachable", "Away.")


class Control:
    """A control plane of one request."""

    def __init__(self) -> None:
        self.standing = RequestStanding(request=make_request(DROP), link="https://gw.example/approvals/req_1")
        self.faults: list[Fault] = []
        self.polls = 0
        self.polled = asyncio.Event()
        self.keys: list[str] = []
        self.asks: list[str] = []
        self.away = False
        """No answer to a question gets through, although the question does."""
        self.heard = asyncio.Event()
        self.withdrawn = asyncio.Event()
        self.now_ms = NOW_MS

    def becomes(self, state: RequestState, approval: str = "", **changed: object) -> None:
        request = msgspec.structs.replace(self.standing.request, state=state, **changed)
        self.standing = msgspec.structs.replace(self.standing, request=request, approval=approval)

    async def ask(self, sid: str, request: OperationAsk) -> RequestStanding:
        assert (sid, request.operation) == (SID, DROP)
        self.asks.append(request.key)
        self.heard.set()
        if self.away:
            raise AWAY
        return self._answer()

    async def asked(self, sid: str, rid: str) -> RequestStanding:
        self.polls += 1
        self.polled.set()
        return self._answer()

    async def withdraw(self, sid: str, rid: str) -> RequestStanding:
        found = self._answer()
        self.withdrawn.set()
        return found

    async def use(self, sid: str, rid: str, use: ApprovalUse) -> ApprovalUsed:
        self.keys.append(use.key)
        self._answer()
        return ApprovalUsed(used=1, uses=1)

    def _answer(self) -> RequestStanding:
        if self.faults:
            raise self.faults.pop(0)
        return self.standing


SIGNED: dict[str, dict[str, object]] = {
    "signed": {},
    "signed by carol": {"approvers": ["carol"]},
    "signed for another request": {"approvers": ["carol"], "rid": "req_2"},
}


def verify(text: str) -> ApprovalClaims:
    if text not in SIGNED:
        raise Fault("approval_mismatch", "The approval was not signed by this gateway.")
    return make_approval(make_claims(), DROP, **SIGNED[text])


class Waiting:
    def __init__(
        self, poll_s: float = 60.0, *, away: bool = False, faults: list[Fault] | None = None, ask_s: float = 60.0
    ) -> None:
        self.control = Control()
        self.control.away, self.control.faults = away, faults or []
        surface = Surface(self.control, verify, lambda: self.control.now_ms, lambda: Backoff(0.001, 0.001))
        self.approvals = Approvals(SID, surface, poll_s=poll_s, ask_s=ask_s)
        self.delayed = 0
        self.told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Future[Yes] = asyncio.ensure_future(self.approvals.agreed(DROP, ["risky"], self.hears))

    def hears(self, standing: RequestStanding | None) -> None:
        if standing is None:
            self.delayed += 1
        else:
            self.told.set_result(standing.link)

    async def says(self, code: str) -> None:
        with pytest.raises(Fault) as caught:
            await asyncio.wait_for(self.task, HANG_S)
        assert caught.value.code == code
        await self.approvals.finish()


@pytest.fixture
async def waiting() -> AsyncIterator[Waiting]:
    found = Waiting()
    assert await found.told == "https://gw.example/approvals/req_1"
    yield found
    found.task.cancel()
    await asyncio.gather(found.task, return_exceptions=True)


async def test_a_signed_yes_that_is_pushed_needs_no_question(waiting: Waiting) -> None:
    waiting.approvals.decided("req_1", "signed by carol")
    yes = await asyncio.wait_for(waiting.task, HANG_S)
    assert (yes.claims.digest, yes.approvers, waiting.control.polls) == (DROP.digest(), ("carol",), 0)


@pytest.mark.parametrize("pushed", ["forged", "signed", "signed for another request"])
async def test_what_is_pushed_and_is_no_yes_to_this_is_only_a_hint(waiting: Waiting, pushed: str) -> None:
    waiting.approvals.decided("req_1", pushed)
    await asyncio.wait_for(waiting.control.polled.wait(), HANG_S)
    assert not waiting.task.done()
    waiting.control.becomes(RequestState.APPROVED, "signed by carol")
    waiting.approvals.decided("req_1")
    assert (await asyncio.wait_for(waiting.task, HANG_S)).claims.rid == "req_1"


async def test_a_push_is_a_hint_and_the_answer_is_asked_for(waiting: Waiting) -> None:
    votes = [Vote(voter="carol", approve=True, groups=["dba"], time_ms=NOW_MS)]
    waiting.control.becomes(RequestState.APPROVED, "signed", votes=votes)
    waiting.approvals.decided("req_1")
    yes = await asyncio.wait_for(waiting.task, HANG_S)
    assert (yes.claims.digest, yes.approvers) == (DROP.digest(), ("carol",))
    await waiting.approvals.finish()
    assert not waiting.control.withdrawn.is_set()


async def test_a_push_for_another_request_or_without_a_decision_changes_nothing(waiting: Waiting) -> None:
    waiting.approvals.decided("req_other")
    waiting.approvals.decided("req_1")
    await asyncio.wait_for(waiting.control.polled.wait(), HANG_S)
    assert not waiting.task.done()


async def test_a_new_connection_asks_for_what_was_missed(waiting: Waiting) -> None:
    waiting.control.becomes(RequestState.APPROVED, "signed")
    waiting.control.faults = [AWAY, AWAY]
    waiting.approvals.connected()
    assert (await asyncio.wait_for(waiting.task, HANG_S)).claims.rid == "req_1"


async def test_nobody_has_to_push() -> None:
    waiting = Waiting(poll_s=0.001)
    await waiting.told
    waiting.control.becomes(RequestState.APPROVED, "signed")
    assert (await asyncio.wait_for(waiting.task, HANG_S)).claims.rid == "req_1"


async def test_an_answer_may_overtake_the_confirmation_of_its_question() -> None:
    waiting = Waiting()
    waiting.approvals.decided("req_1")
    waiting.control.becomes(RequestState.APPROVED, "signed")
    assert (await asyncio.wait_for(waiting.task, HANG_S)).claims.rid == "req_1"


async def test_a_yes_may_overtake_the_confirmation_of_its_question() -> None:
    waiting = Waiting()
    waiting.approvals.decided("req_1", "signed by carol")
    assert (await asyncio.wait_for(waiting.task, HANG_S)).approvers == ("carol",)
    assert waiting.control.polls == 0


async def test_a_forged_yes_is_no_yes(waiting: Waiting) -> None:
    waiting.control.becomes(RequestState.APPROVED, "forged")
    waiting.approvals.decided("req_1")
    await waiting.says("approval_mismatch")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (RequestState.DENIED, "approval_denied"),
        (RequestState.EXPIRED, "approval_expired"),
        (RequestState.WITHDRAWN, "approval_withdrawn"),
        (RequestState.REVOKED, "approval_revoked"),
        (RequestState.USED, "approval_used"),
    ],
)
async def test_every_other_end_is_a_no(waiting: Waiting, state: RequestState, code: str) -> None:
    waiting.control.becomes(state)
    waiting.approvals.decided("req_1")
    await waiting.says(code)
    assert not waiting.control.withdrawn.is_set()


async def test_the_deadline_ends_it_although_nobody_says_so(waiting: Waiting) -> None:
    waiting.control.now_ms = waiting.control.standing.request.deadline_ms
    waiting.approvals.connected()
    await waiting.says("approval_expired")


async def test_who_cannot_learn_the_answer_in_time_runs_nothing_and_withdraws(waiting: Waiting) -> None:
    waiting.control.now_ms = waiting.control.standing.request.deadline_ms
    waiting.control.faults = [AWAY, AWAY]
    waiting.approvals.connected()
    await waiting.says("control_plane_unreachable")
    assert waiting.control.withdrawn.is_set()


async def test_who_gives_up_withdraws_until_it_is_heard(waiting: Waiting) -> None:
    waiting.control.faults = [AWAY, AWAY]
    waiting.task.cancel()
    await asyncio.gather(waiting.task, return_exceptions=True)
    await waiting.approvals.finish()
    assert waiting.control.withdrawn.is_set()


async def test_a_question_about_something_else_is_withdrawn() -> None:
    waiting = Waiting()
    waiting.control.becomes(RequestState.PENDING, digest="0" * 64)
    await waiting.says("approval_mismatch")
    assert waiting.control.withdrawn.is_set()


async def test_a_question_whose_answer_was_lost_is_asked_again_by_the_same_name() -> None:
    waiting = Waiting(faults=[AWAY, Fault("conflict", "Try again.")])
    assert await asyncio.wait_for(waiting.told, HANG_S) == "https://gw.example/approvals/req_1"
    first, again, once_more = waiting.control.asks
    assert first
    assert first == again == once_more
    assert waiting.delayed == 1, "the person is told once that it is being tried"
    waiting.approvals.decided("req_1", "signed by carol")
    await asyncio.wait_for(waiting.task, HANG_S)
    waiting.task = asyncio.ensure_future(waiting.approvals.agreed(DROP, ["risky"], lambda standing: None))
    waiting.approvals.decided("req_1", "signed by carol")
    await asyncio.wait_for(waiting.task, HANG_S)
    assert waiting.control.asks[-1] != first, "another question has another name"


async def test_what_is_refused_is_not_asked_again() -> None:
    waiting = Waiting(faults=[Fault("too_many", "Twenty wait.")])
    await waiting.says("too_many")
    assert (len(waiting.control.asks), waiting.delayed) == (1, 0)
    assert not waiting.control.withdrawn.is_set()


async def test_who_could_not_ask_in_time_runs_nothing_and_leaves_no_question_behind() -> None:
    waiting = Waiting(away=True, ask_s=0.01)
    with pytest.raises(Fault) as caught:
        await asyncio.wait_for(waiting.task, HANG_S)
    assert caught.value.code == "control_plane_unreachable"
    waiting.control.away = False
    await waiting.approvals.finish()
    assert waiting.control.withdrawn.is_set()
    assert len(set(waiting.control.asks)) == 1


async def test_who_gives_up_while_it_is_asked_leaves_no_question_behind() -> None:
    waiting = Waiting(away=True)
    await asyncio.wait_for(waiting.control.heard.wait(), HANG_S)
    waiting.task.cancel()
    await asyncio.gather(waiting.task, return_exceptions=True)
    waiting.control.away = False
    await waiting.approvals.finish()
    assert waiting.control.withdrawn.is_set()


async def test_a_use_whose_answer_was_lost_is_counted_once(waiting: Waiting) -> None:
    waiting.control.faults = [AWAY]
    await waiting.approvals.use("req_1", DROP.digest())
    await waiting.approvals.use("req_1", DROP.digest())
    first, again, other = waiting.control.keys
    assert first == again != other


async def test_a_refused_use_is_a_no(waiting: Waiting) -> None:
    waiting.control.faults = [Fault("approval_used", "Used.")]
    with pytest.raises(Fault, match="Used"):
        await waiting.approvals.use("req_1", DROP.digest())
