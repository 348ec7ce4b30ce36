"""Sessions as agents see them: claim, chunks, report, close, direct."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chalicelib.contracts.api import (
    ChunkUpload,
    DeniedOperation,
    DirectOpen,
    LearnedHostKey,
    SessionClaim,
    SessionClose,
    SessionReport,
)
from chalicelib.contracts.audit import HostKeyTrusted, OperationDenied, SessionDenied, SessionEnded, SessionStarted, TargetRefused
from chalicelib.contracts.capability import TICKET_TYP
from chalicelib.contracts.faults import Notice
from chalicelib.contracts.session import State
from chalicelib.domain import ssh_certificate
from chalicelib.domain.ssh_certificate import Person
from chalicelib.ports import Agent
from chalicelib.usecases.certify import certify
from chalicelib.usecases.claim_session import claim_session
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.log_out import log_out
from chalicelib.usecases.open_direct_session import open_direct_session
from chalicelib.usecases.register_chunk import register_chunk
from chalicelib.usecases.report_session import report_session
from tests.fakes.world import ALICE, AgentKeys, World
from tests.unit.chalicelib.usecases.expecting import fault

replace = msgspec.structs.replace
RELAY = SessionClaim(path="relay")


def state(world: World, sid: str) -> State:
    session = world.store.session(sid)
    assert session is not None
    return session.state


def step(world: World, sid: str, to: State) -> None:
    session, custody = world.store.kept[sid]
    world.store.kept[sid] = (replace(session, state=to), custody)


def other_agent(world: World) -> Agent:
    return world.enrol("west", AgentKeys())


def closing(world: World, sid: str, **changed: Any) -> SessionClose:
    session = world.store.session(sid)
    assert session is not None
    fields: dict[str, Any] = {"state": "ended", "chunks": session.chunks, "chain": session.chain, "operations": 3, "denied": 1}
    return SessionClose(**(fields | changed))


class TestClaim:
    def test_a_ticket_is_presented_once(self) -> None:
        world = World.ready()
        sid, _ = world.open()
        found = claim_session(world.ports, world.agent, sid, RELAY).session
        assert (found.state, found.path, found.started_ms) == (State.LIVE, "relay", world.clock.now)
        assert isinstance(world.store.recorded[-1], SessionStarted)
        with fault("ticket_used"):
            claim_session(world.ports, world.agent, sid, RELAY)

    def test_a_ticket_does_not_outlive_the_login_behind_it(self) -> None:
        world = World.ready()
        sid, _ = world.open()
        login = world.store.kept[sid][1].token
        assert login
        world.store.revoked.add(login)
        with fault("token_revoked"):
            claim_session(world.ports, world.agent, sid, RELAY)
        assert state(world, sid) is State.OFFERED

    def test_a_claim_after_the_ticket_is_too_late(self) -> None:
        world = World.ready()
        sid, _ = world.open()
        world.clock.advance(60)
        with fault("session_expired"):
            claim_session(world.ports, world.agent, sid, RELAY)
        assert state(world, sid) is State.OFFERED

    @pytest.mark.parametrize(
        ("over", "code"),
        [
            (State.EXPIRED, "session_expired"),
            (State.KILLED, "session_killed"),
            (State.ENDED, "ticket_used"),
            (State.INTERRUPTED, "ticket_used"),
            (State.DENIED, "unknown_session"),
        ],
    )
    def test_a_session_that_is_over_is_not_claimed(self, over: State, code: str) -> None:
        world = World.ready()
        sid, _ = world.open()
        step(world, sid, over)
        with fault(code):
            claim_session(world.ports, world.agent, sid, RELAY)

    def test_another_agents_session_does_not_exist(self) -> None:
        world = World.ready()
        sid, _ = world.open()
        with fault("unknown_session"):
            claim_session(world.ports, other_agent(world), sid, RELAY)

    def test_a_new_enrolment_of_the_name_does_not_inherit_sessions(self) -> None:
        world = World.ready()
        sid, _ = world.open()
        successor = world.enrol("edge", AgentKeys())
        with fault("unknown_session"):
            claim_session(world.ports, successor, sid, RELAY)

    @pytest.mark.parametrize("sid", ["", "ses_x", "../x", "evt_01JD8QZ6T3N0V9C4K2M7X5B1HR", "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"])
    def test_an_identifier_that_was_never_minted_is_unknown(self, sid: str) -> None:
        world = World.ready()
        with fault("unknown_session"):
            claim_session(world.ports, world.agent, sid, RELAY)


class TestChunks:
    def test_chunks_follow_each_other(self) -> None:
        world = World.ready()
        sid = world.live()
        for n in range(3):
            upload = world.next_chunk(sid, f"body {n}".encode())
            found = register_chunk(world.ports, world.agent, sid, upload)
            assert found.headers["content-length"] == "6"
            assert f"/{n:06d}_" in found.url
            assert found.expires_ms == world.clock.now + 300_000
        session = world.store.session(sid)
        assert session is not None
        assert (session.chunks, session.operations, session.chain) == (3, 3, upload.chunk.chain)

    def test_the_same_chunk_again_gives_a_new_link_and_nothing_else(self) -> None:
        world = World.ready()
        sid = world.live()
        upload = world.next_chunk(sid)
        first = register_chunk(world.ports, world.agent, sid, upload)
        assert register_chunk(world.ports, world.agent, sid, upload) == first
        step(world, sid, State.ENDED)
        assert register_chunk(world.ports, world.agent, sid, upload) == first
        assert len(world.store.chunks(sid)) == 1

    def test_a_fork_is_refused(self) -> None:
        world = World.ready()
        sid = world.live()
        one, two = world.next_chunk(sid, b"one"), world.next_chunk(sid, b"two")
        register_chunk(world.ports, world.agent, sid, one)
        with fault("chunk_conflict"):
            register_chunk(world.ports, world.agent, sid, two)

    def test_a_gap_and_a_wrong_chain_are_refused(self) -> None:
        world = World.ready()
        sid = world.live()
        upload = world.next_chunk(sid)
        for changed in ({"n": 1}, {"chain": "00" * 32}, {"sha256": "11" * 32}, {"time_ms": 1}):
            with fault("chunk_conflict"):
                register_chunk(world.ports, world.agent, sid, replace(upload, chunk=replace(upload.chunk, **changed)))
        assert world.store.chunks(sid) == []

    @pytest.mark.parametrize(
        "changed",
        [{"n": -1}, {"kind": "../x"}, {"size": 0}, {"size": 1 << 40}, {"sha256": "zz"}, {"chain": ""}, {"time_ms": -1}],
    )
    def test_chunks_of_another_shape_are_refused(self, changed: dict[str, Any]) -> None:
        world = World.ready()
        sid = world.live()
        upload = world.next_chunk(sid)
        with fault("chunk_invalid"):
            register_chunk(world.ports, world.agent, sid, replace(upload, chunk=replace(upload.chunk, **changed)))

    def test_counters_start_at_zero_and_never_go_back(self) -> None:
        world = World.ready()
        sid = world.live()
        with fault("chunk_invalid"):
            register_chunk(world.ports, world.agent, sid, replace(world.next_chunk(sid), denied=-1))
        register_chunk(world.ports, world.agent, sid, replace(world.next_chunk(sid), operations=9, denied=4))
        register_chunk(world.ports, world.agent, sid, replace(world.next_chunk(sid), operations=2, denied=0))
        session = world.store.session(sid)
        assert session is not None
        assert (session.operations, session.denied) == (9, 4)

    @pytest.mark.parametrize(
        ("over", "code"),
        [
            (State.ENDED, "session_ended"),
            (State.KILLED, "session_killed"),
            (State.OFFERED, "conflict"),
            (State.EXPIRED, "session_expired"),
        ],
    )
    def test_a_session_that_is_not_live_takes_no_new_chunk(self, over: State, code: str) -> None:
        world = World.ready()
        sid = world.live()
        step(world, sid, over)
        with fault(code):
            register_chunk(world.ports, world.agent, sid, world.next_chunk(sid))

    def test_an_interrupted_session_is_completed_and_closed(self) -> None:
        world = World.ready()
        sid = world.live()
        step(world, sid, State.INTERRUPTED)
        register_chunk(world.ports, world.agent, sid, world.next_chunk(sid))
        close_session(world.ports, world.agent, sid, closing(world, sid, state="killed"))
        assert state(world, sid) is State.ENDED

    def test_another_agent_adds_nothing(self) -> None:
        world = World.ready()
        sid = world.live()
        upload: ChunkUpload = world.next_chunk(sid)
        with fault("unknown_session"):
            register_chunk(world.ports, other_agent(world), sid, upload)


class TestClose:
    @pytest.mark.parametrize("how", ["ended", "killed"])
    def test_a_session_ends_with_its_chain(self, how: str) -> None:
        world = World.ready()
        sid = world.live()
        register_chunk(world.ports, world.agent, sid, world.next_chunk(sid))
        asked = closing(world, sid, state=how, message="logout")
        close_session(world.ports, world.agent, sid, asked)
        session = world.store.session(sid)
        assert session is not None
        assert (str(session.state), session.ended_ms, session.message) == (how, world.clock.now, "logout")
        assert (session.operations, session.denied) == (3, 1)
        event = world.store.recorded[-1]
        assert isinstance(event, SessionEnded)
        assert (event.actor, event.chunks, event.chain) == ("agent:edge", 1, asked.chain)
        close_session(world.ports, world.agent, sid, asked)
        assert world.store.recorded[-1] is event

    @pytest.mark.parametrize("changed", [{"chunks": 1}, {"chain": "00" * 32}])
    def test_both_sides_must_agree_on_the_chunks(self, changed: dict[str, Any]) -> None:
        world = World.ready()
        sid = world.live()
        with fault("chunk_conflict"):
            close_session(world.ports, world.agent, sid, closing(world, sid, **changed))
        assert state(world, sid) is State.LIVE

    def test_closing_again_differently_is_refused(self) -> None:
        world = World.ready()
        sid = world.live()
        close_session(world.ports, world.agent, sid, closing(world, sid))
        with fault("session_ended"):
            close_session(world.ports, world.agent, sid, closing(world, sid, chunks=5))

    def test_an_offer_that_its_agent_lost_expires_and_is_never_claimed(self) -> None:
        world = World.ready()
        sid, _ = world.open()
        with fault("chunk_conflict"):
            close_session(world.ports, world.agent, sid, closing(world, sid, chunks=1))
        for _ in range(2):
            close_session(world.ports, world.agent, sid, closing(world, sid, message="recovered"))
        session = world.store.session(sid)
        assert session is not None
        assert (session.state, session.message) == (State.EXPIRED, "The agent was gone before the session began.")
        assert [type(event) for event in world.store.recorded].count(SessionEnded) == 1
        with fault("session_expired"):
            claim_session(world.ports, world.agent, sid, SessionClaim(path="relay"))

    def test_strangers_close_nothing(self) -> None:
        world = World.ready()
        sid, _ = world.open()
        with fault("unknown_session"):
            close_session(world.ports, other_agent(world), sid, closing(world, sid))
        assert state(world, sid) is State.OFFERED


class TestReport:
    DENIED = DeniedOperation(time_ms=1, kind="exec", text="rm -rf /", digest="ab", rules=["no-rm"], message="No.")

    def test_refusals_become_events(self) -> None:
        world = World.ready()
        sid = world.live()
        asked = SessionReport(denied=[self.DENIED, self.DENIED], target_fault=Notice("target_host_key", "Another key."))
        report_session(world.ports, world.agent, sid, asked)
        one, two, refused = world.store.recorded[-3:]
        assert isinstance(one, OperationDenied)
        assert (one.actor, one.text, one.rules) == ("alice@example.com", "rm -rf /", ["no-rm"])
        assert one.id != two.id
        assert isinstance(refused, TargetRefused)
        assert (refused.actor, refused.code) == ("agent:edge", "target_host_key")

    def test_a_learned_host_key_is_an_event_of_whose_session_it_was(self) -> None:
        world = World.ready()
        sid = world.live()
        learned = LearnedHostKey(time_ms=1, address="10.0.0.7:22", key_type="ssh-ed25519", fingerprint="SHA256:AAAA")
        report_session(world.ports, world.agent, sid, SessionReport(learned=[learned]))
        event = world.store.recorded[-1]
        assert isinstance(event, HostKeyTrusted)
        assert (event.actor, event.agent, event.sid, event.target) == ("alice@example.com", "edge", sid, "web-1")
        assert (event.address, event.key_type, event.fingerprint) == ("10.0.0.7:22", "ssh-ed25519", "SHA256:AAAA")
        with fault("too_large"):
            report_session(world.ports, world.agent, sid, SessionReport(learned=[learned] * 101))

    def test_long_texts_are_cut_and_long_reports_refused(self) -> None:
        world = World.ready()
        sid = world.live()
        report_session(world.ports, world.agent, sid, SessionReport(denied=[replace(self.DENIED, text="x" * 100_000)]))
        assert len(world.store.recorded[-1].text) == 4000  # type: ignore[union-attr]
        with fault("too_large"):
            report_session(world.ports, world.agent, sid, SessionReport(denied=[self.DENIED] * 101))

    def test_a_session_that_is_over_or_somebody_elses_reports_nothing(self) -> None:
        world = World.ready()
        sid = world.live()
        with fault("unknown_session"):
            report_session(world.ports, other_agent(world), sid, SessionReport(denied=[self.DENIED]))
        step(world, sid, State.ENDED)
        with fault("session_ended"):
            report_session(world.ports, world.agent, sid, SessionReport(denied=[self.DENIED]))


class TestDirect:
    PERSON = Person(principal=ALICE.sub, groups=["sre"], mfa=True, token=ALICE.jti)

    def certificate(self, world: World, person: Person = PERSON, seconds: int = 3600) -> str:
        now_s = world.clock.now // 1000
        return certify(world.ports, ssh_certificate.for_person(person, AgentKeys().public_key, now_s, now_s + seconds, 1))

    def ask(self, world: World, certificate: str, agent: Agent | None = None, **changed: str) -> str:
        asked = DirectOpen(**({"certificate": certificate, "target": "web-1", "source_ip": "192.0.2.9"} | changed))
        return open_direct_session(world.ports, agent or world.agent, asked).ticket

    def test_a_certificate_opens_a_session_for_its_owner(self) -> None:
        world = World.ready()
        ticket = self.ask(world, self.certificate(world))
        claims = world.signer.verify_token(TICKET_TYP, ticket)
        assert (claims["sub"], claims["groups"], claims["login"]) == (ALICE.sub, ["sre"], "deploy")
        assert claims["source_ip"] == "192.0.2.9"
        assert world.downlink.sent == {}
        assert claim_session(world.ports, world.agent, claims["sid"], SessionClaim(path="direct")).session.path == "direct"

    def test_policy_decides_as_for_everybody(self) -> None:
        world = World.ready()
        with fault("denied"):
            self.ask(world, self.certificate(world, replace(self.PERSON, groups=[])))
        assert isinstance(world.store.recorded[-1], SessionDenied)

    def test_a_certificate_that_is_not_good_is_refused(self) -> None:
        world = World.ready()
        elsewhere = World.ready()
        late = self.certificate(world, seconds=10)
        world.clock.advance(10)
        host = certify(
            world.ports, ssh_certificate.for_agent("edge", ["web-1"], AgentKeys().public_key, world.clock.now // 1000, 1)
        )
        for certificate in ("", "nonsense", late, self.certificate(elsewhere), host):
            with fault("certificate_invalid"):
                self.ask(world, certificate)

    def test_logging_out_ends_the_certificate_too(self) -> None:
        world = World.ready()
        certificate = self.certificate(world)
        log_out(world.ports, ALICE)
        with fault("token_revoked"):
            self.ask(world, certificate)

    def test_an_agent_opens_sessions_to_its_own_targets_only(self) -> None:
        world = World.ready()
        with fault("unknown_target"):
            self.ask(world, self.certificate(world), other_agent(world))
        with fault("unknown_target"):
            self.ask(world, self.certificate(world), target="nothing")

    def test_sizes_come_first(self) -> None:
        world = World.ready()
        with fault("too_large"):
            self.ask(world, "x" * 20_000)
        with fault("too_large"):
            self.ask(world, self.certificate(world), target="x" * 200)
