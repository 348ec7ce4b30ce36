"""Orders to end a session: who may give one, what is kept of it, and how an agent that was away hears of it."""

from __future__ import annotations

import pytest

from chalicelib.contracts.api import AgentAnnounce, SessionClaim, SessionClose
from chalicelib.contracts.api_live import SessionKill, SessionKilled
from chalicelib.contracts.audit import SessionEnded, SessionKillOrdered
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.session import Session, State
from chalicelib.usecases.announce_agent import announce_agent
from chalicelib.usecases.claim_session import claim_session
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.kill_session import kill_session
from chalicelib.usecases.list_sessions import Listing, list_sessions, view_session
from chalicelib.usecases.reap_sessions import reap_sessions
from chalicelib.usecases.register_chunk import register_chunk
from tests.fakes.world import ALICE, CAROL, FILES, MALLORY, SSH, World, person
from tests.unit.chalicelib.usecases.expecting import fault

RULES = """
@id("leads-end") permit(principal in Group::"leads", action == Action::"kill", resource in Tag::"prod")
when { context.reason != "for fun" };
"""
LEAD = person("lea@example.com", "leads")


def ready(rules: str = RULES) -> World:
    return World.ready(FILES | {"live.cedar": rules}, SSH)


def end(world: World, sid: str, who: AccessClaims = LEAD, reason: str = "INC-1") -> SessionKilled:
    return kill_session(world.ports, who, sid, SessionKill(reason=reason), "192.0.2.9")


def kept(world: World, sid: str) -> Session:
    found = world.store.session(sid)
    assert found is not None
    return found


def orders(world: World, connection: str = "control-1") -> list[dict[str, str]]:
    return [each for each in world.downlink.sent[connection] if each["t"] == "kill"]


def close(world: World, sid: str) -> None:
    session = kept(world, sid)
    asked = SessionClose(
        state="killed", message=session.message, chunks=session.chunks, chain=session.chain, operations=0, denied=0
    )
    close_session(world.ports, world.agent, sid, asked)


def test_who_may_ends_a_session_and_its_agent_is_told_who_and_why() -> None:
    world = ready()
    sid = world.live()
    outcome = end(world, sid)
    message = "lea@example.com ended this session: INC-1"
    assert (outcome.state, outcome.reached, outcome.message) == (State.LIVE, True, message)
    assert orders(world) == [{"t": "kill", "sid": sid, "code": "session_killed", "message": message}]
    event = world.store.recorded[-1]
    assert isinstance(event, SessionKillOrdered)
    assert (event.actor, event.owner, event.reason, event.rule) == (LEAD.sub, ALICE.sub, "INC-1", "leads-end")
    close(world, sid)
    session = kept(world, sid)
    assert (session.state, session.killed_by, session.message) == (State.KILLED, LEAD.sub, message)


def test_whoever_ordered_it_may_ask_where_it_stands_and_nothing_is_stored_twice() -> None:
    world = ready()
    sid = world.live()
    end(world, sid)
    before = len(world.store.recorded)
    assert end(world, sid).state is State.LIVE
    assert len(orders(world)) == 2
    close(world, sid)
    assert end(world, sid).state is State.KILLED
    assert len(orders(world)) == 2
    assert len(world.store.recorded) == before + 1, "only the session's end was added"


def test_the_first_order_stands() -> None:
    world = ready()
    sid = world.live()
    end(world, sid, reason="first")
    assert "first" in end(world, sid, ALICE, "second").message
    assert world.types().count("session.kill_ordered") == 1
    close(world, sid)
    with fault("session_ended"):
        end(world, sid, ALICE)


def test_an_offer_ends_at_once_and_its_ticket_is_of_no_use() -> None:
    world = ready()
    sid, _ = world.open()
    outcome = end(world, sid)
    assert outcome.state is State.KILLED
    assert isinstance(world.store.recorded[-1], SessionEnded)
    assert orders(world)[0]["sid"] == sid
    with fault("session_killed", "INC-1"):
        claim_session(world.ports, world.agent, sid, SessionClaim(path="relay"))


def test_an_agent_that_is_away_hears_of_it_when_it_is_back() -> None:
    world = ready()
    sid = world.live()
    world.downlink.gone.add("control-1")
    outcome = end(world, sid)
    assert (outcome.reached, outcome.state) == (False, State.LIVE)
    assert world.agent.connection == ""
    world.connect_agent("control-2")
    announce_agent(world.ports, world.agent, AgentAnnounce(protocols=[SSH], credentials=[], direct=""))
    assert orders(world, "control-2")[0]["sid"] == sid


def test_the_reaper_repeats_an_order_and_keeps_its_words_when_the_agent_stays_away() -> None:
    world = ready()
    sid = world.live()
    world.downlink.gone.add("control-1")
    end(world, sid)
    world.connect_agent("control-2")
    reap_sessions(world.ports)
    assert orders(world, "control-2")[0]["message"] == "lea@example.com ended this session: INC-1"
    world.store.connection_closed("control-2")
    world.clock.advance(91)
    for _ in range(3):
        reap_sessions(world.ports)
        world.clock.advance(60)
    session = kept(world, sid)
    assert session.state is State.INTERRUPTED
    assert session.message.startswith("lea@example.com ended this session: INC-1 The agent stopped speaking")


def test_a_chunk_that_comes_meanwhile_is_kept_and_so_is_the_order() -> None:
    world = ready()
    sid = world.live()
    real, once = world.store.step_session, [world.next_chunk(sid)]

    def slow(*asked: object) -> None:
        if once:
            register_chunk(world.ports, world.agent, sid, once.pop())
        real(*asked)  # type: ignore[arg-type]

    world.store.step_session = slow  # type: ignore[method-assign]
    end(world, sid)
    assert (kept(world, sid).chunks, kept(world, sid).killed_by) == (1, LEAD.sub)


def test_a_claim_that_comes_meanwhile_does_not_save_the_session() -> None:
    world = ready()
    sid, _ = world.open()
    real, once = world.store.step_session, [True]

    def slow(session: Session, allowed: frozenset[State], event: object) -> None:
        if once and session.state is State.KILLED:
            once.clear()
            claim_session(world.ports, world.agent, sid, SessionClaim(path="relay"))
        real(session, allowed, event)  # type: ignore[arg-type]

    world.store.step_session = slow  # type: ignore[method-assign]
    assert end(world, sid).state is State.LIVE
    assert kept(world, sid).killed_by == LEAD.sub
    assert orders(world)


def test_ones_own_session_ends_without_a_rule_and_not_against_one() -> None:
    world = ready()
    assert end(world, world.live(), ALICE).reached
    event = world.store.recorded[-1]
    assert isinstance(event, SessionKillOrdered)
    assert event.rule == ""
    world = ready('@id("never") @message("Let it run.") forbid(principal, action == Action::"kill", resource);')
    with fault("denied", "Let it run.", "never"):
        end(world, world.live(), ALICE)
    assert not orders(world)


def test_whoever_may_not_learns_nothing() -> None:
    world = ready()
    sid = world.live()
    for who in (MALLORY, person("bob@example.com", "sre")):
        with fault("unknown_session"):
            end(world, sid, who)
    with fault("unknown_session"):
        end(world, "ses_" + "0" * 26)
    with fault("unknown_session"):
        end(world, "../config")
    # An auditor may know that it exists, and still may not end it.
    with fault("denied"):
        end(world, sid, CAROL)
    with fault("unknown_session"):
        end(world, sid, LEAD, "for fun")
    assert not orders(world)
    assert "session.kill_ordered" not in world.types()


@pytest.mark.parametrize(("reason", "code"), [("", "reason_required"), (" \n", "reason_required"), ("x" * 2001, "too_large")])
def test_a_reason_is_needed_and_bounded(reason: str, code: str) -> None:
    world = ready()
    with fault(code):
        end(world, world.live(), LEAD, reason)


def test_a_reason_cannot_draw_on_a_terminal() -> None:
    world = ready()
    message = end(world, world.live(), LEAD, "now\x1b[2J\r\nroot@web# \u202ex" + "y" * 1900).message
    assert message.isprintable()
    assert len(message) < 700


def test_whoever_may_end_open_sessions_finds_them_and_not_those_that_are_over() -> None:
    world = ready()
    sid = world.live()
    assert [each.sid for each in list_sessions(world.ports, LEAD, Listing(), "").sessions] == [sid]
    assert view_session(world.ports, LEAD, sid, "").sid == sid
    end(world, sid)
    close(world, sid)
    assert list_sessions(world.ports, LEAD, Listing(), "").sessions == []
    with fault("unknown_session"):
        view_session(world.ports, LEAD, sid, "")
