"""What only somebody else's memory catches: agents that witnessed the log, and the bucket of another account.

The attacker here owns every key of the gateway, its table and its bucket, past Object Lock; what they do is consistent in itself.
Rows are never deleted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.core import witness as core
from agent.runtime.clock import ServerClock
from agent.runtime.identity import Identity
from agent.runtime.spool import Disk
from agent.runtime.witness import Memory, Witness, remembered
from chalicelib.contracts.api import AgentAnnounce, LogNews
from chalicelib.contracts.audit import WitnessAlarmed
from chalicelib.contracts.translog import checkpoints
from chalicelib.usecases.announce_agent import announce_agent
from chalicelib.usecases.copy_checkpoint import copy_checkpoint
from chalicelib.usecases.watch_bucket import Happened, watch_bucket
from cli.verification.audit import Wanted, verify
from cli.verification.log import Keys
from cli.verification.sources import Folder
from tests.bypass.evidence.vault import QUIET, Vault, good
from tests.fakes.log import FakeArchive
from tests.fakes.note_keys import NoteKey
from tests.fakes.witness_road import WitnessRoad
from tests.fakes.world import SSH


class Watched(Vault):
    """A vault whose agent witnesses, and whose checkpoints are copied to a second bucket."""

    state: Path
    second: FakeArchive
    witnessing: Witness

    def look(self, sid: str = "") -> Memory:
        """Have the agent look at the log once, as its next process would; return what it remembers."""
        if sid:
            super().look(sid)
            return Memory()

        async def once() -> None:
            disk = Disk(1)
            identity = cast("Identity", SimpleNamespace(name="edge", trust=SimpleNamespace(log_key=str(self.notary.key()))))
            self.witnessing = Witness(WitnessRoad(self), identity, ServerClock(lambda: self.clock.now), disk, self.state)
            asked = AgentAnnounce(
                protocols=[SSH], credentials=["web-key", "web-root", "db-key"], witness_key=str(self.witnessing.key)
            )
            announce_agent(self.ports, self.agent, asked)
            await self.witnessing.look()
            disk.close()

        asyncio.run(once())
        return remembered(self.state)

    def witnessed(self) -> Watched:
        """Everything that happened is in the log; the agent saw it, the second bucket has it, the auditor's copy is fresh."""
        self.settle()
        self.look()
        copy_checkpoint(self.ports)
        self.copy()
        return self

    def copy(self) -> Watched:
        super().copy()
        for key, body in self.second.objects().items():
            path = self.theirs / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return self

    @property
    def theirs(self) -> Path:
        return self.folder.parent / "second"

    def caught(self, *, agents: bool = True, second: bool = True, **wanted: Any) -> set[str]:
        """Verify as an auditor who lists the agents' keys, and may read the second bucket; return what contradicts."""
        keys = Keys([self.notary.key(), *([self.witnessing.key] if agents else [])])
        scope = Wanted(**(wanted or {"whole": True}), second=Folder(self.theirs) if second else None)
        return set(verify(Folder(self.folder), keys, scope, QUIET).failed_checks())

    def locked(self) -> dict[str, bytes]:
        """The cosignatures, which retention keeps whatever becomes of the rest."""
        return {key: body for key, body in self.archive.objects().items() if key.startswith("log/cosignatures/")}

    def put_back(self, objects: dict[str, bytes]) -> None:
        for key, body in objects.items():
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)


@pytest.fixture
def vault(tmp_path: Path) -> Watched:
    made = good(tmp_path / "bucket", Watched)
    assert isinstance(made, Watched)
    made.second = FakeArchive()
    made.ports = dataclasses.replace(made.ports, second=made.second)
    made.state = tmp_path / "agent"
    made.state.mkdir()
    made.witnessed()
    assert made.caught() == set()
    return made


def sids(vault: Vault) -> list[str]:
    return [session.sid for session, _ in vault.store.kept.values()]


def test_an_innocent_log_that_grows(vault: Watched) -> None:
    for _ in range(3):
        vault.record(b"more")
        vault.witnessed()
    assert vault.caught() == vault.caught(session=sids(vault)[-1]) == set()
    report = verify(
        Folder(vault.folder),
        Keys([vault.notary.key(), vault.witnessing.key]),
        Wanted(whole=True, second=Folder(vault.theirs)),
        QUIET,
    )
    assert (report.proved["cosignature"], report.proved["witness_bucket"]) == (4, 4)
    assert "consistency" not in {finding.check for finding in report.not_proved}
    assert remembered(vault.state).alarm is None


def test_sign_all_of_history_anew_as_the_owner_of_every_key(vault: Watched) -> None:
    kept = vault.locked()
    vault.rewrite(without=sids(vault)[1])
    vault.copy()
    # The bucket alone agrees with itself...
    assert vault.caught(second=False) == set()
    # ...the agents' cosignatures, the second bucket, and each agent do not.
    assert vault.caught() == {"witness_bucket"}
    vault.put_back(kept)
    assert vault.caught(second=False) == {"cosignature"}
    assert vault.caught() == {"cosignature", "witness_bucket"}
    memory = vault.look()
    assert memory.alarm is not None
    assert memory.alarm.kind in ("fork", "rollback")
    assert vault.witnessing.refusal is not None
    assert [each.kind for each in vault.store.recorded if isinstance(each, WitnessAlarmed)] == [memory.alarm.kind]


def test_sign_history_anew_and_make_it_longer_than_what_was_seen(vault: Watched) -> None:
    kept = vault.locked()
    vault.rewrite(without=sids(vault)[1])
    for _ in range(3):
        vault.record(b"more", b"and more")
    vault.settle().copy()
    vault.put_back(kept)
    assert vault.caught() == {"cosignature", "witness_bucket"}
    assert vault.caught(session=sids(vault)[0]) == {"cosignature", "witness_bucket"}
    alarm = vault.look().alarm
    assert alarm is not None
    assert alarm.kind == "fork"


def test_cut_the_log_and_delete_the_recording(vault: Watched) -> None:
    now = (vault.folder / "log" / "checkpoint").read_bytes()
    sid = vault.record(b"what nobody shall see")
    vault.witnessed()
    kept = vault.locked()
    (vault.folder / "log" / "checkpoint").write_bytes(now)
    size = checkpoints.parse(now)[0].size
    for kind in ("checkpoints", "cosignatures"):
        for path in (vault.folder / "log" / kind).iterdir():
            if int(path.name) > size:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(vault.path(sid))
    # Nothing in the bucket contradicts any more: this was undetected without somebody's memory.
    assert vault.caught(second=False) == set()
    assert vault.caught() == {"witness_bucket"}
    vault.put_back(kept)
    assert vault.caught(second=False) == {"cosignature"}


def test_replay_an_old_checkpoint_to_an_agent(vault: Watched) -> None:
    old = vault.archive.kept["log/checkpoint"][-1]
    vault.record(b"later")
    vault.witnessed()
    vault.archive.kept["log/checkpoint"].append(old)
    alarm = vault.look().alarm
    assert alarm is not None
    assert alarm.kind == "rollback"
    vault.copy()
    assert vault.caught(second=False) >= {"consistency", "cosignature"}


def test_show_an_auditor_another_log_than_the_agents(vault: Watched) -> None:
    # A split view: the agents' log is real, the auditor's copy is a rewritten one, without cosignatures.
    other = Watched.at(vault.folder.parent / "other")
    assert isinstance(other, Watched)
    other.notary.made = vault.notary.made
    for body in (b"shown", b"shown too"):
        other.record(body)
    other.settle()
    other.rewrite(without=sids(other)[1])
    other.copy_to(vault.folder)
    assert vault.caught(second=False) == set()
    assert "witness_bucket" in vault.caught()
    stated, _ = checkpoints.parse(remembered(vault.state).checkpoint.encode())
    news = LogNews(checkpoint=(vault.folder / "log" / "checkpoint").read_text())
    with pytest.raises(core.ContradictionError) as found:
        core.advance(stated, news, vault.notary.key())
    assert found.value.kind in ("fork", "rollback")


def test_turn_back_the_agents_clock_so_that_nothing_is_ever_late(vault: Watched) -> None:
    # The gateway tells agents the time; a witness counts by its machine's own.
    vault.look()
    clock = ServerClock(lambda: vault.clock.now)
    witness = vault.witnessing
    witness._clock, witness._disk = clock, Disk(1)
    claims = cast("Any", SimpleNamespace(sid="ses_x", event="evt_x", leaf="ab" * 32))
    asyncio.run(witness.promise(claims))
    for _ in range(7):
        vault.clock.advance(10)
        clock.offset_ms -= 10_000
    assert witness.refusal is not None
    assert witness.refusal.code == "log_overdue"


def test_a_delete_marker_and_then_a_forgery_are_in_the_log_before_anybody_verifies(vault: Watched) -> None:
    sid = sids(vault)[0]
    key = vault.store.chunks(sid)[0].key
    assert watch_bucket(vault.ports, Happened(key=key, version="v1")) == ""
    vault.archive.hide(key)
    assert watch_bucket(vault.ports, Happened(key=key, version="v2", deleted=True)) == "hidden"
    vault.archive.put(key, b"forged")
    assert watch_bucket(vault.ports, Happened(key=key, version="v3")) == "rewritten"
    vault.witnessed()
    # Even on a copy, which shows one version of each object only.
    assert vault.caught() >= {"chunk_hash", "versions"}
    (vault.folder / key).write_bytes(b"a" * 100 + bytes([0]))
    assert "versions" in vault.caught()
    assert "chunk_hash" not in vault.caught()


def test_forge_a_copy_in_the_second_bucket(vault: Watched) -> None:
    (path,) = (vault.theirs / "gw.example" / "log" / "checkpoints").iterdir()
    stated, note = checkpoints.parse(path.read_bytes())
    path.write_text(str(NoteKey.p256(stated.origin).sign(note.text)))
    assert vault.caught() == {"checkpoint_signature"}
    path.write_text(str(note))
    path.rename(path.with_name(f"{stated.size - 1:020d}"))
    assert vault.caught() == {"witness_bucket"}


def test_a_second_bucket_that_holds_nothing_proves_nothing(vault: Watched) -> None:
    shutil.rmtree(vault.theirs)
    vault.theirs.mkdir()
    report = verify(Folder(vault.folder), Keys([vault.notary.key()]), Wanted(whole=True, second=Folder(vault.theirs)), QUIET)
    assert report.ok
    assert "witness_bucket" in {finding.check for finding in report.not_proved}
