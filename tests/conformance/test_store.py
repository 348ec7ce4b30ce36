"""What every store must do, on the fake and on DynamoDB."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.adapters.dynamodb import evidence
from chalicelib.contracts.audit import AgentTokenIssued, EvidenceAlert
from chalicelib.contracts.gateway import Control, Option, Protocol
from chalicelib.contracts.session import State
from chalicelib.ports import Conflict, Link, Notice, Person, Progress, SessionQuery, Store
from tests.conformance.rows import (
    CUSTODY,
    DAY,
    NOW,
    PROGRESS,
    SEED,
    agent,
    chunk,
    code,
    document,
    ended,
    enrolment,
    event,
    identifier,
    login,
    session,
    socket,
)

replace = msgspec.structs.replace


def enrol(store: Store, agent_id: str = "agt_one", token: str = "t0") -> None:
    store.save_enrolment(enrolment(token=token), event(int(token[1:]) * 10))
    store.enrol(token, agent(agent_id), event(int(token[1:]) * 10 + 1))


def live(store: Store, n: int = 0) -> str:
    opened = session(n)
    store.open_session(opened, CUSTODY, event(n * 10 + 5))
    store.step_session(replace(opened, state=State.LIVE), frozenset({State.OFFERED}), event(n * 10 + 6))
    return opened.sid


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


class TestAgents:
    def test_an_enrolment_is_found_until_it_is_used_or_expires(self, store: Store) -> None:
        store.save_enrolment(enrolment(), event())
        assert store.find_enrolment("t0", NOW) == enrolment()
        assert store.find_enrolment("t0", NOW + 1000) is None
        store.enrol("t0", agent(), event(1))
        assert store.find_enrolment("t0", NOW) is None

    def test_a_token_enrols_once(self, store: Store) -> None:
        enrol(store)
        with pytest.raises(Conflict):
            store.enrol("t0", agent("agt_two"), event(3))
        assert store.agent_named("edge") == agent()
        assert event(3) not in list(store.events(DAY))

    def test_an_agent_is_found_by_identifier_and_by_name(self, store: Store) -> None:
        assert store.agent("agt_one") is None
        assert store.agent_named("edge") is None
        enrol(store)
        assert store.agent("agt_one") == store.agent_named("edge") == agent()

    def test_a_replaced_agent_is_not_returned_any_more(self, store: Store) -> None:
        enrol(store)
        assert store.agent("agt_one") is not None
        enrol(store, "agt_two", "t1")
        assert store.agent("agt_one") is None
        assert store.agent_named("edge") == agent("agt_two")
        assert [found.agent_id for found in store.agents()] == ["agt_two"]

    def test_a_replaced_agent_is_a_custodian_with_what_it_enrolled_with(self, store: Store) -> None:
        assert store.custodian("agt_one") is None
        enrol(store)
        store.announce("agt_one", [], ["web-key"], "10.0.0.1:2222", NOW + 1)
        assert store.custodian("agt_one") == store.agent("agt_one")
        enrol(store, "agt_two", "t1")
        assert store.custodian("agt_one") == agent()
        assert store.custodian("agt_two") == agent("agt_two")
        assert store.custodian("agt_none") is None

    def test_agents_are_listed_by_name(self, store: Store) -> None:
        for number, name in enumerate(["west", "east"]):
            store.save_enrolment(enrolment(name, f"t{number}"), event(number))
            store.enrol(f"t{number}", agent(f"agt_{number}", name), event(number + 10))
        assert [found.name for found in store.agents()] == ["east", "west"]

    def test_an_announcement_is_remembered_whole(self, store: Store) -> None:
        enrol(store)
        protocol = Protocol(
            name="ssh",
            hint="ssh {target}",
            options=[Option(name="shell", type="string", doc="How.", choices=["a", "b"])],
            controls=[Control(name="record", enforced=True), Control(name="hold", enforced=False, why="not yet")],
        )
        store.announce("agt_one", [protocol], ["web-key"], "10.0.0.1:2222", NOW + 1)
        found = store.agent("agt_one")
        assert found == replace(agent(), protocols=[protocol], credentials=["web-key"], direct="10.0.0.1:2222", seen_ms=NOW + 1)

    def test_a_replaced_or_unknown_agent_cannot_announce_or_connect(self, store: Store) -> None:
        enrol(store)
        enrol(store, "agt_two", "t1")
        for stranger in ("agt_one", "agt_none"):
            with pytest.raises(Conflict):
                store.announce(stranger, [], [], "", NOW)
            with pytest.raises(Conflict):
                store.agent_connected(stranger, socket("c9", "control", stranger))
            store.agent_seen(stranger, NOW + 9, ["ses_1"])
        assert store.agent_named("edge") == agent("agt_two")

    def test_a_control_socket_replaces_the_one_before(self, store: Store) -> None:
        enrol(store)
        assert store.agent_connected("agt_one", socket("c1", "control", "agt_one")) == ""
        assert store.agent_connected("agt_one", socket("c2", "control", "agt_one")) == "c1"
        found = store.agent("agt_one")
        assert found is not None
        assert (found.connection, found.seen_ms) == ("c2", NOW)

    def test_the_end_of_an_older_control_socket_changes_nothing(self, store: Store) -> None:
        enrol(store)
        store.agent_connected("agt_one", socket("c1", "control", "agt_one"))
        store.agent_connected("agt_one", socket("c2", "control", "agt_one"))
        assert store.connection_closed("c1") == socket("c1", "control", "agt_one")
        assert store.agent("agt_one").connection == "c2"  # type: ignore[union-attr]
        store.connection_closed("c2")
        assert store.agent("agt_one").connection == ""  # type: ignore[union-attr]

    def test_a_heartbeat_names_the_sessions_that_live(self, store: Store) -> None:
        enrol(store)
        store.agent_seen("agt_one", NOW + 5, ["ses_1", "ses_2"])
        found = store.agent("agt_one")
        assert found is not None
        assert (found.seen_ms, found.live_ms, found.live) == (NOW + 5, NOW + 5, ["ses_1", "ses_2"])

    def test_a_heartbeat_says_whether_an_agent_takes_more(self, store: Store) -> None:
        enrol(store)
        said = []
        for refused in ("spool_full", "", "agent_full"):
            store.agent_seen("agt_one", NOW + 5, [], refused)
            said.append(store.agent("agt_one").refuses)  # type: ignore[union-attr]
        assert said == ["spool_full", "", "agent_full"]


class TestReaper:
    def test_since_when_it_has_come_without_a_gap(self, store: Store) -> None:
        came = [0, 60, 120, 299, 480, 540]
        since = [store.reaper_came(NOW + at * 1000, 180_000) for at in came]
        assert since == [0, 0, 0, 0, NOW + 480_000, NOW + 480_000]


class TestConnections:
    def test_both_ends_of_a_session_find_each_other(self, store: Store) -> None:
        assert store.link("ses_1") == Link()
        client = socket("c1", "client", "ses_1", deadline_ms=NOW + 9, ticket="t", ticket_until_ms=NOW + 1)
        assert store.connection_opened(client) == Link(client="c1", generation=1)
        assert store.connection_opened(socket("a1", "agent", "ses_1")) == Link(client="c1", agent="a1", generation=2)
        assert store.link("ses_1") == Link(client="c1", agent="a1", generation=2)
        assert store.connection("c1") == client

    def test_a_new_connection_takes_the_place_of_the_old_one(self, store: Store) -> None:
        store.connection_opened(socket("c1", "client", "ses_1"))
        store.connection_opened(socket("c2", "client", "ses_1"))
        store.connection_closed("c1")
        assert store.link("ses_1") == Link(client="c2", generation=2)

    def test_an_end_that_closes_is_cleared_and_counted(self, store: Store) -> None:
        store.connection_opened(socket("c1", "client", "ses_1"))
        assert store.connection_closed("c1") == socket("c1", "client", "ses_1")
        assert store.connection_closed("c1") is None
        assert store.connection("c1") is None
        assert store.link("ses_1") == Link(generation=2)

    def test_a_control_socket_has_no_link(self, store: Store) -> None:
        assert store.connection_opened(socket("c1", "control", "agt_one")) is None


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


class TestChunks:
    def test_chunks_move_the_head(self, store: Store) -> None:
        sid = live(store)
        first = chunk(0, SEED)
        second = chunk(1, first.chunk.chain)
        store.add_chunk(sid, first, SEED, PROGRESS)
        store.add_chunk(sid, second, first.chunk.chain, Progress(operations=4, denied=2, now_ms=NOW + 9))
        found = store.session(sid)
        assert found is not None
        assert (found.chunks, found.chain, found.operations, found.denied, found.seen_ms) == (
            2,
            second.chunk.chain,
            4,
            2,
            NOW + 9,
        )
        assert store.chunks(sid) == [first, second]
        assert store.chunk(sid, 1) == second
        assert store.chunk(sid, 2) is None

    def test_chunks_are_read_from_any_number_on(self, store: Store) -> None:
        sid, head = live(store), SEED
        for n in range(5):
            kept = chunk(n, head)
            store.add_chunk(sid, kept, head, PROGRESS)
            head = kept.chunk.chain
        numbers = [[each.chunk.n for each in store.chunks(sid, *asked)] for asked in ((), (3,), (1, 2), (5,), (0, 9))]
        assert numbers == [[0, 1, 2, 3, 4], [3, 4], [1, 2], [], [0, 1, 2, 3, 4]]

    def test_the_same_chunk_again_does_nothing(self, store: Store) -> None:
        sid = live(store)
        store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)
        store.add_chunk(sid, chunk(0, SEED), SEED, Progress(operations=9, denied=9, now_ms=NOW))
        assert store.session(sid).operations == 1  # type: ignore[union-attr]
        assert len(store.chunks(sid)) == 1

    def test_another_chunk_of_the_same_number_is_refused(self, store: Store) -> None:
        sid = live(store)
        store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)
        with pytest.raises(Conflict):
            store.add_chunk(sid, chunk(0, SEED, "0b" * 32), SEED, PROGRESS)
        assert store.chunks(sid) == [chunk(0, SEED)]

    @pytest.mark.parametrize(("n", "previous"), [(1, SEED), (0, "00" * 32)])
    def test_a_gap_or_another_head_is_refused(self, store: Store, n: int, previous: str) -> None:
        sid = live(store)
        with pytest.raises(Conflict):
            store.add_chunk(sid, chunk(n, SEED), previous, PROGRESS)
        assert store.chunks(sid) == []

    @pytest.mark.parametrize("state", [State.ENDED, State.KILLED])
    def test_a_session_that_is_over_takes_no_chunk(self, store: Store, state: State) -> None:
        sid = live(store)
        over = replace(session(), state=state)
        store.step_session(over, frozenset({State.LIVE}), ended(over))
        with pytest.raises(Conflict):
            store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)

    def test_an_interrupted_session_may_be_completed(self, store: Store) -> None:
        sid = live(store)
        over = replace(session(), state=State.INTERRUPTED)
        store.step_session(over, frozenset({State.LIVE}), ended(over))
        store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)
        found = store.session(sid)
        assert found is not None
        assert (found.state, found.chunks) == (State.INTERRUPTED, 1)

    def test_a_session_that_does_not_exist_takes_no_chunk(self, store: Store) -> None:
        with pytest.raises(Conflict):
            store.add_chunk("ses_none", chunk(0, SEED), SEED, PROGRESS)


class TestEvidence:
    def test_a_day_reads_in_order(self, store: Store) -> None:
        many = [event(n) for n in range(12)]
        store.record(many[6:])
        store.record(many[:6])
        assert list(store.events(DAY)) == many
        assert list(store.events("2026-09-20")) == []

    def test_events_come_back_as_what_they_were(self, store: Store) -> None:
        issued = AgentTokenIssued(id=identifier("evt", 1), time_ms=NOW, actor="pat", name="edge", expires_ms=NOW)
        store.record([issued])
        assert list(store.events(DAY)) == [issued]

    def test_more_events_than_one_transaction_holds(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(evidence, "TRANSACTION_LIMIT", 4)
        store.record([event(n) for n in range(11)])
        assert len(list(store.events(DAY))) == 11


def test_an_alert_is_raised_once(store: Store) -> None:
    event = EvidenceAlert(
        id=identifier("evt", 1),
        time_ms=NOW,
        actor="system",
        sid="",
        what="hidden",
        key="k",
        version="v2",
        first="",
        found_by="sweep",
    )
    notice = Notice(
        nid="ntc_1", rid="", about="evidence", groups=["platform"], time_ms=NOW, channels=["mail"], due_ms=NOW, text="Look."
    )
    assert store.alert("ab", event, [notice])
    assert not store.alert("ab", msgspec.structs.replace(event, id=identifier("evt", 2)), [])
    assert list(store.events(DAY)) == [event]
    assert store.due_notices(NOW, 10) == [notice]


def test_the_sweep_remembers_where_it_is(store: Store) -> None:
    assert store.sweep_mark() == ""
    for mark in ("recordings/x", ""):
        store.save_sweep_mark(mark)
        assert store.sweep_mark() == mark


def test_the_version_of_a_chunk_is_noted_once(store: Store) -> None:
    begun = live(store)
    store.add_chunk(begun, chunk(0, SEED), SEED, PROGRESS)
    assert store.chunk_arrived(begun, 7, "v1") == ""
    assert store.chunk_arrived(begun, 0, "v1") == "v1"
    assert store.chunk_arrived(begun, 0, "v2") == "v1"
    (stored,) = store.chunks(begun)
    assert stored.version == "v1"
    assert msgspec.structs.replace(stored, version="").is_same(store.chunk(begun, 0))


def test_an_agents_witness_key_and_what_it_saw(store: Store) -> None:
    enrol(store)
    store.enrol_witness("agt_one", "edge+0123abcd+BA==", event(7))
    assert event(7) in list(store.events(DAY))
    store.agent_alarmed("agt_one", "fork: two logs")
    found = store.agent("agt_one")
    assert found is not None
    assert (found.witness_key, found.alarm) == ("edge+0123abcd+BA==", "fork: two logs")
    store.agent_witnessed("agt_one", 7, NOW + 3)
    found = store.agent("agt_one")
    assert found is not None
    assert (found.witnessed, found.witnessed_ms, found.alarm) == (7, NOW + 3, "")
    for unknown in ("agt_two", "agt_three"):
        store.agent_alarmed(unknown, "x")
        store.agent_witnessed(unknown, 1, 1)
        with pytest.raises(Conflict):
            store.enrol_witness(unknown, "k", event(8))
    assert event(8) not in list(store.events(DAY))
