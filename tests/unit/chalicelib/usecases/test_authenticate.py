"""Who is asking, and everything that is no answer to that."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from chalicelib.contracts.capability import ACCESS_TYP, TICKET_TYP
from chalicelib.domain.agent_proof import Replays
from chalicelib.usecases.authenticate import (
    Asked,
    authenticate_agent,
    authenticate_custodian,
    authenticate_person,
    require_administrator,
)
from tests.fakes.kms import FakeSigner
from tests.fakes.world import ADMIN, ALICE, AgentKeys, World, person
from tests.unit.chalicelib.usecases.expecting import fault

ASKED = Asked(method="POST", path="/agent/announce", body=b"{}")


def access(world: World, signer: FakeSigner | None = None, typ: str = ACCESS_TYP, **changed: Any) -> str:
    claims = msgspec.to_builtins(ALICE) | changed
    return f"Bearer {(signer or world.signer).sign_token(typ, claims)}"


class TestPeople:
    def test_a_good_token_is_somebody(self) -> None:
        world = World()
        assert authenticate_person(world.ports, access(world)) == ALICE
        assert authenticate_person(world.ports, access(world).replace("Bearer", "bearer")) == ALICE

    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic x", "Agent x", "Resume x"])
    def test_without_a_token_a_login_is_required(self, header: str) -> None:
        with fault("login_required"):
            authenticate_person(World().ports, header)

    def test_a_ticket_is_not_an_access_token(self) -> None:
        world = World.ready()
        _, ticket = world.open()
        with fault("token_invalid"):
            authenticate_person(world.ports, f"Bearer {ticket}")
        with fault("token_invalid"):
            authenticate_person(world.ports, access(world, typ=TICKET_TYP))
        with fault("token_invalid"):
            authenticate_person(world.ports, access(world, typ="JWT"))

    def test_a_proof_or_a_resume_token_is_not_an_access_token(self) -> None:
        world = World.ready()
        proof = world.keys.proof(world.clock, "GET", "/whoami").removeprefix("Agent ")
        resume = world.routes.seal("resume", "ses", "client", "1")
        for token in (proof, resume, "x.y.z", "x"):
            with fault("token_invalid"):
                authenticate_person(world.ports, f"Bearer {token}")

    def test_another_gateways_token_is_refused(self) -> None:
        world = World()
        with fault("token_invalid"):
            authenticate_person(world.ports, access(world, FakeSigner()))
        with fault("token_invalid", "another gateway"):
            authenticate_person(world.ports, access(world, iss="https://other.example"))

    def test_times_are_held(self) -> None:
        world = World()
        token = access(world)
        world.clock.advance(3600)
        with fault("token_expired"):
            authenticate_person(world.ports, token)
        world.clock.advance(-3600 - 31)
        with fault("token_invalid"):
            authenticate_person(world.ports, token)

    @pytest.mark.parametrize("changed", [{"sub": 7}, {"exp": "never"}, {"groups": "platform"}])
    def test_claims_of_another_shape_are_refused(self, changed: dict[str, Any]) -> None:
        world = World()
        with fault("token_invalid"):
            authenticate_person(world.ports, access(world, **changed))


class TestAgents:
    def world(self) -> World:
        return World.ready()

    def ask(self, world: World, header: str, asked: Asked = ASKED, replays: Replays | None = None) -> str:
        return authenticate_agent(world.ports, replays or Replays(), header, asked).name

    def proof(self, world: World, **changed: Any) -> str:
        return world.keys.proof(world.clock, "POST", "/agent/announce", b"{}", **changed)

    def test_a_proof_of_this_request_is_an_agent(self) -> None:
        world = self.world()
        assert self.ask(world, self.proof(world)) == "edge"

    @pytest.mark.parametrize(
        "asked",
        [
            Asked(method="GET", path="/agent/announce", body=b"{}"),
            Asked(method="POST", path="/agent/sessions", body=b"{}"),
            Asked(method="POST", path="/agent/announce", body=b"{ }"),
            Asked(method="POST", path="/api/agent/announce", body=b"{}"),
        ],
    )
    def test_a_proof_of_another_request_is_refused(self, asked: Asked) -> None:
        world = self.world()
        with fault("agent_proof_invalid", "another request"):
            self.ask(world, self.proof(world), asked)

    def test_a_proof_is_used_once(self) -> None:
        world, replays = self.world(), Replays()
        proof = self.proof(world)
        self.ask(world, proof, replays=replays)
        with fault("agent_proof_invalid", "used before"):
            self.ask(world, proof, replays=replays)
        assert self.ask(world, self.proof(world), replays=replays) == "edge"

    def test_a_wrong_proof_does_not_use_up_an_identifier(self) -> None:
        world, replays = self.world(), Replays()
        forged = AgentKeys(agent_id=world.keys.agent_id).proof(world.clock, "POST", "/agent/announce", b"{}", jti="same-same")
        with fault("agent_proof_invalid"):
            self.ask(world, forged, replays=replays)
        assert self.ask(world, self.proof(world, jti="same-same"), replays=replays) == "edge"

    @pytest.mark.parametrize("seconds", [61, -61])
    def test_an_old_proof_is_refused(self, seconds: int) -> None:
        world = self.world()
        proof = self.proof(world)
        world.clock.advance(seconds)
        with fault("agent_proof_invalid", "too old"):
            self.ask(world, proof)

    @pytest.mark.parametrize("changed", [{"aud": "somewhere-else"}, {"sub": "agt_other"}])
    def test_a_proof_for_somebody_else_is_refused(self, changed: dict[str, str]) -> None:
        world = self.world()
        with fault("agent_proof_invalid", "somebody else"):
            self.ask(world, self.proof(world, **changed))

    def test_an_unknown_or_replaced_agent_is_refused(self) -> None:
        world = self.world()
        before = self.proof(world)
        world.enrol("edge", AgentKeys())
        with fault("agent_unknown"):
            self.ask(world, before)

    def test_a_replaced_agent_is_still_the_custodian_of_what_it_recorded(self) -> None:
        world = self.world()
        before, again = self.proof(world), self.proof(world, bsh=hashlib.sha256(b"more").hexdigest())
        forged = AgentKeys(agent_id=world.keys.agent_id).proof(world.clock, "POST", "/agent/announce", b"{}")
        world.enrol("edge", AgentKeys())
        found = authenticate_custodian(world.ports, Replays(), before, ASKED)
        assert (found.name, found.agent_id, found.connection) == ("edge", world.keys.agent_id, "")
        for proof in (again, forged):
            with fault("agent_proof_invalid"):
                authenticate_custodian(world.ports, Replays(), proof, ASKED)
        stranger = AgentKeys(agent_id="agt_01JD8QZ6T3N0V9C4K2M7X5B1HR").proof(world.clock, "POST", "/agent/announce", b"{}")
        with fault("agent_unknown"):
            authenticate_custodian(world.ports, Replays(), stranger, ASKED)

    def test_another_agents_key_is_refused(self) -> None:
        world = self.world()
        other = AgentKeys()
        world.enrol("west", other)
        other.agent_id = world.keys.agent_id
        with fault("agent_proof_invalid"):
            self.ask(world, other.proof(world.clock, "POST", "/agent/announce", b"{}"))

    @pytest.mark.parametrize("header", ["", "Agent", "Bearer x", "Agent x"])
    def test_anything_else_is_refused(self, header: str) -> None:
        with fault("agent_proof_invalid"):
            self.ask(self.world(), header)

    def test_a_persons_token_is_not_a_proof(self) -> None:
        world = self.world()
        token = access(world).removeprefix("Bearer ")
        with fault("agent_proof_invalid"):
            self.ask(world, f"Agent {token}")


class TestAdministrators:
    def test_the_group_may_always_administer(self) -> None:
        require_administrator(World().ports, ADMIN, "")

    def test_nobody_else_may_without_a_policy(self) -> None:
        with fault("denied"):
            require_administrator(World.ready().ports, ALICE, "")

    def test_a_policy_may_permit_it(self) -> None:
        from tests.fakes.world import FILES

        policy = '@id("leads") permit(principal in Group::"leads", action == Action::"administer", resource);'
        world = World.ready(FILES | {"admin.cedar": policy})
        require_administrator(world.ports, person("lea@example.com", "leads"), "192.0.2.1")
        with fault("denied"):
            require_administrator(world.ports, ALICE, "not an address")
