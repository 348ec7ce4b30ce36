"""What every store must do with agents and their connections, on the fake and on DynamoDB."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.gateway import Control, Option, Protocol
from chalicelib.ports import Conflict, Link, Store
from tests.conformance.rows import (
    DAY,
    NOW,
    agent,
    enrol,
    enrolment,
    event,
    socket,
)

replace = msgspec.structs.replace


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
