"""What ends by itself."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.audit import SessionEnded
from chalicelib.contracts.session import State
from chalicelib.ports import Conflict
from chalicelib.usecases.reap_sessions import reap_sessions
from chalicelib.usecases.register_chunk import register_chunk
from tests.fakes.world import World


def state(world: World, sid: str) -> State:
    session = world.store.session(sid)
    assert session is not None
    return session.state


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
