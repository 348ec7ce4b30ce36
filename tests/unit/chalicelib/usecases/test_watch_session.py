"""Tickets to look on, the sockets that they open, and what agents report of a watch."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chalicelib.contracts import relay
from chalicelib.contracts.api import SessionClose, SessionReport
from chalicelib.contracts.api_live import WatchNews, WatchOffer
from chalicelib.contracts.audit import WatchAllowed, WatchBegan, WatchEnded
from chalicelib.contracts.capability import TICKET_TYP, WATCH_TYP, AccessClaims, WatchClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain.agent_proof import Replays
from chalicelib.ports import Connection
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.connect_socket import Opening, connect_socket
from chalicelib.usecases.relay_frame import relay_frame
from chalicelib.usecases.report_session import report_session
from chalicelib.usecases.watch_session import watch_session
from tests.fakes.world import ALICE, CAROL, FILES, MALLORY, SSH, AgentKeys, World, person
from tests.unit.chalicelib.usecases.expecting import fault

RULES = '@id("leads-watch") permit(principal in Group::"leads", action == Action::"watch", resource in Tag::"prod");'
LEAD = person("lea@example.com", "leads")


def ready(rules: str = RULES) -> World:
    return World.ready(FILES | {"live.cedar": rules}, SSH)


def offer(world: World, sid: str, who: AccessClaims = LEAD) -> WatchOffer:
    return watch_session(world.ports, who, sid, "192.0.2.9")


def ticket(world: World, text: str) -> WatchClaims:
    return msgspec.convert(world.signer.verify_token(WATCH_TYP, text), WatchClaims)


def connect(world: World, connection: str, authorization: str, **more: str) -> Connection:
    return connect_socket(world.ports, Replays(), Opening(connection=connection, authorization=authorization, **more))


def proof(world: World, keys: AgentKeys | None = None) -> str:
    return (keys or world.keys).proof(world.clock, "GET", "/ws")


def news(world: World, text: str, **more: Any) -> None:
    report_session(world.ports, world.agent, ticket(world, text).sid, SessionReport(watches=[WatchNews(ticket=text, **more)]))


def test_the_event_is_stored_and_the_agent_told() -> None:
    world = ready()
    sid = world.live()
    found = offer(world, sid)
    claims = ticket(world, found.ticket)
    assert (claims.sub, claims.sid, claims.aud) == (LEAD.sub, sid, world.agent.agent_id)
    assert claims.source_ip == "192.0.2.9"
    assert (found.url, found.host_alias, found.session.sid) == ("wss://ws.example/api", "web-1.sallyport", sid)
    event = world.store.recorded[-1]
    assert isinstance(event, WatchAllowed)
    assert (event.actor, event.owner, event.wid, event.rule) == (LEAD.sub, ALICE.sub, claims.wid, "leads-watch")
    assert world.downlink.last("control-1") == {"t": "watch", "sid": sid, "ticket": found.ticket}


def test_it_ends_with_the_watchers_login_or_the_session_whichever_is_first() -> None:
    world = ready()
    sid = world.live()
    session = world.store.session(sid)
    assert session is not None
    soon = msgspec.structs.replace(LEAD, exp=world.clock.now // 1000 + 60)
    assert ticket(world, offer(world, sid, soon).ticket).deadline_ms == soon.exp * 1000
    late = msgspec.structs.replace(LEAD, exp=LEAD.exp + 100_000)
    assert offer(world, sid, late).deadline_ms == session.deadline_ms


def test_whoever_may_not_learns_nothing_and_a_replay_is_no_watch() -> None:
    world = ready()
    sid = world.live()
    for who in (MALLORY, person("bob@example.com", "sre")):
        with fault("unknown_session"):
            offer(world, sid, who)
    with fault("unknown_session"):
        offer(world, "ses_" + "0" * 26)
    with fault("denied"):
        offer(world, sid, CAROL)
    with fault("denied"):
        offer(world, sid, ALICE)  # also one's own session is watched by policy alone
    assert not [event for event in world.types() if event.startswith("watch.")]


def test_only_a_session_that_goes_on_is_watched() -> None:
    world = ready()
    waiting, _ = world.open()
    with fault("conflict"):
        offer(world, waiting)
    sid = world.live()
    world.downlink.gone.add("control-1")
    with fault("agent_offline"):
        offer(world, sid)
    with fault("agent_offline"):
        offer(world, sid)


def test_both_ends_find_each_other() -> None:
    world = ready()
    found = offer(world, world.live())
    bearer = f"Bearer {found.ticket}"
    mine = connect(world, "w1", bearer, socket="watch")
    assert (mine.owner, mine.side, mine.watches) == (found.wid, "client", found.session.sid)
    relay_frame(world.ports, "w1", relay.encode(relay.Hello()))
    assert world.downlink.last("control-1")["t"] == "watch", "a lost order is given again"
    connect(world, "w2", proof(world), socket="watch", watch=found.ticket)
    relay_frame(world.ports, "w2", relay.encode(relay.Hello()))
    assert world.downlink.last("w1")["t"] == world.downlink.last("w2")["t"] == "route"
    way = world.downlink.last("w2")["r"]
    relay_frame(world.ports, "w2", relay.encode(relay.Data(way, "AAAA")))
    assert world.downlink.last("w1") == {"t": "f", "f": "AAAA"}


def test_a_watch_is_not_resumed_and_its_ticket_is_good_for_a_minute() -> None:
    world = ready()
    found = offer(world, world.live())
    connect(world, "w1", f"Bearer {found.ticket}", socket="watch")
    connect(world, "w2", proof(world), socket="watch", watch=found.ticket)
    relay_frame(world.ports, "w1", relay.encode(relay.Hello()))
    with fault("unknown_session"):
        connect(world, "w3", f"Resume {world.downlink.last('w1')['resume']}")
    world.clock.advance(61)
    with fault("ticket_expired"):
        connect(world, "w3", f"Bearer {found.ticket}", socket="watch")
    connect(world, "w4", proof(world), socket="watch", watch=found.ticket)  # the agent's end may break and come again
    world.clock.advance(3600)
    with fault("session_ended"):
        connect(world, "w5", proof(world), socket="watch", watch=found.ticket)


def test_who_comes_too_late_is_told_of_the_recording() -> None:
    world = ready()
    sid = world.live()
    session = offer(world, sid).session
    asked = SessionClose(state="ended", message="", chunks=session.chunks, chain=session.chain, operations=0, denied=0)
    close_session(world.ports, world.agent, sid, asked)
    with fault("session_ended", f"sallyport replay {sid}"):
        offer(world, sid)
    waiting, _ = world.open()
    with pytest.raises(Fault) as early:
        offer(world, waiting)
    assert (early.value.code, early.value.hint) == ("conflict", "")


def test_one_kind_of_ticket_is_of_no_use_for_the_other() -> None:
    world = ready()
    _, session_ticket = world.open()
    world.live()
    with fault("ticket_invalid"):
        connect(world, "x", f"Bearer {session_ticket}", socket="watch")
    found = offer(world, world.live())
    with fault("ticket_invalid"):
        connect(world, "x", f"Bearer {found.ticket}")
    with pytest.raises(ValueError, match="typ"):
        world.signer.verify_token(TICKET_TYP, found.ticket)


def test_another_agent_is_not_let_in() -> None:
    world = ready()
    found = offer(world, world.live())
    stranger = AgentKeys()
    world.enrol("west", stranger)
    with fault("unknown_session"):
        connect(world, "x", proof(world, stranger), socket="watch", watch=found.ticket)
    with fault("ticket_invalid"):
        connect(world, "x", proof(world), socket="watch", watch="forged")
    with fault("bad_request"):
        connect(world, "x", proof(world), socket="elsewhere")


def test_beginning_and_end_are_events_of_the_watcher() -> None:
    world = ready()
    found = offer(world, world.live())
    news(world, found.ticket)
    news(world, found.ticket, code="denied", message="No\x1b more.", shown=7)
    began, ended = world.store.recorded[-2:]
    assert isinstance(began, WatchBegan)
    assert isinstance(ended, WatchEnded)
    assert (began.actor, ended.actor, began.wid, ended.wid) == (LEAD.sub, LEAD.sub, found.wid, found.wid)
    assert (ended.code, ended.shown) == ("denied", 7)
    assert "\x1b" not in ended.message
    news(world, found.ticket, code="a_code_of_tomorrow")
    assert world.store.recorded[-1].code == "internal"  # type: ignore[union-attr]


def test_an_agent_cannot_invent_watchers() -> None:
    world = ready()
    found, other = offer(world, world.live()), world.live()
    for text, code in (("forged", "ticket_invalid"), (found.ticket, "ticket_mismatch")):
        with fault(code):
            report_session(world.ports, world.agent, other, SessionReport(watches=[WatchNews(ticket=text)]))
    with fault("too_large"):
        report_session(world.ports, world.agent, other, SessionReport(watches=[WatchNews(ticket="x")] * 101))
