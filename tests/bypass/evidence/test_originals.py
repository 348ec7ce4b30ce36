"""Sealed originals as evidence: every proof covers them, their end is proved too, and nothing of theirs can be exchanged."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import zstandard

from chalicelib.contracts import originals
from cli.verification import show
from cli.verification.findings import Report
from tests.bypass.evidence.vault import Vault
from tests.fakes.note_keys import NoteKey
from tests.fakes.originals import DINA, SealedWorld
from tests.fakes.world import ADMIN

DAY_S = 24 * 3600


class SealedVault(SealedWorld, Vault):
    """A gateway that keeps sealed originals, and the folder that holds a copy of its bucket."""

    def words(self, **wanted: str) -> str:
        return "\n".join(show.lines(self.report(**wanted)))

    def report(self, **wanted: str) -> Report:
        return self.verify(**wanted)

    def erased(self) -> str:
        """Let a month go by and erase the last one; return it."""
        month = originals.month_of(self.clock.now)
        self.clock.advance(40 * DAY_S)
        now = self.clock.now // 1000
        admin, dina = (msgspec.structs.replace(who, iat=now, exp=now + 3600) for who in (ADMIN, DINA))
        for who in (admin, dina):
            self.login(who)
        request = self.says(admin, self.asks_erasure(month, dina))
        self.erase(request.rid, dina)
        self.settle().copy()
        return month

    def sealed_file(self, sid: str) -> Path:
        return next(path for path in self.chunks(sid) if ".ch00.sealed." in path.name)


@pytest.fixture
def vault(tmp_path: Path) -> SealedVault:
    made = SealedVault.made()
    assert isinstance(made, SealedVault)
    made.folder = tmp_path / "bucket"
    made.recorded(b"one\n", b"two\n")
    made.recorded(b"three\n")
    made.settle().copy()
    return made


def sids(vault: SealedVault) -> list[str]:
    return [session.sid for session, _ in vault.store.kept.values()]


def test_every_proof_covers_them(vault: SealedVault) -> None:
    report = vault.report()
    assert (report.ok, report.proved["chunk_hash"], report.proved["originals"]) == (True, 5, 2)
    (sealed,) = report.originals
    assert (sealed.target, sealed.sessions, sealed.objects, sealed.erased_ms) == ("web-1", 2, 3, 0)
    assert f"sealed originals: 3 objects of web-1, {sealed.month}, key {sealed.key[:16]}" in vault.words()


def test_and_goes_on_to_when_the_key_is_erased(vault: SealedVault) -> None:
    month = vault.erased()
    for wanted in ({}, {"session": sids(vault)[0]}):
        report = vault.report(**wanted)
        assert report.ok
        (sealed,) = report.originals
        assert (sealed.month, sealed.erased_ms > 0, sealed.leaf > 0) == (month, True, True)
    assert "sealed originals: 3 objects of web-1" in vault.words()
    assert "key erased on 2026-" in vault.words()
    assert "proofs valid" in vault.words()


def test_a_sealed_chunk_that_was_taken_out(vault: SealedVault) -> None:
    vault.sealed_file(sids(vault)[0]).unlink()
    assert vault.caught_by() == {"chain"}


def test_a_sealed_chunk_of_another_session_put_in(vault: SealedVault) -> None:
    one, other = (vault.sealed_file(sid) for sid in sids(vault))
    one.write_bytes(other.read_bytes())
    assert vault.caught_by() == {"chunk_hash", "originals"}
    assert vault.caught_by(session=sids(vault)[0]) == {"chunk_hash", "originals"}


def test_originals_without_a_heading(vault: SealedVault) -> None:
    vault.sealed_file(sids(vault)[0]).write_bytes(zstandard.compress(b"{}\n"))
    assert vault.caught_by() == {"chunk_hash", "originals"}


def test_an_erasure_that_nobody_logged(vault: SealedVault) -> None:
    """Whoever wants it believed that a key is gone, and keeps it, cannot say so in the log's name."""
    vault.erased()
    (proof,) = (vault.folder / "log" / "originals").iterdir()
    raw = proof.read_bytes()
    sid = sids(vault)[0]
    index = next(line for line in raw.split(b"\n") if line.startswith(b"index "))
    for forged in (b"", raw.replace(index, b"index 0"), raw.replace(b"extra eyJ", b"extra eyI")):
        proof.write_bytes(forged)
        assert vault.caught_by(session=sid) == {"originals"}
    head, _, note = raw.partition(b"\n\n")
    text = note.decode().partition("\n\n")[0] + "\n"
    proof.write_bytes(head + b"\n\n" + str(NoteKey.p256("gw.example/log").sign(text)).encode())
    assert vault.caught_by(session=sid) == {"originals"}
    # The proof of something else that is genuine.
    proof.write_bytes(next(vault.path(sid).glob("session.tlog-proof")).read_bytes())
    assert vault.caught_by(session=sid) == {"originals"}
    proof.write_bytes(raw)
    assert vault.caught_by(session=sid) == set()
