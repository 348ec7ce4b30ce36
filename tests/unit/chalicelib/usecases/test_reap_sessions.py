"""What ends by itself."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.api import SessionClaim, SessionClose
from chalicelib.contracts.audit import SessionEnded
from chalicelib.contracts.session import State
from chalicelib.ports import Conflict
from chalicelib.usecases.claim_session import claim_session
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.list_sessions import Listing, list_sessions
from chalicelib.usecases.reap_sessions import reap_sessions
from chalicelib.usecases.register_chunk import register_chunk
from tests.fakes.world import ALICE, World


def state(world: World, sid: str) -> State:
    session = world.store.session(sid)
    assert session is not None
    return session.state


def listed(world: World, sid: str) -> str:
    """The state that its own person sees in the list."""
    (session,) = list_sessions(world.ports, ALICE, Listing(), "192.0.2.7").sessions
    assert session.sid == sid
    return str(session.state)


def closing(world: World, sid: str) -> SessionClose:
    session = world.store.session(sid)
    assert session is not None
    return SessionClose(state="ended", chunks=session.chunks, chain=session.chain, operations=0, denied=0)


def kills(world: World) -> list[tuple[str, str]]:
    """Session and code of every order to end one."""
    return [(each["sid"], each["code"]) for each in world.downlink.sent["control-1"] if each["t"] == "kill"]


def test_an_offer_that_nobody_took_expires() -> None:
    world = World.ready()
    sid, _ = world.open()
    world.clock.advance(119)
    assert reap_sessions(world.ports) == {}
    world.clock.advance(2)
    assert reap_sessions(world.ports) == {"expired": 1}
    session = world.store.session(sid)
    assert session is not None
    assert (session.state, session.message) == (State.EXPIRED, "Nobody presented the ticket in time.")
    assert isinstance(world.store.recorded[-1], SessionEnded)
    assert reap_sessions(world.ports) == {}


def test_a_session_whose_agent_fell_silent_is_interrupted_honestly() -> None:
    world = World.ready()
    sid = world.live()
    register_chunk(world.ports, world.agent, sid, world.next_chunk(sid))
    world.clock.advance(91)
    assert reap_sessions(world.ports) == {"interrupted": 1}
    event = world.store.recorded[-1]
    assert isinstance(event, SessionEnded)
    assert (event.actor, event.chunks) == ("system", 1)
    assert "what was uploaded stands" in event.message
    assert world.downlink.last("control-1")["t"] == "kill"


def test_chunks_and_heartbeats_keep_a_session_alive() -> None:
    world = World.ready()
    sid = world.live()
    world.clock.advance(80)
    register_chunk(world.ports, world.agent, sid, world.next_chunk(sid))
    world.clock.advance(80)
    assert reap_sessions(world.ports) == {}
    world.store.agent_seen(world.keys.agent_id, world.clock.now, [sid])
    world.clock.advance(80)
    assert reap_sessions(world.ports) == {}


@pytest.mark.parametrize("live", [[], ["ses_other"]])
def test_a_heartbeat_without_the_session_does_not(live: list[str]) -> None:
    world = World.ready()
    world.live()
    world.clock.advance(91)
    world.store.agent_seen(world.keys.agent_id, world.clock.now, live)
    assert reap_sessions(world.ports) == {"interrupted": 1}


def test_a_deadline_ends_a_session_that_its_agent_does_not_end() -> None:
    world = World.ready()
    sid = world.live()
    world.clock.advance(3600 + 121)
    world.store.agent_seen(world.keys.agent_id, world.clock.now, [sid])
    assert reap_sessions(world.ports) == {"interrupted": 1}
    session = world.store.session(sid)
    assert session is not None
    assert "time was over" in session.message


def test_an_index_that_is_behind_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.ready()
    sid = world.live()
    stale, _ = world.store.kept[sid]
    world.clock.advance(91)
    register_chunk(world.ports, world.agent, sid, world.next_chunk(sid))
    monkeypatch.setattr(world.store, "unfinished", lambda: iter([stale, msgspec.structs.replace(stale, sid="ses_gone")]))
    assert reap_sessions(world.ports) == {}
    assert state(world, sid) is State.LIVE


def test_somebody_faster_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.ready()
    world.open()
    world.clock.advance(121)

    def lost(*_: object) -> None:
        raise Conflict

    monkeypatch.setattr(world.store, "step_session", lost)
    assert reap_sessions(world.ports) == {}


def test_it_is_listed_from_the_moment_it_opens_until_after_its_end() -> None:
    world = World.ready()
    sid, _ = world.open()
    seen = [listed(world, sid)]
    claim_session(world.ports, world.agent, sid, SessionClaim(path="relay"))
    seen.append(listed(world, sid))
    world.clock.advance(91)
    reap_sessions(world.ports)
    seen.append(listed(world, sid))
    close_session(world.ports, world.agent, sid, closing(world, sid))
    seen.append(listed(world, sid))
    assert seen == ["offered", "live", "interrupted", "ended"]


def test_an_agent_that_comes_back_is_told_to_end_what_was_interrupted() -> None:
    world = World.ready()
    sid = world.live()
    world.store.connection_closed("control-1")
    world.clock.advance(91)
    assert reap_sessions(world.ports) == {"interrupted": 1}
    assert kills(world) == []
    world.connect_agent()
    world.store.agent_seen(world.keys.agent_id, world.clock.now, [sid])
    for times in (1, 2):  # until it does
        world.clock.advance(60)
        assert reap_sessions(world.ports) == {}
        assert kills(world) == [(sid, "session_ended")] * times
    close_session(world.ports, world.agent, sid, closing(world, sid))
    reap_sessions(world.ports)
    assert len(kills(world)) == 2


def test_what_an_agent_only_uploads_is_left_alone() -> None:
    world = World.ready()
    sid = world.live()
    close_session(world.ports, world.agent, sid, closing(world, sid))
    world.store.agent_seen(world.keys.agent_id, world.clock.now, [sid, "ses_unknown"])
    reap_sessions(world.ports)
    assert kills(world) == []


def test_after_an_outage_of_the_control_plane_agents_get_their_time_again() -> None:
    world = World.ready()
    sid = world.live()
    assert reap_sessions(world.ports) == {}
    world.clock.advance(4 * 3600)
    session, custody = world.store.kept[sid]
    world.store.kept[sid] = (msgspec.structs.replace(session, deadline_ms=world.clock.now + 3_600_000), custody)
    assert reap_sessions(world.ports) == {}
    world.clock.advance(60)
    world.store.agent_seen(world.keys.agent_id, world.clock.now, [sid])
    assert reap_sessions(world.ports) == {}
    world.clock.advance(60)
    assert reap_sessions(world.ports) == {}
    # It is only patience: an agent that does not come is gone.
    world.clock.advance(60)
    assert reap_sessions(world.ports) == {"interrupted": 1}


def test_an_agent_that_cannot_be_told_keeps_no_other_session_open(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.ready()
    sids = [world.live(), world.live()]
    world.clock.advance(91)

    def broken(*_: object) -> bool:
        raise RuntimeError("the way back is throttled")

    monkeypatch.setattr(world.downlink, "post", broken)
    with pytest.raises(RuntimeError):
        reap_sessions(world.ports)
    assert {state(world, sid) for sid in sids} == {State.INTERRUPTED}
