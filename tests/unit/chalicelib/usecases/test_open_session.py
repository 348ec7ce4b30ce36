"""Opening a session: the decision, what is stored, what is told to whom."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts import ids, recording
from chalicelib.contracts.api import SessionOpen
from chalicelib.contracts.audit import SessionDenied, SessionEnded, SessionOpened
from chalicelib.contracts.capability import TICKET_TYP, TicketClaims
from chalicelib.contracts.session import State
from chalicelib.usecases.open_session import open_session
from tests.fakes.world import ALICE, FILES, MALLORY, SSH, World, person
from tests.unit.chalicelib.usecases.expecting import fault


def ask(world: World, who=ALICE, source_ip: str = "192.0.2.7", **changed: str):  # type: ignore[no-untyped-def]
    return open_session(world.ports, who, SessionOpen(**({"target": "web-1", "reason": "deploy"} | changed)), source_ip)


def test_an_allowed_session_is_stored_signed_and_offered() -> None:
    world = World.ready()
    offer = ask(world)
    assert ids.is_id(ids.SESSION, offer.sid)
    assert offer.expires_ms == world.clock.now + 60_000
    assert offer.deadline_ms == world.clock.now + 3_600_000
    assert offer.host_alias == "web-1.sallyport"
    assert [(way.kind, way.address) for way in offer.ways] == [("relay", "wss://ws.example/api")]
    claims = msgspec.convert(world.signer.verify_token(TICKET_TYP, offer.ticket), TicketClaims)
    assert (claims.aud, claims.sid, claims.sub, claims.target, claims.login) == (
        world.keys.agent_id,
        offer.sid,
        "alice@example.com",
        "web-1",
        "deploy",
    )
    assert (claims.policy_version, claims.reason, claims.source_ip, claims.mfa) == (1, "deploy", "192.0.2.7", True)
    session, custody = world.store.entrusted(offer.sid) or pytest.fail("nothing stored")
    assert (session.state, session.verdict, session.login, session.recording) == (
        State.OFFERED,
        "sre",
        "deploy",
        claims.recording,
    )
    assert session.chain == custody.seed == recording.seed(offer.sid, world.keys.public_key)
    event = world.store.recorded[-1]
    assert isinstance(event, SessionOpened)
    assert (event.sid, event.rule, event.policy_version) == (offer.sid, "sre", 1)
    assert world.downlink.last("control-1") == {"t": "offer", "sid": offer.sid, "ticket": offer.ticket}


def test_a_direct_way_comes_first() -> None:
    world = World.ready()
    world.announce(SSH, direct="10.0.0.1:2222")
    assert [way.kind for way in ask(world).ways] == ["direct", "relay"]


def test_a_denial_is_evidence() -> None:
    world = World.ready()
    with fault("denied", "No policy permits this.", "ses_"):
        ask(world, MALLORY)
    event = world.store.recorded[-1]
    assert isinstance(event, SessionDenied)
    session = world.store.session(event.sid)
    assert session is not None
    assert (session.state, session.principal, session.recording) == (State.DENIED, "mallory@example.com", "")
    assert world.downlink.sent == {}


def test_a_rule_speaks_in_its_own_words() -> None:
    world = World.ready()
    with fault("denied", "Not as root.", "no-root"):
        ask(world, login="root")
    assert world.store.recorded[-1].rule == "no-root"  # type: ignore[union-attr]


@pytest.mark.parametrize("target", ["web-2", "", "../web-1", "WEB-1", "web-1 "])
def test_unknown_targets_are_unknown(target: str) -> None:
    world = World.ready()
    before = len(world.store.recorded)
    with fault("unknown_target"):
        ask(world, target=target)
    assert len(world.store.recorded) == before


def test_an_unknown_login_is_told_only_to_somebody_who_may_connect() -> None:
    world = World.ready()
    with fault("unknown_login", "deploy"):
        ask(world, login="nobody")
    with fault("denied"):
        ask(world, MALLORY, login="nobody")


def test_sizes_come_first() -> None:
    world = World.ready()
    before = len(world.store.recorded)
    with fault("too_large"):
        ask(world, MALLORY, reason="x" * 10_000_000)
    with fault("too_large"):
        ask(world, target="x" * 129)
    with fault("too_large"):
        ask(world, login="x" * 129)
    assert ask(world, reason="é" * 2000).sid
    assert len(world.store.recorded) == before + 1


@pytest.mark.parametrize("who", [ALICE, MALLORY])
def test_only_somebody_who_may_connect_learns_that_the_agent_is_away(who) -> None:  # type: ignore[no-untyped-def]
    world = World.ready()
    world.store.connection_closed("control-1")
    with fault("agent_offline" if who is ALICE else "denied"):
        ask(world, who)
    assert (len(world.store.kept) == 0) is (who is ALICE)


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ("spool_full", "spool_full", "no room left to record"),
        ("agent_full", "agent_full", "takes no new sessions now"),
        ("word_of_a_newer_agent", "agent_full", "takes no new sessions now"),
    ],
)
def test_an_agent_that_takes_no_more_is_not_asked(said: str, code: str, words: str) -> None:
    world = World.ready()
    world.store.agent_seen(world.keys.agent_id, world.clock.now, [], said)
    with fault(code, words):
        ask(world)
    assert world.store.kept == {}
    assert world.downlink.sent["control-1"] == []
    world.store.agent_seen(world.keys.agent_id, world.clock.now, [])
    ask(world)


def test_a_control_socket_that_is_gone_ends_the_offer() -> None:
    world = World.ready()
    world.downlink.gone.add("control-1")
    with fault("agent_offline"):
        ask(world)
    ((session, _),) = world.store.kept.values()
    assert session.state is State.EXPIRED
    assert isinstance(world.store.recorded[-1], SessionEnded)
    assert world.agent.connection == ""


@pytest.mark.parametrize("address", ["", "unknown", "192.0.2.7, 10.0.0.1"])
def test_an_address_that_is_none_does_not_break_policies(address: str) -> None:
    condition = "context has source_ip && context.source_ip.isLoopback()"
    policy = f'@id("ip") forbid(principal, action == Action::"connect", resource) when {{ {condition} }};'
    world = World.ready(FILES | {"ip.cedar": policy})
    assert ask(world, source_ip=address).sid
    with fault("denied"):
        ask(world, source_ip="127.0.0.1")


def test_groups_come_from_the_token_of_this_request() -> None:
    world = World.ready()
    assert ask(world, person("alice@example.com", "sre")).sid
    with fault("denied"):
        ask(world, person("alice@example.com"))


def test_a_rule_that_fails_denies() -> None:
    policy = (
        '@id("broken") forbid(principal, action == Action::"connect", resource) when { context.now + 9223372036854775807 > 0 };'
    )
    world = World.ready(FILES | {"broken.cedar": policy})
    with fault("denied", "could not be evaluated"):
        ask(world)
