"""What every store must do for people, configurations and sessions, on the fake and on DynamoDB."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.session import State
from chalicelib.ports import Conflict, Person, SessionQuery, Store
from tests.conformance.rows import (
    CUSTODY,
    DAY,
    NOW,
    PROGRESS,
    SEED,
    chunk,
    code,
    document,
    ended,
    event,
    live,
    login,
    session,
)

replace = msgspec.structs.replace


class TestPeople:
    def test_a_login_is_taken_once(self, store: Store) -> None:
        store.save_login(login())
        assert store.take_login("s" * 43, NOW) == login()
        assert store.take_login("s" * 43, NOW) is None

    def test_an_expired_login_is_not_taken(self, store: Store) -> None:
        store.save_login(login())
        assert store.take_login("s" * 43, NOW + 1000) is None

    def test_an_unknown_login_is_none(self, store: Store) -> None:
        assert store.take_login("nothing", NOW) is None

    def test_a_code_is_taken_once_and_its_event_is_kept(self, store: Store) -> None:
        store.save_code(code(), event(1))
        assert store.take_code("ab", NOW) == code()
        assert store.take_code("ab", NOW) is None
        assert list(store.events(DAY)) == [event(1)]

    def test_a_person_is_who_the_newest_login_showed(self, store: Store) -> None:
        assert store.person("alice@example.com") is None
        store.save_code(code(email="alice@example.com"), event(1))
        store.save_code(code(code_sha256="cd", groups=["sre"], email=""), event(2))
        found = store.person("alice@example.com")
        assert found == Person(principal="alice@example.com", email="", groups=["sre"], seen_ms=NOW + 2)

    def test_a_person_is_kept_without_a_code(self, store: Store) -> None:
        person = Person(principal="alice@example.com", email="", groups=["sre"], seen_ms=NOW)
        store.save_person(person, event(1))
        assert store.person("alice@example.com") == person
        assert list(store.events(DAY)) == [event(1)]

    def test_an_expired_code_is_not_taken(self, store: Store) -> None:
        store.save_code(code(), event(1))
        assert store.take_code("ab", NOW + 1000) is None

    def test_a_revoked_token_stays_revoked(self, store: Store) -> None:
        assert not store.is_revoked("lgn_1")
        store.revoke_token("lgn_1", NOW + 1000, event())
        store.revoke_token("lgn_1", NOW + 1000, event(1))
        assert store.is_revoked("lgn_1")
        assert not store.is_revoked("lgn_2")


class TestConfiguration:
    def test_there_is_no_version_before_the_first(self, store: Store) -> None:
        assert store.config_version() == 0
        assert store.config(0) is None
        assert store.config_files(0) == {}

    def test_versions_follow_each_other_and_stay(self, store: Store) -> None:
        store.apply_config(document(1), {"gateway.yaml": "version: 1"}, event(1))
        store.apply_config(document(2), {"gateway.yaml": "version: 1 # ü"}, event(2))
        assert store.config_version() == 2
        assert store.config(1) == document(1)
        assert store.config(2) == document(2)
        assert store.config_files(1) == {"gateway.yaml": "version: 1"}
        assert store.config_files(2) == {"gateway.yaml": "version: 1 # ü"}

    @pytest.mark.parametrize("version", [1, 3])
    def test_only_the_next_version_is_accepted(self, store: Store, version: int) -> None:
        store.apply_config(document(1), {}, event(1))
        with pytest.raises(Conflict):
            store.apply_config(document(version), {"x": "y"}, event(2))
        assert store.config_version() == 1
        assert list(store.events(DAY)) == [event(1)]


class TestSessions:
    def test_a_session_is_kept_with_its_custody_and_its_event(self, store: Store) -> None:
        store.open_session(session(), CUSTODY, event(1))
        assert store.session(session().sid) == session()
        assert store.entrusted(session().sid) == (session(), CUSTODY)
        assert list(store.events(DAY)) == [event(1)]
        assert store.session("ses_none") is None
        assert store.entrusted("ses_none") is None

    def test_an_identifier_is_used_once(self, store: Store) -> None:
        store.open_session(session(), CUSTODY, event(1))
        with pytest.raises(Conflict):
            store.open_session(replace(session(), principal="mallory@example.com"), CUSTODY, event(2))
        assert store.session(session().sid) == session()
        assert list(store.events(DAY)) == [event(1)]

    def test_a_step_happens_from_the_right_state_only(self, store: Store) -> None:
        store.open_session(session(), CUSTODY, event(1))
        step = replace(session(), state=State.LIVE, path="relay", started_ms=NOW, seen_ms=NOW)
        store.step_session(step, frozenset({State.OFFERED}), event(2))
        assert store.entrusted(step.sid) == (step, CUSTODY)
        with pytest.raises(Conflict):
            store.step_session(step, frozenset({State.OFFERED}), event(3))
        assert list(store.events(DAY)) == [event(1), event(2)]

    def test_a_step_does_not_forget_a_chunk_that_came_in_between(self, store: Store) -> None:
        sid = live(store)
        seen = store.session(sid)
        assert seen is not None
        store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)
        over = replace(seen, state=State.ENDED)
        with pytest.raises(Conflict):
            store.step_session(over, frozenset({State.LIVE}), ended(over))
        assert store.session(sid).chunks == 1  # type: ignore[union-attr]

    def test_a_session_that_does_not_exist_cannot_step(self, store: Store) -> None:
        with pytest.raises(Conflict):
            store.step_session(session(7), frozenset({State.OFFERED}), event(1))
        assert store.session(session(7).sid) is None

    def test_unfinished_sessions_are_those_that_are_offered_or_live(self, store: Store) -> None:
        for n in range(12):
            store.open_session(session(n), CUSTODY, event(n))
        store.open_session(session(20, State.DENIED), CUSTODY, event(20))
        for n, state in ((0, State.EXPIRED), (1, State.LIVE)):
            over = replace(session(n), state=state)
            store.step_session(over, frozenset({State.OFFERED}), event(n + 30))
        found = {each.sid for each in store.unfinished()}
        assert found == {session(n).sid for n in range(1, 12)}

    def test_a_listing_goes_back_in_time_page_by_page(self, store: Store) -> None:
        for n in range(5):
            store.open_session(session(n), CUSTODY, event(n))
        store.open_session(session(0, at_ms=NOW + 86_400_000), CUSTODY, event(9))
        first, cursor = store.sessions(SessionQuery(day=DAY), 3, "")
        assert [each.sid for each in first] == [session(n).sid for n in (4, 3, 2)]
        second, _ = store.sessions(SessionQuery(day=DAY), 3, cursor)
        assert [each.sid for each in second] == [session(n).sid for n in (1, 0)]

    def test_the_last_page_has_no_cursor(self, store: Store) -> None:
        store.open_session(session(), CUSTODY, event())
        assert store.sessions(SessionQuery(day=DAY), 3, "")[1] == ""
        assert store.sessions(SessionQuery(day="2026-09-20"), 3, "") == ([], "")

    def test_a_listing_is_filtered(self, store: Store) -> None:
        store.open_session(session(0), CUSTODY, event(0))
        store.open_session(session(1, principal="bob@example.com"), CUSTODY, event(1))
        store.open_session(session(2, target="db-1"), CUSTODY, event(2))
        store.open_session(session(3, State.DENIED), CUSTODY, event(3))

        def listed(**wanted: str) -> list[str]:
            return [each.sid for each in store.sessions(SessionQuery(day=DAY, **wanted), 10, "")[0]]

        assert listed(principal="bob@example.com") == [session(1).sid]
        assert listed(target="db-1") == [session(2).sid]
        assert listed(state="denied") == [session(3).sid]
        assert listed(principal="bob@example.com", target="db-1") == []
