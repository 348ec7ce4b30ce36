"""What every store must do with approval requests and notices, on the fake and on DynamoDB."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts import ids
from chalicelib.contracts.approval import ApprovalRequest, Precedent, RequestState, Vote
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Approval
from chalicelib.domain import precedents
from chalicelib.domain.approvals import Case, Human
from chalicelib.ports import AskName, CaseQuery, Conflict, Notice, Store
from tests.conformance.rows import CUSTODY, DAY, NOW, event, identifier, session, socket
from tests.conformance.test_races import winners

replace = msgspec.structs.replace
OPERATION = Operation(
    kind="query",
    text="DROP TABLE \u202eorders\x1b[2J",
    effects=frozenset({"admin", "write"}),
    verbs=frozenset({"DROP"}),
    arguments=("1", "ü"),
    environment=(("LANG", "C"),),
)


def case(n: int = 0, state: RequestState = RequestState.PENDING, at_ms: int = NOW, **changed: object) -> Case:
    fields: dict[str, object] = {
        "rid": identifier(ids.REQUEST, n, at_ms),
        "kind": "operation",
        "state": state,
        "principal": "alice@example.com",
        "target": "db-1",
        "protocol": "postgres",
        "agent": "edge",
        "sid": "ses_1",
        "operation": OPERATION,
        "digest": OPERATION.digest(),
        "rules": ["ask"],
        "asks": [Approval("dba", 2, 900)],
        "policy_version": 3,
        "asked_ms": at_ms + n,
        "deadline_ms": at_ms + 900_000,
    }
    made = ApprovalRequest(**(fields | changed))  # type: ignore[arg-type]
    return Case(request=made, asker=Human(principal=made.principal, email="alice@example.com"))


def notice(n: int = 0, **changed: object) -> Notice:
    fields: dict[str, object] = {
        "nid": identifier(ids.NOTICE, n),
        "rid": case().request.rid,
        "about": "asked",
        "groups": ["dba"],
        "time_ms": NOW + n,
        "channels": ["mail", "slack"],
        "due_ms": NOW + n,
    }
    return Notice(**(fields | changed))  # type: ignore[arg-type]


def next_of(made: Case, state: RequestState = RequestState.APPROVED, **changed: object) -> Case:
    request = replace(made.request, state=state, version=made.request.version + 1, **changed)
    return replace(made, request=request)


class TestCases:
    def test_a_request_comes_back_as_what_was_asked_to_the_byte(self, store: Store) -> None:
        made = case()
        store.add_case(made, [event()], [notice()])
        found = store.case(made.request.rid)
        assert found == made
        assert found is not None
        assert found.request.operation is not None
        assert found.request.operation.canonical() == OPERATION.canonical()
        assert list(store.events(DAY)) == [event()]
        assert store.due_notices(NOW, 9) == [notice()]
        assert store.case("req_none") is None

    def test_an_identifier_is_given_once(self, store: Store) -> None:
        store.add_case(case(), [event()], [])
        with pytest.raises(Conflict):
            store.add_case(case(), [event(1)], [notice()])
        assert list(store.events(DAY)) == [event()]
        assert store.due_notices(NOW, 9) == []

    def test_a_step_is_from_the_version_before_or_it_is_not(self, store: Store) -> None:
        made = case()
        store.add_case(made, [event()], [])
        after = next_of(made, votes=[Vote(voter="bob", approve=True, groups=["dba"], time_ms=NOW)])
        store.step_case(after, [event(1)], [notice()])
        assert store.case(made.request.rid) == after
        for stale in (after, next_of(made, RequestState.DENIED), next_of(next_of(after))):
            with pytest.raises(Conflict):
                store.step_case(stale, [event(2)], [notice(5)])
        with pytest.raises(Conflict):
            store.step_case(next_of(case(7)), [event(3)], [])
        assert store.case(made.request.rid) == after
        assert list(store.events(DAY)) == [event(), event(1)]
        assert store.due_notices(NOW + 99, 9) == [notice()]

    def test_who_looked_is_remembered_once(self, store: Store) -> None:
        rid = case().request.rid
        assert store.see_case(rid, "bob", event(1))
        assert not store.see_case(rid, "bob", event(2))
        assert store.see_case(rid, "carol", event(3))
        assert list(store.events(DAY)) == [event(1), event(3)]

    def test_open_requests_are_listed_until_they_are_over(self, store: Store) -> None:
        made = [case(n) for n in range(3)]
        for n, each in enumerate(made):
            store.add_case(each, [event(n)], [])
        assert {each.request.rid for each in store.open_cases()} == {each.request.rid for each in made}
        store.step_case(next_of(made[0]), [event(10)], [])
        store.step_case(next_of(made[1], RequestState.DENIED), [event(11)], [])
        store.step_case(next_of(made[2], RequestState.USED, emergency=True), [event(12)], [])
        left = {each.request.rid: each.request.state for each in store.open_cases()}
        assert left == {made[0].request.rid: "approved", made[2].request.rid: "used"}

    def test_a_day_is_listed_newest_first_and_filtered(self, store: Store) -> None:
        for n in range(5):
            store.add_case(case(n, principal="bob@example.com" if n == 2 else "alice@example.com"), [event(n)], [])
        store.add_case(case(6, RequestState.DENIED, target="web-1"), [event(6)], [])

        def listed(cursor: str = "", limit: int = 10, **wanted: str) -> tuple[list[str], str]:
            found, following = store.cases(CaseQuery(day=DAY, **wanted), limit, cursor)
            return [each.request.rid for each in found], following

        every = [case(n).request.rid for n in (6, 4, 3, 2, 1, 0)]
        assert listed() == (every, "")
        first, cursor = listed(limit=4)
        assert first == every[:4]
        assert listed(cursor)[0] == every[4:]
        assert listed(principal="bob@example.com")[0] == [case(2).request.rid]
        assert listed(target="web-1", state="denied")[0] == [case(6).request.rid]
        assert store.cases(CaseQuery(day="2026-09-20"), 9, "") == ([], "")

    def test_a_session_and_the_use_of_its_approval_are_stored_together_or_not_at_all(self, store: Store) -> None:
        made = case(0, RequestState.APPROVED)
        store.add_case(made, [event()], [])
        used = next_of(made, RequestState.USED, used=1)
        store.open_approved_session(session(1), CUSTODY, used, [event(1), event(2)])
        assert (store.session(session(1).sid), store.case(made.request.rid)) == (session(1), used)
        with pytest.raises(Conflict):
            store.open_approved_session(session(2), CUSTODY, used, [event(3)])
        with pytest.raises(Conflict):
            store.open_approved_session(session(1), CUSTODY, next_of(used), [event(4)])
        assert store.session(session(2).sid) is None
        assert store.case(made.request.rid) == used
        assert list(store.events(DAY)) == [event(), event(1), event(2)]

    def test_one_of_many_steps_wins(self, store: Store) -> None:
        made = case()
        store.add_case(made, [event()], [])
        assert winners(lambda n: store.step_case(next_of(made, for_s=n), [event(n + 1)], [notice(n)]) or n) == 1
        assert len(list(store.events(DAY))) == 2
        assert len(store.due_notices(NOW + 99, 9)) == 1


class TestNames:
    NAME = AskName(digest="d" * 64, body="b" * 64, rid=identifier(ids.REQUEST, 0), until_ms=NOW + 1_000)

    def test_the_name_of_an_ask_is_stored_with_its_request_or_neither_is(self, store: Store) -> None:
        store.add_case(case(), [event()], [], self.NAME)
        assert store.ask_name(self.NAME.digest, NOW) == self.NAME
        assert store.ask_name("e" * 64, NOW) is None
        with pytest.raises(Conflict):
            store.add_case(case(1), [event(1)], [notice()], replace(self.NAME, rid=case(1).request.rid))
        assert store.case(case(1).request.rid) is None
        assert list(store.events(DAY)) == [event()]

    def test_a_name_is_forgotten_at_its_time(self, store: Store) -> None:
        store.add_case(case(), [event()], [], self.NAME)
        assert store.ask_name(self.NAME.digest, NOW + 999) == self.NAME
        assert store.ask_name(self.NAME.digest, NOW + 1_000) is None
        later = replace(self.NAME, rid=case(1).request.rid, until_ms=NOW + 9_000)
        with pytest.raises(Conflict):
            store.remember_ask(later, NOW + 999)
        store.remember_ask(later, NOW + 1_000)
        assert store.ask_name(self.NAME.digest, NOW + 1_001) == later

    def test_one_of_many_asks_of_a_name_makes_the_request(self, store: Store) -> None:
        def add(n: int) -> int:
            store.add_case(case(n), [event(n)], [], replace(self.NAME, rid=case(n).request.rid))
            return n

        assert winners(add) == 1
        assert len(list(store.open_cases())) == len(list(store.events(DAY))) == 1


def test_what_counts_once_counts_for_one_of_many(store: Store) -> None:
    assert winners(lambda n: store.spend("d" * 64, NOW) or None) == 1
    assert not store.spend("d" * 64, NOW + 1)
    assert store.spend("e" * 64, NOW)


class TestPrecedents:
    def test_what_was_done_is_counted_by_its_shape(self, store: Store) -> None:
        one, other = case(0, RequestState.APPROVED), case(1, RequestState.APPROVED)
        shape = precedents.shape_of(one.request)
        for n, each in enumerate((one, other)):
            store.add_case(each, [event(n)], [])
        store.step_case(next_of(one, RequestState.APPROVED), [event(2)], [])
        assert store.precedent(shape) is None
        store.step_case(next_of(next_of(one, RequestState.USED)), [event(3)], [], done_ms=NOW + 3)
        store.step_case(next_of(other, RequestState.USED), [event(4)], [], done_ms=NOW + 9)
        assert store.precedent(shape) == Precedent(times=2, first_ms=NOW + 3, last_ms=NOW + 9)
        assert store.precedent("f" * 64) is None

    def test_a_step_that_does_not_happen_leaves_no_precedent(self, store: Store) -> None:
        made = case(0, RequestState.APPROVED)
        store.add_case(made, [event()], [])
        with pytest.raises(Conflict):
            store.step_case(next_of(next_of(made)), [event(1)], [], done_ms=NOW)
        assert store.precedent(precedents.shape_of(made.request)) is None
        assert store.used_in(made.request.sid) == []

    def test_a_session_names_what_was_used_inside_it(self, store: Store) -> None:
        one, other, elsewhere = (case(n, RequestState.APPROVED) for n in range(3))
        elsewhere = replace(elsewhere, request=replace(elsewhere.request, sid="ses_2"))
        for n, each in enumerate((one, other, elsewhere)):
            store.add_case(each, [event(n)], [])
        # The younger one first, and one of them twice.
        once = next_of(other)
        store.step_case(once, [event(4)], [], done_ms=NOW)
        store.step_case(next_of(once), [event(5)], [], done_ms=NOW)
        store.step_case(next_of(one), [event(6)], [], done_ms=NOW)
        store.step_case(next_of(elsewhere), [event(7)], [])
        assert store.used_in("ses_1") == [one.request.rid, other.request.rid]
        assert store.used_in("ses_2") == []

    def test_an_opened_session_is_one(self, store: Store) -> None:
        made = case(0, RequestState.APPROVED, kind="access", operation=None)
        store.add_case(made, [event()], [])
        store.open_approved_session(session(1), CUSTODY, next_of(made, RequestState.USED), [event(1)])
        found = store.precedent(precedents.shape_of(made.request))
        assert found == Precedent(times=1, first_ms=session(1).opened_ms, last_ms=session(1).opened_ms)


class TestNotices:
    def test_notices_are_due_in_order_and_not_before(self, store: Store) -> None:
        late = notice(3, due_ms=NOW + 500)
        store.add_case(case(), [event()], [notice(1), late, notice(0)])
        assert store.due_notices(NOW + 499, 9) == [notice(0), notice(1)]
        assert store.due_notices(NOW + 500, 9) == [notice(0), notice(1), late]
        assert store.due_notices(NOW + 500, 1) == [notice(0)]
        assert store.due_notices(NOW - 1, 9) == []

    def test_a_settled_notice_is_due_again_delivered_or_dead(self, store: Store) -> None:
        made = [notice(n) for n in range(3)]
        store.add_case(case(), [event()], made)
        again = replace(made[0], attempts=1, due_ms=NOW + 1_000, channels=["slack"], error="closed")
        store.settle_notice(again, 0, [event(1)])
        store.settle_notice(replace(made[1], attempts=1, channels=[]), 0, [event(2)])
        dead = replace(made[2], attempts=9, dead=True)
        store.settle_notice(dead, 0, [])
        assert store.due_notices(NOW + 9_999, 9) == [again]
        assert store.dead_notices(9) == [dead]
        assert len(list(store.events(DAY))) == 3

    def test_a_notice_is_settled_from_the_attempt_that_was_seen(self, store: Store) -> None:
        store.add_case(case(), [event()], [notice()])
        assert winners(lambda n: store.settle_notice(replace(notice(), attempts=1), 0, [event(n + 1)]) or n) == 1
        with pytest.raises(Conflict):
            store.settle_notice(replace(notice(9), attempts=1), 0, [])


class TestWaiters:
    def test_who_waits_is_known_until_the_socket_ends(self, store: Store) -> None:
        rid = case().request.rid
        assert store.waiting(rid) == []
        for name in ("w1", "w2"):
            assert store.connection_opened(socket(name, "waiting", rid)) is None
        assert store.waiting(rid) == ["w1", "w2"]
        closed = store.connection_closed("w1")
        assert closed is not None
        assert (closed.side, closed.owner) == ("waiting", rid)
        assert store.waiting(rid) == ["w2"]
        assert store.connection_closed("w1") is None
