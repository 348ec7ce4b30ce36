"""What the control plane shows witnesses and takes from them. That agents verify it all is their tests' affair."""

from __future__ import annotations

import pytest

from chalicelib.contracts.api import AgentAnnounce, Cosign, LogAsk, WitnessAlarm
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.translog import checkpoints, notes
from chalicelib.usecases.announce_agent import announce_agent
from chalicelib.usecases.catch_up_log import catch_up_log
from chalicelib.usecases.list_agents import list_agents
from chalicelib.usecases.witness_log import cosign_checkpoint, raise_alarm, show_log
from tests.fakes.note_keys import NoteKey
from tests.fakes.world import SSH, World

EDGE = NoteKey.ed25519("edge", notes.COSIGNATURE)


def announced(world: World, key: notes.Key | str) -> None:
    announce_agent(world.ports, world.agent, AgentAnnounce(protocols=[SSH], credentials=[], witness_key=str(key)))


@pytest.fixture
def world() -> World:
    made = World.ready()
    announced(made, EDGE.key)
    made.open()
    catch_up_log(made.ports)
    return made


def line(world: World, key: NoteKey = EDGE, text: str = "") -> Cosign:
    found = world.archive.read("log/checkpoint")
    assert found is not None
    stated, note = checkpoints.parse(found.body)
    signed = key.cosign(notes.Note(text or note.text, []), 1_790_000_000)
    return Cosign(size=stated.size, line=str(signed.signatures[0]))


def test_a_key_is_enrolled_once_and_a_new_one_is_an_event(world: World) -> None:
    announced(world, EDGE.key)
    announced(world, "")
    assert world.types().count("witness.enrolled") == 1
    assert world.agent.witness_key == str(EDGE.key)
    other = NoteKey.p256("x")
    announced(world, notes.Key("edge", notes.COSIGNATURE, bytes(range(32))))
    assert world.types().count("witness.enrolled") == 2
    for wrong in (other.key, NoteKey.ed25519("edge").key, NoteKey.ed25519("edge-2", notes.COSIGNATURE).key, "x"):
        with pytest.raises(Fault, match="bad_request"):
            announced(world, wrong)


def test_what_is_asked_for_is_bounded(world: World) -> None:
    event = "evt_01JD8QZ6T3N0V9C4K2M7X5B1HR"
    for asked, code in (
        (LogAsk(size=0, events=[event] * 101), "too_large"),
        (LogAsk(size=-1), "bad_request"),
        (LogAsk(size=1 << 60), "bad_request"),
        (LogAsk(size=0, events=["x"]), "bad_request"),
    ):
        with pytest.raises(Fault, match=code):
            show_log(world.ports, asked)
    assert show_log(World().ports, LogAsk(size=3)).checkpoint == ""
    news = show_log(world.ports, LogAsk(size=10_000, events=[event]))
    assert (news.consistency, news.places) == ([], {})


def test_only_good_cosignatures_of_ones_own_key_are_stored(world: World) -> None:
    for wrong in (
        line(world, NoteKey.ed25519("edge-2", notes.COSIGNATURE)),
        line(world, text="gw.example/log\n1\nAA==\n"),
        Cosign(size=line(world).size, line="hello"),
        Cosign(size=0, line=line(world).line),
    ):
        with pytest.raises(Fault, match="bad_request"):
            cosign_checkpoint(world.ports, world.agent, wrong)
    with pytest.raises(Fault, match="not_found"):
        cosign_checkpoint(world.ports, world.agent, Cosign(size=9_999, line=line(world).line))
    assert not [key for key in world.archive.kept if key.startswith("log/cosignatures/")]
    for _ in range(2):
        cosign_checkpoint(world.ports, world.agent, line(world))
    assert len([key for key in world.archive.kept if key.startswith("log/cosignatures/")]) == 1
    (view,) = list_agents(world.ports).agents
    assert (view.witness_key, view.witnessed, view.alarm) == (str(EDGE.key), line(world).size, "")


def test_an_agent_without_a_key_vouches_for_nothing() -> None:
    world = World.ready()
    with pytest.raises(Fault, match="bad_request"):
        cosign_checkpoint(world.ports, world.agent, Cosign(size=1, line="x"))


def test_an_alarm_is_on_record_once_and_shown(world: World) -> None:
    alarm = WitnessAlarm(kind="fork", message="There are\x1b[2J two logs.", kept="a" * 9_000, shown="b")
    for _ in range(2):
        raise_alarm(world.ports, world.agent, alarm)
    assert world.types().count("witness.alarm") == 1
    assert world.agent.alarm.startswith("fork: There are")
    assert "\x1b" not in world.agent.alarm
    assert len(world.store.due_notices(world.clock.now, 10)) == 1
