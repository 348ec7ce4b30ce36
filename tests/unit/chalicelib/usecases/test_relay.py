"""The relay: who may open a socket, what a message does, what happens when one ends."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from chalicelib.contracts.api import SessionClaim, SessionClose
from chalicelib.contracts.session import State
from chalicelib.domain.agent_proof import Replays
from chalicelib.ports import Connection
from chalicelib.usecases.claim_session import claim_session
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.close_socket import close_socket
from chalicelib.usecases.connect_socket import Opening, connect_socket
from chalicelib.usecases.relay_frame import relay_frame
from tests.fakes.world import AgentKeys, World
from tests.unit.chalicelib.usecases.expecting import fault

replace = msgspec.structs.replace


class Relayed:
    """A session with both ends connected and introduced."""

    def __init__(self) -> None:
        self.world = World.ready()
        self.replays = Replays()
        self.sid, self.ticket = self.world.open()
        self.sent = self.world.downlink.sent

    def connect(self, connection: str, authorization: str, **more: str) -> Connection:
        return connect_socket(self.world.ports, self.replays, Opening(connection=connection, authorization=authorization, **more))

    def client(self, connection: str = "c1") -> Connection:
        return self.connect(connection, f"Bearer {self.ticket}")

    def agent(self, connection: str = "a1", keys: AgentKeys | None = None, **changed: str) -> Connection:
        proof = (keys or self.world.keys).proof(self.world.clock, "GET", "/ws")
        return self.connect(connection, proof, **({"socket": "session", "session": self.sid} | changed))

    def say(self, sender: str, **message: Any) -> None:
        relay_frame(self.world.ports, sender, json.dumps(message))

    def last(self, connection: str) -> dict[str, Any]:
        return self.sent[connection][-1]

    def introduced(self) -> Relayed:
        self.client()
        self.agent()
        self.say("c1", t="hello")
        return self


class TestConnect:
    def test_a_ticket_opens_the_clients_end(self) -> None:
        relayed = Relayed()
        found = relayed.client()
        assert (found.side, found.owner) == ("client", relayed.sid)
        assert relayed.world.store.link(relayed.sid).client == "c1"

    def test_nothing_is_posted_while_a_socket_is_being_made(self) -> None:
        relayed = Relayed()
        before = {name: list(each) for name, each in relayed.sent.items()}
        relayed.client()
        relayed.agent()
        assert relayed.sent == before

    @pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", "Resume", "Resume x.y", "Basic x", "Ticket x"])
    def test_anything_else_opens_nothing(self, authorization: str) -> None:
        relayed = Relayed()
        with pytest.raises(Exception) as caught:
            relayed.connect("c1", authorization)
        assert getattr(caught.value, "code", "") in ("login_required", "ticket_invalid")
        assert "c1" not in relayed.world.store.connections

    def test_an_access_token_is_not_a_ticket(self) -> None:
        from chalicelib.contracts.capability import ACCESS_TYP
        from tests.fakes.world import ALICE

        relayed = Relayed()
        token = relayed.world.signer.sign_token(ACCESS_TYP, msgspec.to_builtins(ALICE))
        with fault("ticket_invalid"):
            relayed.connect("c1", f"Bearer {token}")

    def test_a_ticket_lives_a_minute(self) -> None:
        relayed = Relayed()
        relayed.world.clock.advance(60)
        with fault("ticket_expired"):
            relayed.client()

    @pytest.mark.parametrize("over", [State.EXPIRED, State.ENDED, State.KILLED, State.INTERRUPTED, State.DENIED])
    def test_a_session_that_is_over_takes_no_socket(self, over: State) -> None:
        relayed = Relayed().introduced()
        resume = relayed.last("c1")["resume"]
        session, custody = relayed.world.store.kept[relayed.sid]
        relayed.world.store.kept[relayed.sid] = (replace(session, state=over), custody)
        for attempt in (
            lambda: relayed.client("c2"),
            lambda: relayed.connect("c2", f"Resume {resume}"),
            lambda: relayed.agent("a2"),
        ):
            with pytest.raises(Exception) as caught:
                attempt()
            assert getattr(caught.value, "code", "") in ("session_expired", "session_ended", "session_killed", "unknown_session")

    def test_an_agent_opens_its_own_sessions_only(self) -> None:
        relayed = Relayed()
        west = AgentKeys()
        relayed.world.enrol("west", west)
        with fault("unknown_session"):
            relayed.agent(keys=west)
        with fault("unknown_session"):
            relayed.agent(session="ses_01JD8QZ6T3N0V9C4K2M7X5B1HR")
        with fault("bad_request"):
            relayed.agent(socket="client")
        with fault("bad_request"):
            relayed.agent(socket="")

    def test_a_proof_opens_one_socket(self) -> None:
        relayed = Relayed()
        proof = relayed.world.keys.proof(relayed.world.clock, "GET", "/ws")
        relayed.connect("a1", proof, socket="control")
        with fault("agent_proof_invalid"):
            relayed.connect("a2", proof, socket="control")

    def test_a_proof_for_a_request_opens_no_socket(self) -> None:
        relayed = Relayed()
        for method, path in (("POST", "/agent/announce"), ("GET", "/"), ("GET", "/agents")):
            with fault("agent_proof_invalid"):
                relayed.connect("a1", relayed.world.keys.proof(relayed.world.clock, method, path), socket="control")

    def test_a_new_control_socket_closes_the_old_one(self) -> None:
        relayed = Relayed()
        relayed.connect("control-2", relayed.world.keys.proof(relayed.world.clock, "GET", "/ws"), socket="control")
        assert relayed.world.downlink.closed == ["control-1"]
        assert relayed.world.agent.connection == "control-2"

    def test_a_replaced_agent_opens_nothing(self) -> None:
        relayed = Relayed()
        relayed.world.enrol("edge", AgentKeys())
        with fault("agent_unknown"):
            relayed.agent(socket="control")


class TestResume:
    def test_each_side_resumes_as_itself(self) -> None:
        relayed = Relayed().introduced()
        assert relayed.connect("c2", f"Resume {relayed.last('c1')['resume']}").side == "client"
        assert relayed.connect("a2", f"Resume {relayed.last('a1')['resume']}").side == "agent"
        link = relayed.world.store.link(relayed.sid)
        assert (link.client, link.agent, link.generation) == ("c2", "a2", 4)

    def test_a_foreign_or_forged_resume_token_is_refused(self) -> None:
        relayed = Relayed().introduced()
        routes = relayed.world.routes
        elsewhere = World.ready().routes
        deadline = str(relayed.world.store.session(relayed.sid).deadline_ms)  # type: ignore[union-attr]
        for token in (
            relayed.last("c1")["r"],
            routes.seal("route", relayed.sid, "client", deadline),
            routes.seal("resume", relayed.sid, "client", "99999999999999"),
            routes.seal("resume", relayed.sid, "client", "soon"),
            routes.seal("resume", relayed.sid, "client"),
        ):
            with fault("ticket_invalid"):
                relayed.connect("c2", f"Resume {token}")
        with fault("unknown_session"):
            relayed.connect("c2", f"Resume {routes.seal('resume', relayed.sid, 'control', deadline)}")
        assert elsewhere.seal("resume", "x") == routes.seal("resume", "x")

    def test_a_resume_token_ends_with_the_session(self) -> None:
        relayed = Relayed().introduced()
        resume = relayed.last("c1")["resume"]
        relayed.world.clock.advance(3600)
        with fault("session_expired"):
            relayed.connect("c2", f"Resume {resume}")


class TestFrames:
    def test_both_ends_are_introduced_and_frames_pass_unread(self) -> None:
        relayed = Relayed().introduced()
        client, agent = relayed.last("c1"), relayed.last("a1")
        assert client["t"] == agent["t"] == "route"
        assert client["gen"] == agent["gen"] == 2
        relayed.say("c1", t="d", r=client["r"], f="not base64 at all")
        assert relayed.last("a1") == {"t": "f", "f": "not base64 at all"}
        relayed.say("a1", t="d", r=agent["r"], f="x")
        assert relayed.last("c1") == {"t": "f", "f": "x"}

    def test_a_frame_reads_no_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        relayed = Relayed().introduced()
        route = relayed.last("c1")["r"]

        def touched(*_: object) -> None:
            raise AssertionError("a frame must not cost a read")

        for name in ("connection", "link", "session", "agent", "entrusted", "config_version"):
            monkeypatch.setattr(relayed.world.store, name, touched)
        relayed.say("c1", t="d", r=route, f="x")
        assert relayed.last("a1") == {"t": "f", "f": "x"}

    def test_a_route_is_good_from_its_own_connection_only(self) -> None:
        relayed = Relayed().introduced()
        route = relayed.last("c1")["r"]
        relayed.say("stranger", t="d", r=route, f="x")
        assert relayed.last("stranger")["code"] == "route_invalid"
        relayed.say("a1", t="d", r=route, f="x")
        assert relayed.last("a1")["code"] == "route_invalid"
        assert {"t": "f", "f": "x"} not in relayed.sent["a1"] + relayed.sent["c1"]

    @pytest.mark.parametrize("kind", ["resume", "other"])
    def test_a_forged_route_is_refused(self, kind: str) -> None:
        relayed = Relayed().introduced()
        for route in ("x", "x.y", relayed.world.routes.seal(kind, "c1", "a1", "2", "9999999999999")):
            relayed.say("c1", t="d", r=route, f="x")
            assert relayed.last("c1")["code"] == "route_invalid"
        assert all(message["t"] != "f" for message in relayed.sent["a1"])

    def test_a_route_ends_with_the_grant(self) -> None:
        relayed = Relayed().introduced()
        route = relayed.last("c1")["r"]
        relayed.world.clock.advance(3600 + 121)
        relayed.say("c1", t="d", r=route, f="x")
        assert relayed.last("c1")["code"] == "session_ended"

    def test_a_peer_that_is_gone_is_told_with_the_generation_that_failed(self) -> None:
        relayed = Relayed().introduced()
        relayed.world.downlink.gone.add("a1")
        relayed.say("c1", t="d", r=relayed.last("c1")["r"], f="x")
        assert relayed.last("c1") == {"t": "lost", "code": "tunnel_lost", "gen": 2}

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"t":"d"}', '{"t":"d","r":1,"f":"x"}', "\ud800"])
    def test_nonsense_is_answered_and_not_raised(self, text: str) -> None:
        relayed = Relayed().introduced()
        relay_frame(relayed.world.ports, "c1", text)
        assert relayed.last("c1")["t"] in ("refused", "route")

    def test_unknown_words_are_ignored(self) -> None:
        relayed = Relayed().introduced()
        before = len(relayed.sent["c1"])
        relayed.say("c1", t="new-word", x=1)
        relayed.say("c1", t="route", r="x", resume="y", gen=1)
        relayed.say("c1", t="beat")
        assert len(relayed.sent["c1"]) == before


class TestHello:
    def test_alone_an_agent_waits(self) -> None:
        relayed = Relayed()
        relayed.agent()
        relayed.say("a1", t="hello")
        assert relayed.sent["a1"] == []

    def test_a_lost_offer_is_made_again_while_the_ticket_is_good(self) -> None:
        relayed = Relayed()
        relayed.client()
        relayed.say("c1", t="hello")
        offer = {"t": "offer", "sid": relayed.sid, "ticket": relayed.ticket}
        assert relayed.sent["control-1"][-2:] == [offer, offer]
        relayed.world.clock.advance(61)
        relayed.say("c1", t="hello")
        assert len([message for message in relayed.sent["control-1"] if message == offer]) == 2

    def test_a_client_whose_agent_never_took_the_session_is_sent_away_when_its_ticket_ends(self) -> None:
        relayed = Relayed().introduced()
        resume = relayed.last("c1")["resume"]
        close_socket(relayed.world.ports, "a1")
        close_socket(relayed.world.ports, "c1")
        # Its socket broke as well, and a token that resumes brings no ticket that could be offered again.
        relayed.connect("c2", f"Resume {resume}")
        relayed.say("c2", t="hello")
        assert "c2" not in relayed.sent
        relayed.world.clock.advance(61)
        relayed.say("c2", t="hello")
        assert (relayed.last("c2")["t"], relayed.last("c2")["code"]) == ("refused", "session_expired")

    def test_an_agent_that_is_away_is_told(self) -> None:
        relayed = Relayed()
        relayed.client()
        relayed.world.downlink.gone.add("control-1")
        relayed.say("c1", t="hello")
        assert relayed.last("c1") == {"t": "lost", "code": "agent_offline"}
        assert relayed.world.agent.connection == ""
        relayed.say("c1", t="hello")
        assert relayed.last("c1") == {"t": "lost", "code": "agent_offline"}

    @pytest.mark.parametrize("late", ["said hello before", "says hello after"])
    def test_a_client_that_came_while_the_session_ended_is_sent_away(self, late: str) -> None:
        relayed = Relayed().introduced()
        world, sid = relayed.world, relayed.sid
        claim_session(world.ports, world.agent, sid, SessionClaim(path="relay"))
        close_socket(world.ports, "a1")
        relayed.client("c2")
        if late == "said hello before":
            relayed.say("c2", t="hello")
            assert "c2" not in relayed.sent
        session = world.store.session(sid)
        assert session is not None
        closing = SessionClose(state="ended", chunks=session.chunks, chain=session.chain, operations=0, denied=0)
        close_session(world.ports, world.agent, sid, closing)
        if late == "says hello after":
            relayed.sent["c2"].clear()
            relayed.say("c2", t="hello")
        assert (relayed.last("c2")["t"], relayed.last("c2")["code"]) == ("refused", "session_ended")

    def test_an_end_that_was_replaced_is_told_so(self) -> None:
        relayed = Relayed().introduced()
        relayed.client("c2")
        relayed.say("c1", t="hello")
        assert (relayed.last("c1")["t"], relayed.last("c1")["code"]) == ("refused", "route_invalid")
        relayed.say("c2", t="hello")
        assert relayed.last("c2")["gen"] == relayed.last("a1")["gen"] == 3

    def test_a_stranger_and_a_control_socket_are_no_ends(self) -> None:
        relayed = Relayed().introduced()
        for connection in ("stranger", "control-1"):
            relayed.say(connection, t="hello")
            assert relayed.last(connection)["code"] == "route_invalid"

    def test_a_peer_that_died_silently_is_cleared(self) -> None:
        relayed = Relayed().introduced()
        relayed.world.downlink.gone.add("a1")
        relayed.say("c1", t="hello")
        assert relayed.world.store.link(relayed.sid).agent == "a1", "a socket that is only opening is not forgotten"
        relayed.world.clock.advance(31)
        relayed.say("c1", t="hello")
        assert relayed.world.store.link(relayed.sid).agent == ""


class TestBeats:
    def test_a_control_socket_says_what_lives(self) -> None:
        relayed = Relayed()
        relayed.world.clock.advance(5)
        relayed.say("control-1", t="beat", live=[relayed.sid])
        agent = relayed.world.agent
        assert (agent.live, agent.live_ms) == ([relayed.sid], relayed.world.clock.now)

    def test_a_control_socket_says_whether_its_agent_takes_more(self) -> None:
        relayed = Relayed()
        for said in ("spool_full", ""):
            relayed.say("control-1", t="beat", live=[], **({"refuses": said} if said else {}))
            assert relayed.world.agent.refuses == said

    def test_a_session_socket_says_nothing_of_others(self) -> None:
        relayed = Relayed().introduced()
        relayed.say("c1", t="beat", live=["ses_other"])
        relayed.say("stranger", t="beat", live=["ses_other"])
        assert relayed.world.agent.live == []


class TestDisconnect:
    def test_the_other_end_is_told(self) -> None:
        relayed = Relayed().introduced()
        close_socket(relayed.world.ports, "a1")
        assert relayed.last("c1") == {"t": "lost", "code": "tunnel_lost", "gen": 2}
        assert relayed.world.store.link(relayed.sid).agent == ""

    def test_the_end_of_a_replaced_socket_disturbs_nobody(self) -> None:
        relayed = Relayed().introduced()
        relayed.client("c2")
        before = len(relayed.sent["a1"])
        close_socket(relayed.world.ports, "c1")
        assert relayed.world.store.link(relayed.sid).client == "c2"
        assert len(relayed.sent["a1"]) == before

    def test_an_agent_without_its_control_socket_is_away(self) -> None:
        relayed = Relayed()
        close_socket(relayed.world.ports, "control-1")
        assert relayed.world.agent.connection == ""
        assert close_socket(relayed.world.ports, "control-1") is None
