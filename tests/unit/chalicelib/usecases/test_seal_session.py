"""Manifests: what is signed at a session's end, what is not, and that doing it again changes nothing."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from chalicelib.contracts import manifest, recording
from chalicelib.contracts.api import SessionClose
from chalicelib.contracts.audit import EvidenceConflict, SessionEnded, SessionSealed
from chalicelib.contracts.manifest import Manifest
from chalicelib.contracts.translog import checkpoints, leaves, merkle, notes, signatures
from chalicelib.usecases.append_events import append_events
from chalicelib.usecases.catch_up_log import catch_up_log
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.reap_sessions import reap_sessions
from chalicelib.usecases.register_chunk import register_chunk
from chalicelib.usecases.seal_session import is_over, seal_session
from tests.fakes.world import World
from tests.unit.chalicelib.usecases.test_append_events import CrashError, Interrupted, crash

BODIES = (b"one", b"two", b"three")


class Sealing(World):
    """A world with the ends of sessions in it."""

    @classmethod
    def recorded(cls, bodies: tuple[bytes, ...] = BODIES, arrived: int | None = None) -> tuple[Sealing, str]:
        """Return a world and a live session of which ``arrived`` chunks are in the bucket (all, if not said)."""
        world = cls.ready()
        assert isinstance(world, Sealing)
        sid = world.live()
        for body in bodies:
            world.clock.advance(3)
            world.deliver(sid, body, put=arrived is None or arrived > 0)
            arrived = arrived - 1 if arrived is not None else None
        return world, sid

    def deliver(self, sid: str, body: bytes, put: bool = True) -> None:
        asked = self.next_chunk(sid, body)
        register_chunk(self.ports, self.agent, sid, asked)
        if put:
            self.archive.put(recording.key(self.folder(sid), asked.chunk), body)

    def folder(self, sid: str) -> str:
        session = self.store.session(sid)
        assert session is not None
        return session.recording

    def close(self, sid: str, state: str = "ended") -> SessionEnded:
        session = self.store.session(sid)
        assert session is not None
        counts = {"chunks": session.chunks, "chain": session.chain, "operations": session.operations, "denied": session.denied}
        close_session(self.ports, self.agent, sid, SessionClose(state=state, **counts))  # type: ignore[arg-type]
        return self.end(sid)

    def reap(self, sid: str) -> SessionEnded:
        self.clock.advance(600)
        reap_sessions(self.ports)
        return self.end(sid)

    def end(self, sid: str) -> SessionEnded:
        found = [event for event in self.store.recorded if isinstance(event, SessionEnded) and event.sid == sid]
        return found[-1]

    def manifest(self, sid: str, status: str = "complete") -> Manifest:
        found = self.archive.read(f"{self.folder(sid)}/{manifest.names(status)[0]}")
        assert found is not None
        return manifest.decode(found.body)

    def conflicts(self) -> list[str]:
        return [event.what for event in self.store.recorded if isinstance(event, EvidenceConflict)]


def test_a_closed_session_is_sealed_whole() -> None:
    world, sid = Sealing.recorded()
    sealed = seal_session(world.ports, world.close(sid))
    folder = world.folder(sid)
    objects = {key.removeprefix(folder + "/"): body for key, body in world.archive.objects().items() if key.startswith(folder)}
    assert sorted(objects)[3:] == ["README.txt", "manifest.json", "manifest.sig"]
    made = manifest.decode(objects["manifest.json"])
    assert (made.status, made.state, made.counts.chunks, made.counts.bytes) == ("complete", "ended", 3, 11)
    assert [entry.name for entry in made.chunks] == sorted(objects)[:3]
    assert [entry.version for entry in made.chunks] == ["v1"] * 3
    assert manifest.broken_link(made) == ""
    assert made.recorder.public_key == world.keys.public_key.hex()
    note = notes.parse(objects["manifest.sig"])
    assert note.text == manifest.statement("gw.example/log", sid, manifest.digest(objects["manifest.json"]))
    assert notes.signers(note, [world.notary.key()], signatures.check)
    assert sid in objects["README.txt"].decode()
    assert "sallyport verify" in objects["README.txt"].decode()
    assert sealed == world.store.recorded[-1]
    assert sealed is not None
    assert (sealed.manifest, sealed.status, sealed.missing) == (manifest.digest(objects["manifest.json"]), "complete", 0)


def test_the_log_proves_the_manifest_from_the_folder_alone() -> None:
    world, sid = Sealing.recorded()
    sealed = seal_session(world.ports, world.close(sid))
    assert sealed is not None
    catch_up_log(world.ports)
    found = world.archive.read(f"{world.folder(sid)}/session.tlog-proof")
    assert found is not None
    proof = checkpoints.parse_proof(found.body)
    said = checkpoints.read(proof.note)
    assert checkpoints.signed_by_log(proof.note, "gw.example/log", [world.notary.key()], signatures.check)
    assert merkle.check_inclusion(merkle.leaf_hash(proof.extra), proof.index, said.size, proof.hashes, said.root)
    leaf = leaves.read(proof.extra)
    assert (leaf.type, leaf.sid, leaf.facts["manifest"]) == ("session.sealed", sid, sealed.manifest)


def test_sealing_again_changes_nothing() -> None:
    world, sid = Sealing.recorded()
    ended = world.close(sid)
    first = seal_session(world.ports, ended)
    before, events = dict(world.archive.kept), len(world.store.recorded)
    assert seal_session(world.ports, ended) == first
    assert world.archive.kept == before
    assert len(world.store.recorded) == events


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_a_crash_at_any_write_is_made_good(after: bool) -> None:
    for at in range(10):
        world, sid = Sealing.recorded()
        ended, counter = world.close(sid), [0]
        archive = Interrupted(world.archive, counter, at, crash, after)
        try:
            seal_session(dataclasses.replace(world.ports, archive=archive), ended)
        except CrashError:
            sealed = seal_session(world.ports, ended)
        else:
            assert at == 3
            return
        assert sealed is not None
        raw = world.archive.objects()[f"{world.folder(sid)}/manifest.json"]
        note = notes.parse(world.archive.objects()[f"{world.folder(sid)}/manifest.sig"])
        assert note.text.split("\n")[3] == manifest.digest(raw) == sealed.manifest
        assert notes.signers(note, [world.notary.key()], signatures.check)
        assert sum(isinstance(event, SessionSealed) for event in world.store.recorded) == 1
        assert world.conflicts() == []


def test_a_silent_agents_session_is_truncated_to_what_arrived() -> None:
    world, sid = Sealing.recorded(arrived=2)
    sealed = seal_session(world.ports, world.reap(sid))
    made = world.manifest(sid, "truncated")
    assert (made.status, made.state) == ("truncated", "interrupted")
    assert [entry.missing for entry in made.chunks] == [False, False, True]
    assert sealed is not None
    assert (sealed.status, sealed.missing) == ("truncated", 1)
    assert "fell silent" in world.archive.objects()[f"{world.folder(sid)}/README.txt"].decode()


def test_a_returning_agent_recovers_and_the_truncated_manifest_stands() -> None:
    world, sid = Sealing.recorded(arrived=2)
    seal_session(world.ports, world.reap(sid))
    truncated = world.manifest(sid, "truncated")
    last = world.store.chunks(sid)[2]
    world.archive.put(last.key, BODIES[2])
    world.deliver(sid, b"four")
    sealed = seal_session(world.ports, world.close(sid))
    made = world.manifest(sid, "recovered")
    assert world.manifest(sid, "truncated") == truncated
    assert (made.status, made.state, made.counts.chunks) == ("recovered", "ended", 4)
    assert not any(entry.missing for entry in made.chunks)
    assert [entry.chunk for entry in made.chunks][:3] == [entry.chunk for entry in truncated.chunks]
    assert manifest.broken_link(made) == ""
    catch_up_log(world.ports)
    names = {key.rpartition("/")[2] for key in world.archive.objects()}
    assert {"session.tlog-proof", "session.recovered.tlog-proof", "manifest.recovered.sig"} <= names
    assert sealed is not None
    assert sealed.status == "recovered"


def test_the_truncated_manifest_may_be_made_after_the_agent_returned() -> None:
    world, sid = Sealing.recorded(arrived=3)
    reaped = world.reap(sid)
    world.deliver(sid, b"four")
    closed = world.close(sid)
    seal_session(world.ports, closed)
    seal_session(world.ports, reaped)
    assert world.manifest(sid, "truncated").counts.chunks == 3
    assert world.manifest(sid, "recovered").counts.chunks == 4
    assert manifest.broken_link(world.manifest(sid, "truncated")) == ""


@pytest.mark.parametrize("field", ["sha256", "chain", "time_ms"])
def test_what_the_table_contradicts_is_never_signed(field: str) -> None:
    world, sid = Sealing.recorded()
    kept = world.store.kept_chunks[sid]
    changed = {"sha256": "00" * 32, "chain": "11" * 32, "time_ms": 5}[field]
    kept[1] = msgspec.structs.replace(kept[1], chunk=msgspec.structs.replace(kept[1].chunk, **{field: changed}))
    assert seal_session(world.ports, world.close(sid)) is None
    assert world.conflicts() == ["the hash chain breaks at chunk 1"]
    assert not any("manifest" in key for key in world.archive.objects())


def test_a_row_that_is_gone_is_never_signed_away() -> None:
    world, sid = Sealing.recorded()
    ended = world.close(sid)
    world.store.kept_chunks[sid].pop()
    assert seal_session(world.ports, ended) is None
    assert world.conflicts() == ["3 chunks were recorded, 2 are known"]


@pytest.mark.parametrize("forged", [b"{}", b"not json"])
@pytest.mark.parametrize("metadata", [{}, {"sallyport-signature": "AAAA"}])
def test_nobody_leaves_a_text_for_us_to_sign(forged: bytes, metadata: dict[str, str]) -> None:
    world, sid = Sealing.recorded()
    world.archive.put(f"{world.folder(sid)}/manifest.json", forged, metadata)
    assert seal_session(world.ports, world.close(sid)) is None
    assert world.conflicts() == ["manifest.json lies there already, and is not ours"]
    assert f"{world.folder(sid)}/manifest.sig" not in world.archive.objects()


def test_a_manifest_of_another_session_is_not_taken_for_ours() -> None:
    world, sid = Sealing.recorded()
    other = world.live()
    seal_session(world.ports, world.close(other))
    stolen = world.archive.read(f"{world.folder(other)}/manifest.json")
    assert stolen is not None
    world.archive.put(f"{world.folder(sid)}/manifest.json", stolen.body, stolen.metadata)
    assert seal_session(world.ports, world.close(sid)) is None
    assert len(world.conflicts()) == 1


@pytest.mark.parametrize("marker", [True, False], ids=["delete marker and forgery", "second version"])
def test_a_second_version_is_told_and_the_first_one_is_named(marker: bool) -> None:
    world, sid = Sealing.recorded()
    key = world.store.chunks(sid)[1].key
    if marker:
        world.archive.hide(key)
    world.archive.put(key, b"forged")
    assert seal_session(world.ports, world.close(sid)) is not None
    assert world.conflicts() == [f"{key} was written or deleted after it was recorded"]
    assert world.manifest(sid).chunks[1].version == "v1"


def test_what_was_never_recorded_has_no_manifest() -> None:
    world = Sealing.ready()
    assert isinstance(world, Sealing)
    sid, _ = world.open()
    expired = world.reap(sid)
    assert expired.state == "expired"
    assert not is_over(expired)
    assert seal_session(world.ports, expired) is None
    assert not [key for key in world.archive.objects() if key.startswith("recordings/")]


def test_a_session_without_a_chunk_is_sealed_empty() -> None:
    world, sid = Sealing.recorded(())
    seal_session(world.ports, world.close(sid, "killed"))
    made = world.manifest(sid)
    assert (made.state, made.chunks, made.chain, manifest.broken_link(made)) == ("killed", [], made.seed, "")


def test_people_cannot_write_on_the_auditors_terminal() -> None:
    world = Sealing.ready()
    assert isinstance(world, Sealing)
    sid, _ = world.open(reason="\x1b]0;owned\x07 fine\nSession  ses_forged")
    from chalicelib.contracts.api import SessionClaim
    from chalicelib.usecases.claim_session import claim_session

    claim_session(world.ports, world.agent, sid, SessionClaim(path="direct"))
    seal_session(world.ports, world.close(sid))
    text = world.archive.objects()[f"{world.folder(sid)}/README.txt"].decode()
    assert "\x1b" not in text
    assert "\nSession  ses_forged" not in text


def test_append_is_what_the_stream_hands_over() -> None:
    world, sid = Sealing.recorded()
    seal_session(world.ports, world.close(sid))
    bodies = [(event.id, msgspec.json.encode(event)) for event in world.store.recorded]
    assert append_events(world.ports, bodies) == len(bodies)


def test_the_approval_that_opened_it_is_named() -> None:
    world, sid = Sealing.recorded()
    session, custody = world.store.kept[sid]
    world.store.kept[sid] = (msgspec.structs.replace(session, approval="req_1"), custody)
    seal_session(world.ports, world.close(sid))
    assert world.manifest(sid).approvals == ["req_1"]
