"""What is no attack: sessions that are open, silent, recovered, empty or refused, and a log that grew. None is called one."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.contracts.api import SessionOpen
from chalicelib.contracts.faults import Fault
from chalicelib.usecases.open_session import open_session
from chalicelib.usecases.reap_sessions import reap_sessions
from tests.bypass.evidence.vault import Vault, good
from tests.fakes.world import ALICE, MALLORY


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return good(tmp_path / "bucket")


def test_everything_is_proved(vault: Vault) -> None:
    report = vault.verify()
    expected = {"chunk_hash": 9, "chain": 3, "manifest_signature": 3, "recorder": 3, "clock": 3, "inclusion": 3, "orphans": 3}
    size = vault.log.now.size
    assert report.proved == expected | {"checkpoint_signature": 2, "log_root": size, "consistency": 1}
    assert (report.sessions, report.chunks, report.bytes, report.size) == (3, 9, 909, size)
    assert [finding.check for finding in report.not_proved] == ["versions", "consistency"]


def test_one_session_is_proved_from_its_own_folder_and_a_few_tiles(vault: Vault) -> None:
    (session, _), *_ = vault.store.kept.values()
    report = vault.verify(session=session.sid)
    assert report.ok
    assert report.proved == {
        "chunk_hash": 3,
        "chain": 1,
        "manifest_signature": 1,
        "clock": 1,
        "inclusion": 1,
        "consistency": 1,
        "orphans": 1,
        "checkpoint_signature": 1,
    }
    assert vault.verify(session=session.sid[-8:]).ok
    assert vault.verify(session=session.sid[-8:].lower()).ok


def test_one_session_is_proved_without_the_log(vault: Vault) -> None:
    import shutil

    shutil.rmtree(vault.folder / "log")
    (session, _), *_ = vault.store.kept.values()
    report = vault.verify(session=session.sid)
    assert report.ok
    assert report.proved["inclusion"] == 1
    assert {finding.check for finding in report.not_proved} == {"consistency", "versions"}


def test_a_day_and_what_is_new(vault: Vault) -> None:
    kept = vault.checkpoint()
    vault.clock.advance(86_400)
    sid = vault.record(b"tomorrow")
    vault.settle().copy()
    today, tomorrow = vault.verify(day="2026-09-21"), vault.verify(day="2026-09-22")
    assert (today.ok, today.sessions, tomorrow.ok, tomorrow.sessions) == (True, 3, True, 1)
    new = vault.verify(saved=kept, saved_name="kept")
    assert (new.ok, new.sessions, new.chunks) == (True, 1, 1)
    assert new.proved["consistency"] == 3
    assert vault.verify(day="2026-09-20").sessions == 0
    assert vault.verify(session=sid, saved=kept, saved_name="kept").proved["consistency"] == 2


def test_a_session_that_is_open(vault: Vault) -> None:
    vault.record(b"so far", end="open")
    vault.settle().copy()
    report = vault.verify()
    assert report.ok
    assert any("The session is open" in finding.message for finding in report.not_proved)


def test_a_session_whose_agent_fell_silent_and_came_back(vault: Vault) -> None:
    sid = vault.record(b"one", b"two", end="silent")
    lost = vault.store.chunks(sid)[1].key
    body = vault.archive.kept.pop(lost)
    vault.settle().copy()
    report = vault.verify()
    assert report.ok
    assert any("The agent fell silent" in finding.message for finding in report.not_proved)
    # It comes back with what it held; before it closes, what arrives is not on any manifest yet.
    vault.archive.kept[lost] = body
    vault.deliver(sid, b"three")
    vault.settle().copy()
    report = vault.verify()
    assert report.ok
    assert any("after the session was sealed as truncated" in finding.message for finding in report.not_proved)
    vault.close(sid)
    vault.settle().copy()
    report = vault.verify()
    assert report.ok
    assert report.proved["inclusion"] == 5
    assert report.proved["chunk_hash"] == 12
    assert vault.verify(session=sid).ok


@pytest.mark.parametrize("end", ["ended", "killed"])
def test_a_session_in_which_nothing_happened(vault: Vault, end: str) -> None:
    vault.record(end=end)
    vault.settle().copy()
    assert vault.verify().ok


def test_sessions_that_were_refused_or_never_begun(vault: Vault) -> None:
    with pytest.raises(Fault):
        open_session(vault.ports, MALLORY, SessionOpen(target="web-1", reason=""), "")
    vault.open(ALICE)
    vault.clock.advance(600)
    reap_sessions(vault.ports)
    vault.record(b"later")
    vault.clock.advance(86_400)
    vault.record(b"much later")
    vault.settle().copy()
    assert vault.verify().ok


@pytest.mark.parametrize("skew_s", [-290, 290])
def test_an_agent_whose_clock_is_nearly_right(tmp_path: Path, skew_s: int) -> None:
    vault = Vault.at(tmp_path / "bucket")
    vault.skew_ms = skew_s * 1000
    vault.record(b"one", b"two")
    vault.settle().copy()
    assert vault.verify().ok


def test_a_log_that_grew_past_its_witness_and_past_what_was_kept(vault: Vault) -> None:
    vault.witness()
    kept, seen = vault.checkpoint(), {path: path.read_bytes() for path in vault.folder.rglob("edge-1")}
    for _ in range(3):
        vault.record(b"more")
        vault.settle()
    vault.copy()
    for path, body in seen.items():
        path.parent.mkdir(parents=True)
        path.write_bytes(body)
    report = vault.verify(whole=True, saved=kept, saved_name="kept")
    assert report.ok
    assert (report.proved["cosignature"], report.proved["consistency"]) == (1, 5)
    assert "consistency" not in {finding.check for finding in report.not_proved}


def test_a_witness_whose_key_was_not_given(vault: Vault) -> None:
    vault.witness()
    report = vault.verify(witness=False)
    assert report.ok
    assert any("whose key you did not give" in finding.message for finding in report.not_proved)


def test_an_agent_that_enrolled_before_there_was_a_log(tmp_path: Path) -> None:
    vault = Vault.at(tmp_path / "bucket")
    vault.store.recorded[:] = [
        event for event in vault.store.recorded if vault.types() and "Enrolled" not in type(event).__name__
    ]
    vault.record(b"one")
    vault.settle().copy()
    report = vault.verify()
    assert report.ok
    assert "recorder" in {finding.check for finding in report.not_proved}


def test_many_sessions_in_many_batches(tmp_path: Path) -> None:
    vault = Vault.at(tmp_path / "bucket")
    for _ in range(66):
        vault.record(b"one", b"two")
        vault.settle()
    vault.copy()
    report = vault.verify()
    assert report.ok
    assert report.size > 256
    assert all(vault.verify(session=session.sid).ok for session, _ in list(vault.store.kept.values())[::20])
