"""Targets as people see them; agents from token to announcement."""

from __future__ import annotations

import asyncssh
import msgspec
import pytest

from chalicelib.contracts.api import AgentAnnounce, AgentTokenRequest
from chalicelib.contracts.audit import AgentEnrolled, AgentTokenIssued
from chalicelib.usecases.announce_agent import announce_agent
from chalicelib.usecases.enroll_agent import enroll_agent
from chalicelib.usecases.issue_agent_token import issue_agent_token
from chalicelib.usecases.list_agents import list_agents
from chalicelib.usecases.list_targets import list_targets
from tests.fakes.world import ADMIN, ALICE, FILES, MALLORY, SSH, AgentKeys, World
from tests.unit.chalicelib.usecases.expecting import fault

replace = msgspec.structs.replace


class TestTargets:
    def test_only_what_one_may_connect_to_exists(self) -> None:
        world = World.ready()
        (view,) = list_targets(world.ports, ALICE, "").targets
        assert (view.name, view.logins, view.agent, view.online) == ("web-1", ["deploy"], "edge", True)
        assert (view.hint, view.host_alias, view.tags) == ("ssh web-1", "web-1.sallyport", ["prod"])
        assert list_targets(world.ports, MALLORY, "").targets == []

    def test_a_reason_that_a_rule_asks_for(self) -> None:
        rule = 'permit(principal, action == Action::"connect", resource in Tag::"restricted") when { context.reason != "" };'
        world = World.ready(FILES | {"more.cedar": rule})
        assert [view.name for view in list_targets(world.ports, MALLORY, "").targets] == []
        assert [view.name for view in list_targets(world.ports, MALLORY, "", "INC-7").targets] == ["db-1"]
        with fault("too_large"):
            list_targets(world.ports, MALLORY, "", "x" * 2_001)

    def test_a_view_holds_no_addresses_and_no_credentials(self) -> None:
        world = World.ready()
        text = msgspec.json.encode(list_targets(world.ports, ALICE, "")).decode()
        assert "10.0.0" not in text
        assert "key" not in text

    def test_a_target_whose_agent_is_away_is_listed_as_such(self) -> None:
        world = World.ready()
        world.store.connection_closed("control-1")
        assert [view.online for view in list_targets(world.ports, ALICE, "").targets] == [False]


class TestEnrolment:
    def test_a_token_becomes_an_agent_once(self) -> None:
        world, keys = World(), AgentKeys()
        token = issue_agent_token(world.ports, ADMIN, AgentTokenRequest(name="edge")).token
        found = enroll_agent(world.ports, keys.enrolment(token))
        assert (found.name, found.trust.issuer) == ("edge", "https://gw.example")
        assert found.trust.token_key == world.signer.token_key()
        with fault("enrolment_invalid"):
            enroll_agent(world.ports, keys.enrolment(token))
        issued, enrolled = world.store.recorded
        assert isinstance(issued, AgentTokenIssued)
        assert isinstance(enrolled, AgentEnrolled)
        assert token not in repr(world.store.recorded)

    @pytest.mark.parametrize("name", ["", "Edge", "../edge", "a.b", "x" * 64, "edge\n"])
    def test_an_agent_has_a_plain_name(self, name: str) -> None:
        with fault("bad_request"):
            issue_agent_token(World().ports, ADMIN, AgentTokenRequest(name=name))

    def test_a_token_lives_an_hour(self) -> None:
        world = World()
        token = issue_agent_token(world.ports, ADMIN, AgentTokenRequest(name="edge")).token
        world.clock.advance(3600)
        with fault("enrolment_invalid"):
            enroll_agent(world.ports, AgentKeys().enrolment(token))

    @pytest.mark.parametrize("changed", [{"public_key": "AAAA"}, {"public_key": "x=" * 9}, {"ssh_host_key": "ssh-rsa AAAA"}])
    def test_bad_keys_do_not_use_the_token(self, changed: dict[str, str]) -> None:
        world = World()
        asked = AgentKeys().enrolment(issue_agent_token(world.ports, ADMIN, AgentTokenRequest(name="edge")).token)
        with fault("bad_request"):
            enroll_agent(world.ports, replace(asked, **changed))
        assert enroll_agent(world.ports, asked).name == "edge"

    def test_enrolling_again_replaces_and_disconnects_the_former(self) -> None:
        world = World.ready()
        former = world.keys.agent_id
        newer = AgentKeys()
        world.enrol("edge", newer)
        assert world.downlink.closed == ["control-1"]
        assert world.store.agent(former) is None
        assert world.store.recorded[-1].replaced == former  # type: ignore[union-attr]
        (view,) = list_agents(world.ports).agents
        assert (view.agent_id, view.online, view.protocols) == (newer.agent_id, False, [])


class TestAnnouncement:
    ASKED = AgentAnnounce(protocols=[SSH], credentials=["web-key"], direct="")

    def test_an_agent_learns_its_own_targets_and_every_rule(self) -> None:
        world = World.ready()
        found = announce_agent(world.ports, world.agent, self.ASKED)
        assert [target.name for target in found.document.targets] == ["web-1", "db-1"]
        assert [rule.id for rule in found.document.rules] == ["sre", "no-root", "auditors"]
        assert found.document.version == 1
        certificate = asyncssh.import_certificate(found.ssh_host_certificate)
        assert certificate.principals == ["web-1.sallyport", "db-1.sallyport"]
        assert found.expires_ms == (world.clock.now // 1000 + 48 * 3600) * 1000

    def test_another_agents_targets_are_not_told(self) -> None:
        world, west = World.ready(), AgentKeys()
        agent = world.enrol("west", west)
        found = announce_agent(world.ports, agent, self.ASKED)
        assert found.document.targets == []
        assert asyncssh.import_certificate(found.ssh_host_certificate).principals == ["west.agent.sallyport"]

    @pytest.mark.parametrize(
        "changed",
        [
            {"protocols": [SSH, SSH]},
            {"protocols": [replace(SSH, name="../ssh")]},
            {"direct": "host"},
            {"direct": "http://host:1"},
            {"direct": "a b:1"},
        ],
    )
    def test_announcements_of_another_shape_are_refused(self, changed: dict[str, object]) -> None:
        world = World.ready()
        with fault("bad_request"):
            announce_agent(world.ports, world.agent, replace(self.ASKED, **changed))  # type: ignore[arg-type]

    def test_too_much_is_refused(self) -> None:
        world = World.ready()
        with fault("too_large"):
            announce_agent(world.ports, world.agent, replace(self.ASKED, credentials=["x"] * 1001))

    def test_an_agent_that_was_replaced_meanwhile_is_refused(self) -> None:
        world = World.ready()
        former = world.agent
        world.enrol("edge", AgentKeys())
        with fault("agent_unknown"):
            announce_agent(world.ports, former, self.ASKED)
