"""A witness against the control plane's own code: what it remembers, what it signs, and when it lets no session begin."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from agent.runtime.clock import ServerClock
from agent.runtime.identity import Identity
from agent.runtime.spool import Disk
from agent.runtime.witness import Memory, Witness, remembered, start_again
from chalicelib.contracts.api import AgentAnnounce, LogNews
from chalicelib.contracts.audit import EvidenceAlert, SessionOpened, WitnessAlarmed
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.translog import checkpoints, signatures
from chalicelib.usecases.announce_agent import announce_agent
from chalicelib.usecases.append_events import append_events
from chalicelib.usecases.catch_up_log import catch_up_log
from tests.fakes.note_keys import NoteKey
from tests.fakes.witness_road import WitnessRoad
from tests.fakes.world import SSH, World


class Rig:
    """A world, and a witness of its log."""

    def __init__(self, state: Path, disk: Disk, world: World | None = None) -> None:
        self.world = world or World.ready()
        self.state, self.disk = state, disk
        self.road = WitnessRoad(self.world)
        self.clock = ServerClock(lambda: self.world.clock.now)
        self.trust = SimpleNamespace(log_key=str(self.world.notary.key()))
        self.witness = self.again()

    def again(self) -> Witness:
        """The witness of the agent's next process."""
        identity = cast("Identity", SimpleNamespace(name="edge", trust=self.trust))
        self.witness = Witness(self.road, identity, self.clock, self.disk, self.state)
        return self.witness

    def announce(self) -> None:
        asked = AgentAnnounce(protocols=[SSH], credentials=["web-key", "web-root", "db-key"], witness_key=str(self.witness.key))
        announce_agent(self.world.ports, self.world.agent, asked)

    async def looked(self) -> Memory:
        """Append what happened to the log, have the witness look, and return what is on disk then."""
        catch_up_log(self.world.ports)
        await self.witness.look()
        return remembered(self.state)

    async def open(self) -> TicketClaims:
        """Open a session, and have the witness remember what its ticket promises."""
        _, ticket = self.world.open()
        claims = msgspec.convert(self.world.signer.verify_token("sallyport-ticket+jwt", ticket), TicketClaims)
        await self.witness.promise(claims)
        return claims

    def refusal(self) -> str:
        found = self.witness.refusal
        return found.code if found else ""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    disk = Disk(1)
    made = Rig(tmp_path, disk)
    made.announce()
    yield made
    disk.close()


def rewritten(rig: Rig, keep: int) -> None:
    """Let the owner of every key write another history, of which the first ``keep`` events are gone."""
    world = rig.world
    del world.store.recorded[:keep]
    for key in [key for key in world.archive.kept if key.startswith("log/")]:
        del world.archive.kept[key]
    fresh = World()
    world.log.now, world.log.leaves = fresh.log.now, {}


async def test_what_was_verified_is_on_disk_and_cosigned(rig: Rig) -> None:
    memory = await rig.looked()
    stated, _ = checkpoints.parse(memory.checkpoint.encode())
    assert (memory.cosigned, rig.road.cosigned) == (stated.size, [stated.size])
    (stored,) = [body for key, body in rig.world.archive.objects().items() if key.startswith("log/cosignatures/")]
    _, note = checkpoints.parse(stored)
    (seen,) = checkpoints.witnesses(note, [rig.witness.key], signatures.check)
    assert (seen.name, seen.time_s) == ("edge", rig.world.clock.now // 1000)
    assert (rig.world.agent.witnessed, rig.world.agent.witness_key) == (stated.size, str(rig.witness.key))
    assert rig.world.types().count("witness.enrolled") == 1
    # The same checkpoint is not signed twice; a longer one is, by the next process too.
    await rig.witness.look()
    rig.world.open()
    rig.again()
    assert (await rig.looked()).cosigned > stated.size
    assert len(rig.road.cosigned) == 2


async def test_a_session_that_was_promised_and_is_shown(rig: Rig) -> None:
    claims = await rig.open()
    assert rig.world.clock.now
    assert list(remembered(rig.state).owed) == [claims.event]
    rig.world.clock.advance(59)
    assert rig.refusal() == ""
    assert (await rig.looked()).owed == {}
    rig.world.clock.advance(3600)
    assert rig.refusal() == ""


async def test_a_session_that_the_log_keeps_quiet_about(rig: Rig) -> None:
    """log-overdue: the log does not show a session's opening within the merge delay."""
    claims = await rig.open()
    left_out = [event for event in rig.world.store.recorded if not isinstance(event, SessionOpened)]
    append_events(rig.world.ports, [(event.id, msgspec.json.encode(event)) for event in left_out])
    await rig.witness.look()
    rig.world.clock.advance(61)
    assert rig.refusal() == "log_overdue"
    assert rig.again().memory.owed[claims.event].sid == claims.sid
    assert rig.refusal() == "log_overdue", "a restart forgets nothing"
    task = asyncio.create_task(rig.witness.run())
    await rig.road.alarmed.wait()
    task.cancel()
    assert [each.kind for each in rig.road.alarms] == ["overdue"]
    assert claims.sid in rig.world.agent.alarm
    # As soon as the log shows it, sessions begin again.
    await rig.looked()
    assert rig.refusal() == ""
    assert rig.world.agent.alarm == ""


async def test_a_proof_that_does_not_hold_proves_nothing(rig: Rig) -> None:
    await rig.open()

    def other(news: LogNews) -> LogNews:
        places = {event: msgspec.structs.replace(place, index=place.index - 1) for event, place in news.places.items()}
        return msgspec.structs.replace(news, places=places)

    rig.road.spoil = other
    assert len((await rig.looked()).owed) == 1


async def test_a_ticket_without_a_promise_after_one_with(rig: Rig) -> None:
    """log-unpromised: a ticket promises nothing, where tickets promised before."""
    claims = await rig.open()
    bare = msgspec.structs.replace(claims, event="", leaf="")
    with pytest.raises(Fault) as refused:
        await rig.witness.promise(bare)
    assert refused.value.code == "log_inconsistent"


async def test_a_control_plane_that_promises_nothing_yet(rig: Rig) -> None:
    _, ticket = rig.world.open()
    claims = msgspec.convert(rig.world.signer.verify_token("sallyport-ticket+jwt", ticket), TicketClaims)
    await rig.witness.promise(msgspec.structs.replace(claims, event="", leaf=""))
    assert rig.refusal() == ""
    rig.trust.log_key = ""
    await rig.witness.look()
    assert rig.witness.memory.checkpoint == ""


async def caught(rig: Rig, kind: str) -> None:
    """The agent has seen a contradiction: it refuses, says so everywhere, and keeps what it saw."""
    assert rig.refusal() == "log_inconsistent"
    assert [alarm.kind for alarm in rig.road.alarms] == [kind]
    (event,) = [each for each in rig.world.store.recorded if isinstance(each, WitnessAlarmed)]
    assert event.kind == kind
    assert rig.world.agent.alarm.startswith(f"{kind}: ")
    assert rig.world.store.due_notices(rig.world.clock.now, 10)[-1].text.startswith("Agent edge begins no session: ")
    kept = sorted(path.name.partition("-")[2] for path in (rig.state / "witness-alarms").iterdir())
    assert kept == [f"{kind}.answer.json", f"{kind}.kept.checkpoint", f"{kind}.shown.checkpoint"]
    assert rig.again().memory.alarm is not None
    assert rig.refusal() == "log_inconsistent", "a restart forgets nothing"
    # Only a person lets it go on, and what it saw stays.
    assert start_again(rig.state) is not None
    rig.again()
    assert rig.refusal() == ""
    assert len(list((rig.state / "witness-alarms").iterdir())) == 4


async def test_a_fork(rig: Rig) -> None:
    """log-forked: the log is another than the one that the agent verified."""
    await rig.looked()
    rewritten(rig, 1)
    rig.world.open()
    rig.world.open()
    await rig.looked()
    await caught(rig, "fork")


async def test_two_logs_of_one_size(rig: Rig) -> None:
    await rig.looked()
    rewritten(rig, 1)
    rig.world.open()
    await rig.looked()
    assert rig.witness.memory.alarm is not None
    assert rig.witness.memory.alarm.message.startswith("There are two logs")
    await caught(rig, "fork")


@pytest.mark.parametrize("left", ["an old checkpoint", "nothing"])
async def test_a_rollback(rig: Rig, left: str) -> None:
    """log-rolled-back: the log is shorter than it was."""
    await rig.looked()
    old = rig.world.archive.kept["log/checkpoint"][-1]
    rig.world.open()
    await rig.looked()
    rig.world.archive.kept["log/checkpoint"][-1] = old if left == "an old checkpoint" else None
    await rig.witness.look()
    await caught(rig, "rollback")


@pytest.mark.parametrize("how", ["another key", "another origin", "no signature", "no checkpoint", "another key of the gateway"])
async def test_a_forgery(rig: Rig, how: str) -> None:
    """log-forged: a checkpoint is not signed by the log's key."""
    await rig.looked()

    def spoiled(news: LogNews) -> LogNews:
        stated, note = checkpoints.parse(news.checkpoint.encode())
        made: Any = {
            "another key": NoteKey.p256(stated.origin).sign(note.text),
            "another origin": rig.world.notary.made.sign(note.text.replace(stated.origin, "other/log")),
            "no signature": note.text,
            "no checkpoint": "hello",
        }
        return msgspec.structs.replace(news, checkpoint=str(made[how]))

    if how == "another key of the gateway":
        rig.trust.log_key = str(NoteKey.p256("gw.example/log").key)
    else:
        rig.road.spoil = spoiled
    await rig.witness.look()
    await caught(rig, "forged")


async def test_an_alarm_is_told_when_the_control_plane_is_there_again(rig: Rig) -> None:
    await rig.looked()
    rewritten(rig, 1)
    rig.world.open()
    catch_up_log(rig.world.ports)

    def gone(found: LogNews) -> LogNews:
        rig.road.away = True
        return found

    rig.road.spoil = gone
    with pytest.raises(Fault, match="cannot be reached"):
        await rig.witness.look()
    assert rig.refusal() == "log_inconsistent"
    rig.road.away = False
    rig.again()
    await rig.witness.look()
    assert [alarm.kind for alarm in rig.road.alarms] == ["fork"]
    await rig.witness.look()
    assert len(rig.road.alarms) == 1


async def test_a_memory_that_cannot_be_read_is_not_none(rig: Rig) -> None:
    await rig.looked()
    (rig.state / "witness.json").write_text("{")
    with pytest.raises(Fault, match="cannot be read"):
        rig.again()


async def test_no_cosignature_before_the_memory(rig: Rig) -> None:
    """log-unremembered: the disk takes nothing, so nothing is signed and no session is promised."""
    catch_up_log(rig.world.ports)
    _, ticket = rig.world.open()
    claims = msgspec.convert(rig.world.signer.verify_token("sallyport-ticket+jwt", ticket), TicketClaims)
    (rig.state / "witness.json.tmp").mkdir()
    with pytest.raises(Fault, match="remembered"):
        await rig.witness.look()
    assert rig.road.cosigned == []
    with pytest.raises(Fault, match="remembered"):
        await rig.witness.promise(claims)
    assert not [each for each in rig.world.store.recorded if isinstance(each, EvidenceAlert)]


def test_every_row_about_the_log_has_a_test() -> None:
    matrix = Path(__file__).parents[4] / "docs/reference/when-parts-fail.md"
    rows = re.findall(r"^\| `(log-[a-z-]+)`:", matrix.read_text(), re.MULTILINE)
    named = {(found.__doc__ or "").partition(":")[0] for found in globals().values() if callable(found)}
    assert len(rows) == 6
    assert set(rows) <= named
