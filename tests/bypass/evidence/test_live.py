"""Evidence of a gateway where people work, read in place: what happens meanwhile is no contradiction, and no attack's excuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chalicelib.contracts.audit import SessionEnded
from chalicelib.usecases.catch_up_log import catch_up_log
from chalicelib.usecases.seal_session import is_over, seal_session
from cli.verification import log
from cli.verification.audit import Wanted, verify
from cli.verification.findings import Report
from cli.verification.log import Keys
from cli.verification.sources import LOG, Folder
from tests.bypass.evidence.vault import QUIET, Vault, good


class Bucket(Folder):
    """A bucket in which something happens behind the ``nth`` look at the newest checkpoint."""

    live = True

    def __init__(self, vault: Vault, *happens: Callable[[], object]) -> None:
        super().__init__(vault.folder)
        self._happens = list(happens)

    def read(self, key: str) -> bytes | None:
        found = super().read(key)
        if key == f"{LOG}checkpoint" and self._happens:
            self._happens.pop(0)()
        return found


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return good(tmp_path / "bucket")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "AGAIN_S", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PATIENCE_S", 0.05)


def look(vault: Vault, *happens: Callable[[], object], session: str = "") -> Report:
    wanted = Wanted(session=session) if session else Wanted(whole=True)
    return verify(Bucket(vault, *happens), vault.trusted(), wanted, QUIET)


def work(vault: Vault) -> None:
    vault.record(b"meanwhile")
    vault.settle().copy()


def seal(vault: Vault) -> None:
    """Store manifests; the log does not know of them yet."""
    for event in list(vault.store.recorded):
        if isinstance(event, SessionEnded) and is_over(event):
            seal_session(vault.ports, event)
    vault.copy()


def test_a_session_that_began_and_ended_while_the_log_was_read(vault: Vault) -> None:
    report = look(vault, lambda: work(vault))
    assert report.failures == []
    assert (report.sessions, report.proved["inclusion"], report.proved["orphans"]) == (4, 4, 4)


def test_sessions_that_end_again_and_again(vault: Vault) -> None:
    report = look(vault, *(lambda: work(vault) for _ in range(5)))
    assert report.failures == []


def test_a_manifest_that_the_log_does_not_know_yet(vault: Vault) -> None:
    vault.record(b"a moment ago")
    seal(vault)
    report = look(vault, lambda: None, lambda: None, lambda: (catch_up_log(vault.ports), vault.copy()))
    assert report.failures == []
    assert report.proved["inclusion"] == 4


@pytest.mark.usefixtures("impatient")
def test_a_manifest_that_the_log_never_knows(vault: Vault) -> None:
    vault.record(b"a moment ago")
    seal(vault)
    assert "inclusion" in look(vault).failed_checks()


@pytest.mark.usefixtures("impatient")
def test_a_manifest_that_a_growing_log_never_knows(vault: Vault) -> None:
    sid = vault.record(b"before the fact")
    vault.settle().copy()
    folder = vault.prefix(sid)
    recording = {path: path.read_bytes() for path in vault.path(sid).iterdir()}
    vault.rewrite(without=sid)

    def grow() -> None:
        work(vault)
        for path, body in recording.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    vault.copy()
    report = look(vault, grow, grow, grow)
    assert {finding.subject for finding in report.failures if finding.check == "inclusion"} == {f"{folder}/manifest.json"}


def test_one_session_while_the_log_grows(vault: Vault) -> None:
    sid = vault.record(b"a moment ago")
    seal(vault)
    report = look(vault, lambda: None, lambda: (catch_up_log(vault.ports), vault.copy()), session=sid)
    assert report.failures == []


def test_a_witness_cosigns_what_is_not_the_newest(vault: Vault) -> None:
    def cosign() -> None:
        vault.witness()
        before = {path: path.read_bytes() for path in (vault.folder / "log/cosignatures").rglob("*") if path.is_file()}
        work(vault)
        for path, body in before.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    report = look(vault, lambda: (work(vault), cosign()))
    assert report.failures == []
    assert report.proved["cosignature"] == 1


@pytest.mark.usefixtures("impatient")
def test_an_old_checkpoint_in_the_place_of_the_newest(vault: Vault) -> None:
    old = vault.checkpoint()
    work(vault)
    (vault.folder / "log/checkpoint").write_bytes(old)
    assert "consistency" in look(vault).failed_checks()


def test_a_checkpoint_that_is_not_shown_yet(vault: Vault) -> None:
    old = vault.checkpoint()
    work(vault)
    new = vault.checkpoint()
    newest = vault.folder / "log/checkpoint"
    newest.write_bytes(old)
    report = look(vault, lambda: None, lambda: None, lambda: newest.write_bytes(new))
    assert report.failures == []


@pytest.mark.usefixtures("impatient")
def test_a_log_that_is_another_by_then(vault: Vault, tmp_path: Path) -> None:
    """Whoever exchanges the log while it is read is not excused by its having grown."""
    other = good(tmp_path / "other")
    for _ in range(3):
        other.record(b"elsewhere")
    other.settle().copy()

    def exchange() -> None:
        for path in (other.folder / "log").rglob("*"):
            if path.is_file():
                there = vault.folder / path.relative_to(other.folder)
                there.parent.mkdir(parents=True, exist_ok=True)
                there.write_bytes(path.read_bytes())

    vault.record(b"a moment ago")
    seal(vault)
    keys = Keys([*vault.trusted().keys, other.notary.key()])
    report = verify(Bucket(vault, lambda: None, exchange), keys, Wanted(whole=True), QUIET)
    assert "inclusion" in report.failed_checks()
