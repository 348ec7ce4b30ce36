"""The attack matrix: each attack performed on the stored bytes, and the check that catches it, by name.

Rows are never deleted. Its innocent twins are in ``test_innocent.py``: what is not an attack must not be called one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from chalicelib.contracts import api, manifest
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.recording import link
from chalicelib.contracts.retention import Lock
from chalicelib.contracts.translog import checkpoints, leaves, notes, tiles
from cli import evidence as replay
from cli.verification.audit import Wanted, verify
from cli.verification.sources import Folder
from tests.bypass.evidence.vault import QUIET, Vault, edit, good, replaced
from tests.fakes.note_keys import NoteKey

LOCK = Lock(mode="COMPLIANCE", until_s=4_000_000_000)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return good(tmp_path / "bucket")


def sids(vault: Vault) -> list[str]:
    return [session.sid for session, _ in vault.store.kept.values()]


# --- recordings


@pytest.mark.parametrize("at", [0, 1, 2], ids=["first", "middle", "last"])
def test_drop_a_chunk(vault: Vault, at: int) -> None:
    sid = sids(vault)[1]
    vault.chunks(sid)[at].unlink()
    assert vault.caught_by() == {"chain"}
    assert vault.caught_by(session=sid) == {"chain"}


@pytest.mark.parametrize("at", [1, 2], ids=["middle", "last"])
def test_drop_a_chunk_and_its_line_in_the_manifest(vault: Vault, at: int) -> None:
    sid = sids(vault)[1]
    made = vault.manifest(sid)
    vault.chunks(sid)[at].unlink()
    chunks = [*made.chunks[:at], *made.chunks[at + 1 :]]
    vault.path(sid, "manifest.json").write_bytes(manifest.encode(msgspec.structs.replace(made, chunks=chunks)))
    assert vault.caught_by() == {"manifest_signature"}
    assert vault.caught_by(session=sid) == {"manifest_signature"}


def test_swap_two_chunks(vault: Vault) -> None:
    one, two, _ = vault.chunks(sids(vault)[1])
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert vault.caught_by() == {"chunk_hash"}


def test_reorder_chunks_by_name(vault: Vault) -> None:
    one, two, _ = vault.chunks(sids(vault)[1])
    moved = two.with_name(two.name.replace("000001", "000000"))
    kept = one.with_name(one.name.replace("000000", "000001"))
    two.rename(two.with_suffix(".tmp"))
    one.rename(kept)
    two.with_suffix(".tmp").rename(moved)
    assert vault.caught_by() == {"chain", "orphans"}


def test_reorder_within_a_manifest_that_its_owner_signs_again(vault: Vault) -> None:
    # The owner of the key makes a perfect manifest of another order: chain, counts and signature hold. The log remembers.
    sid = sids(vault)[1]
    made = vault.manifest(sid)
    head, chunks = made.seed, []
    for n, entry in enumerate(made.chunks[::-1]):
        head = link(head, n, entry.time_ms, entry.sha256)
        chunks.append(replaced(entry, n=n, chain=head, name=f"{n:06d}{entry.name[6:]}"))
        vault.path(sid, entry.name).rename(vault.path(sid, f"moved {chunks[-1].name}"))
    for path in vault.path(sid).glob("moved *"):
        path.rename(path.with_name(path.name.removeprefix("moved ")))
    resign(vault, sid, msgspec.structs.replace(made, chunks=chunks, chain=head))
    assert vault.caught_by() == {"inclusion"}
    assert vault.caught_by(session=sid) == {"inclusion"}


def resign(vault: Vault, sid: str, made: manifest.Manifest) -> None:
    raw = manifest.encode(made)
    assert manifest.broken_link(made) == ""
    vault.path(sid, "manifest.json").write_bytes(raw)
    note = vault.notary.sign(manifest.statement(made.log, sid, manifest.digest(raw)))
    vault.path(sid, "manifest.sig").write_text(str(note))


def test_edit_a_byte(vault: Vault) -> None:
    edit(vault.chunks(sids(vault)[1])[1], b"b\x01", b"b\x02")
    assert vault.caught_by() == {"chunk_hash"}


def test_edit_a_byte_and_its_hash_everywhere_but_in_the_log(vault: Vault) -> None:
    sid = sids(vault)[1]
    made = vault.manifest(sid)
    path = vault.chunks(sid)[1]
    edit(path, b"b\x01", b"b\x02")
    sha256 = manifest.digest(path.read_bytes())
    head, chunks = made.seed, []
    for entry in made.chunks:
        hashed = sha256 if entry.n == 1 else entry.sha256
        head = link(head, entry.n, entry.time_ms, hashed)
        chunks.append(replaced(entry, sha256=hashed, chain=head))
    resign(vault, sid, msgspec.structs.replace(made, chunks=chunks, chain=head))
    assert vault.caught_by() == {"inclusion"}


def test_add_a_chunk(vault: Vault) -> None:
    last = vault.chunks(sids(vault)[1])[-1]
    last.with_name(last.name.replace("000002", "000003")).write_bytes(b"planted")
    assert vault.caught_by() == {"orphans"}


def test_edit_a_hash_in_the_database_before_the_session_is_sealed(vault: Vault) -> None:
    sid = vault.record(b"one", b"two", end="open")
    kept = vault.store.kept_chunks[sid]
    kept[0] = msgspec.structs.replace(kept[0], chunk=msgspec.structs.replace(kept[0].chunk, sha256="00" * 32))
    vault.close(sid)
    vault.settle().copy()
    # The gateway signs no contradiction; it puts the contradiction on record.
    report = vault.verify()
    assert set(report.failed_checks()) == {"orphans"}
    assert any("breaks at chunk 0" in finding.message for finding in report.failures)


def test_edit_a_hash_in_the_database_afterwards(vault: Vault) -> None:
    # The bucket does not mind: nothing that is verified comes from the database. Whoever replays is told.
    sid = sids(vault)[1]
    session, custody = vault.store.kept[sid]
    kept = vault.store.kept_chunks[sid]
    kept[1] = msgspec.structs.replace(kept[1], chunk=msgspec.structs.replace(kept[1].chunk, sha256="00" * 32))
    assert vault.caught_by() == set()
    key = vault.agent.public_key
    links = api.RecordingLinks(session=session, chain_seed=custody.seed, chunks=kept, urls=["x"] * 3, expires_ms=0, agent_key=key)
    with pytest.raises(Fault, match="hash chain breaks at chunk 1"):
        replay.gather(links)


def test_edit_the_whole_chain_in_the_database(vault: Vault) -> None:
    # Every hash from a start of the attacker's own: whoever replays computes the start.
    sid = sids(vault)[1]
    session, _ = vault.store.kept[sid]
    forged, head = [], "00" * 32
    for stored in vault.store.kept_chunks[sid]:
        head = link(head, stored.chunk.n, stored.chunk.time_ms, "11" * 32)
        chunk = msgspec.structs.replace(stored.chunk, sha256="11" * 32, chain=head)
        forged.append(msgspec.structs.replace(stored, chunk=chunk))
    links = api.RecordingLinks(
        session=msgspec.structs.replace(session, chain=head),
        chain_seed="00" * 32,
        chunks=forged,
        urls=["x"] * 3,
        expires_ms=0,
        agent_key=vault.agent.public_key,
    )
    with pytest.raises(Fault, match="start of the hash chain"):
        replay.gather(links)


def test_delete_a_session(vault: Vault) -> None:
    shutil.rmtree(vault.path(sids(vault)[1]))
    assert vault.caught_by() == {"orphans"}
    day = "2026-09-21"
    assert vault.caught_by(day=day) == {"orphans"}


def test_delete_a_manifest(vault: Vault) -> None:
    vault.path(sids(vault)[1], "manifest.json").unlink()
    assert vault.caught_by() == {"orphans"}


def test_delete_a_signature(vault: Vault) -> None:
    vault.path(sids(vault)[1], "manifest.sig").unlink()
    assert vault.caught_by() == {"manifest_signature"}


def test_put_a_session_in_the_place_of_another(vault: Vault) -> None:
    one, two, _ = sids(vault)
    shutil.rmtree(vault.path(one))
    shutil.copytree(vault.path(two), vault.path(one))
    assert "orphans" in vault.caught_by()


def test_plant_a_session_that_never_was(vault: Vault) -> None:
    source = vault.path(sids(vault)[0])
    forged = source.with_name(source.name[:-1] + ("0" if source.name[-1] != "0" else "1"))
    shutil.copytree(source, forged)
    (forged / "manifest.json").unlink()
    assert vault.caught_by() == {"orphans"}


def test_a_delete_marker_and_then_a_forgery(vault: Vault) -> None:
    # If-None-Match: * succeeds over a delete marker, so a bucket's owner can do this while retention holds the first version.
    sid = vault.record(b"one", b"two", end="open")
    key = vault.store.chunks(sid)[0].key
    vault.archive.hide(key)
    assert vault.archive.create(key, b"forged", "application/zstd", LOCK)
    vault.close(sid)
    vault.settle().copy()
    assert vault.caught_by() == {"chunk_hash", "orphans"}


class Versioned(Folder):
    """A bucket that shows its versions."""

    def __init__(self, vault: Vault) -> None:
        super().__init__(vault.folder)
        self.listed: dict[str, list[str]] = {}
        for version in vault.archive.versions(""):
            self.listed.setdefault(version.key, []).append("" if version.deleted else version.version)

    def versions(self, prefix: str) -> dict[str, list[str]] | None:
        return {key: versions for key, versions in self.listed.items() if key.startswith(prefix)}


def test_a_version_that_was_deleted_for_good_and_written_again(vault: Vault) -> None:
    # GOVERNANCE, and somebody who took the bucket's policy away: one version is left, and even its bytes are right.
    bucket, sid = Versioned(vault), sids(vault)[1]
    key = vault.store.chunks(sid)[1].key
    assert verify(bucket, vault.trusted(), Wanted(whole=True), QUIET).ok
    bucket.listed[key] = ["v7"]
    for scope in (Wanted(whole=True), Wanted(session=sid)):
        report = verify(bucket, vault.trusted(), scope, QUIET)
        assert set(report.failed_checks()) == {"versions"}
        (finding,) = report.failures
        assert (finding.subject, "v7" in finding.message, "v1" in finding.message) == (key, True, True)


def test_a_version_over_another_and_one_that_was_hidden(vault: Vault) -> None:
    bucket = Versioned(vault)
    one, two, _ = (stored.key for stored in vault.store.chunks(sids(vault)[0]))
    bucket.listed[one], bucket.listed[two] = ["v2", "v1"], ["v1", ""]
    report = verify(bucket, vault.trusted(), Wanted(whole=True), QUIET)
    assert {finding.subject for finding in report.failures} == {one, two}
    assert set(report.failed_checks()) == {"versions"}


# --- the log


def shorter(vault: Vault) -> bytes:
    """Cut the log back to an earlier, genuinely signed checkpoint; return the newer one."""
    now = vault.checkpoint()
    vault.record(b"later")
    vault.settle().copy()
    later = vault.checkpoint()
    (vault.folder / "log" / "checkpoint").write_bytes(now)
    return later


def test_truncate_the_log(vault: Vault) -> None:
    later = shorter(vault)
    sid = sids(vault)[-1]
    for path in (vault.folder / "log" / "checkpoints").iterdir():
        if int(path.name) > checkpoints.parse(vault.checkpoint())[0].size:
            path.unlink()
    shutil.rmtree(vault.path(sid))
    # Consistent in itself: only somebody who saw the longer log knows.
    assert vault.caught_by() == set()
    assert vault.caught_by(whole=True, saved=later, saved_name="kept") == {"consistency"}
    assert vault.caught_by(saved=later, saved_name="kept") == {"consistency"}


def test_truncate_the_log_but_leave_the_recording(vault: Vault) -> None:
    shorter(vault)
    for path in (vault.folder / "log" / "checkpoints").iterdir():
        if int(path.name) > checkpoints.parse(vault.checkpoint())[0].size:
            path.unlink()
    assert vault.caught_by() == {"inclusion", "orphans"}


def test_replay_an_old_checkpoint(vault: Vault) -> None:
    shorter(vault)
    # The history beside it gives it away, whichever scope is asked for.
    assert vault.caught_by() == {"consistency", "inclusion", "orphans"}
    assert vault.caught_by(session=sids(vault)[0]) == {"consistency"}


def test_change_an_entry_of_the_log(vault: Vault) -> None:
    (bundle,) = (vault.folder / "log" / "tile" / "entries").glob("000.p/*")
    edit(bundle, b"session.opened", b"session.closed")
    assert vault.caught_by() == {"log_root"}


@pytest.mark.parametrize("kind", ["entries", "0"])
def test_delete_tiles(vault: Vault, kind: str) -> None:
    shutil.rmtree(vault.folder / "log" / "tile" / kind)
    # Whoever reads every entry needs no hashes, and whoever asks for a proof needs no entries.
    assert vault.caught_by() == ({"log_root"} if kind == "entries" else set())
    assert vault.caught_by(session=sids(vault)[0]) == ({"log_root"} if kind == "0" else set())


def test_forge_a_checkpoint(vault: Vault) -> None:
    mallory = NoteKey.p256("gw.example/log")
    stated, _ = checkpoints.parse(vault.checkpoint())
    for text in (mallory.sign(stated.text()), notes.Note(stated.text(), [])):
        (vault.folder / "log" / "checkpoint").write_text(str(text))
        assert vault.caught_by() == {"checkpoint_signature"}


def test_delete_the_log(vault: Vault) -> None:
    shutil.rmtree(vault.folder / "log")
    assert vault.caught_by() == {"checkpoint_signature"}


def fork(vault: Vault) -> bytes:
    """Let the owner of every key show an auditor one log, and continue another; return what the first auditor kept."""
    shown = vault.checkpoint()
    vault.rewrite(without=sids(vault)[1])
    vault.copy()
    return shown


def test_fork_the_log(vault: Vault) -> None:
    shown = fork(vault)
    assert vault.caught_by(whole=True, saved=shown, saved_name="kept") == {"consistency"}
    vault.record(b"more", b"and more")
    vault.record(b"more", b"and more")
    vault.settle().copy()
    # Longer than what was seen, and still not its continuation; neither for the whole log nor by proofs from tiles.
    assert vault.caught_by(whole=True, saved=shown, saved_name="kept") == {"consistency"}
    assert "consistency" in vault.caught_by(session=sids(vault)[0], saved=shown, saved_name="kept")


def test_sign_all_of_history_anew_as_the_owner_of_every_key(vault: Vault) -> None:
    vault.witness()
    stored = (vault.folder / "log" / "cosignatures").rglob("edge-1")
    seen = [(path.relative_to(vault.folder), path.read_bytes()) for path in stored]
    shown = fork(vault)
    # Everything in the bucket agrees with everything else in it, and the session is gone without a trace...
    report = vault.verify()
    assert report.ok
    assert any("Nobody outside vouches" in finding.message for finding in report.not_proved)
    # ...but not from the memory of whoever kept a checkpoint, or of a witness.
    assert vault.caught_by(whole=True, saved=shown, saved_name="kept") == {"consistency"}
    for name, body in seen:
        path = vault.folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(body)
    assert vault.caught_by() == {"cosignature"}


def test_sign_history_anew_but_leave_the_locked_recording(vault: Vault) -> None:
    # Object Lock keeps the chunks for as long as it was told to: then the sweep finds them.
    sid = sids(vault)[1]
    kept = {path.name: path.read_bytes() for path in vault.path(sid).iterdir() if path.suffix == ".zst"}
    fork(vault)
    vault.path(sid).mkdir(parents=True)
    for name, body in kept.items():
        vault.path(sid, name).write_bytes(body)
    assert vault.caught_by() == {"orphans"}


def test_forge_a_cosignature(vault: Vault) -> None:
    vault.witness()
    (path,) = (vault.folder / "log" / "cosignatures").rglob("edge-1")
    stated, note = checkpoints.parse(path.read_bytes())
    other = msgspec.structs.replace(stated, root=b"x" * 32)
    path.write_text(str(notes.Note(other.text(), note.signatures)))
    assert vault.caught_by() == {"cosignature"}


def test_log_an_event_twice(vault: Vault) -> None:
    # What only a sequencer that was tampered with could do.
    edge = tiles.Edge()
    (bundle,) = (vault.folder / "log" / "tile" / "entries").glob("000.p/*")
    entries = tiles.unpack_entries(bundle.read_bytes(), int(bundle.name))
    growth = tiles.grow(edge, [*entries, entries[-1]])
    for name, body in growth.writes.items():
        path = vault.folder / "log" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    stated = checkpoints.Checkpoint("gw.example/log", growth.edge.size, growth.edge.root())
    (vault.folder / "log" / "checkpoint").write_text(str(vault.notary.sign(stated.text())))
    assert vault.caught_by() == {"log_root"}
    assert leaves.read(entries[-1]).id


# --- clocks


@pytest.mark.parametrize("skew_s", [-86_400, -301, 86_400], ids=["a day behind", "over five minutes behind", "a day ahead"])
def test_an_agent_with_another_time(tmp_path: Path, skew_s: int) -> None:
    vault = Vault.at(tmp_path / "bucket")
    vault.skew_ms = skew_s * 1000 - 3000
    vault.record(b"one", b"two")
    vault.settle().copy()
    assert vault.caught_by() == {"clock"}


# --- proofs beside recordings


def test_exchange_the_proof(vault: Vault) -> None:
    one, two, _ = sids(vault)
    vault.path(one, "session.tlog-proof").write_bytes(vault.path(two, "session.tlog-proof").read_bytes())
    assert vault.caught_by(session=one) == {"inclusion"}


def test_forge_the_proof(vault: Vault) -> None:
    sid = sids(vault)[0]
    path = vault.path(sid, "session.tlog-proof")
    proof = checkpoints.parse_proof(path.read_bytes())
    mallory = NoteKey.p256("gw.example/log")
    for forged in (
        msgspec.structs.replace(proof, index=proof.index + 1),
        msgspec.structs.replace(proof, hashes=[b"x" * 32, *proof.hashes[1:]]),
        msgspec.structs.replace(proof, note=mallory.sign(proof.note.text)),
        msgspec.structs.replace(proof, extra=b"{}"),
    ):
        path.write_text(str(forged))
        assert vault.caught_by(session=sid) == {"inclusion"}
