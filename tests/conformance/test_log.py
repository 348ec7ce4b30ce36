"""The transparency log's ports, on the fakes and on the adapters."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from chalicelib.adapters.archive import S3Archive
from chalicelib.contracts.audit import LoggedOut
from chalicelib.contracts.retention import Lock
from chalicelib.contracts.translog import notes, signatures
from chalicelib.ports import Archive, Conflict, LogHead, LogIndex, Notary, Store
from chalicelib.usecases.append_events import append_events
from tests.conformance.conftest import Cloud
from tests.fakes.log import ORIGIN
from tests.fakes.world import World
from tests.unit.chalicelib.usecases.test_append_events import CrashError, crash, events, interrupted, logged

FIRST = LogHead(size=3, root="ab" * 32, staging="log/staging/1", finished=False)
SECOND = LogHead(size=5, root="cd" * 32, staging="log/staging/2", finished=False)
LOCK = Lock(mode="GOVERNANCE", until_s=4_000_000_000, legal_hold=True)
LogAndStore = tuple[LogIndex, Store]


def event(number: int, time_ms: int = 1_790_000_000_000) -> LoggedOut:
    return LoggedOut(id=f"evt_{number:03d}", time_ms=time_ms, actor="a", token="t")


# --- notary


def test_a_note_is_signed_by_the_named_key(notary: Notary) -> None:
    note = notary.sign("one\ntwo\n")
    assert notary.key().name == ORIGIN
    assert notes.signers(notes.parse(str(note).encode()), [notary.key()], signatures.check) == [notary.key()]
    assert notary.key() == notary.key() == notes.read_key(str(notary.key()))


def test_only_lines_are_signed(notary: Notary) -> None:
    with pytest.raises(ValueError):
        notary.sign("one")


def test_kms_takes_messages_of_4096_bytes(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="4096"):
        cloud.notary().sign("x" * 4096 + "\n")


def test_a_key_that_notes_do_not_know_is_refused(cloud: Cloud) -> None:
    from chalicelib.adapters.kms import KmsNotary

    kms = cloud.client("kms")
    made = kms.create_key(KeySpec="ECC_NIST_P384", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    with pytest.raises(RuntimeError, match="ECC_NIST"):
        KmsNotary(kms, made, ORIGIN).key()


# --- archive


def test_what_is_there_is_never_written_again(archive: Archive) -> None:
    assert archive.read("log/x") is None
    assert archive.create("log/x", b"one", "text/plain", LOCK, {"said-by": "us"})
    assert not archive.create("log/x", b"two", "text/plain", LOCK)
    found = archive.read("log/x")
    assert found is not None
    assert (found.body, found.metadata) == (b"one", {"said-by": "us"})


def test_a_replacement_names_what_it_replaces(archive: Archive) -> None:
    assert archive.replace("log/checkpoint", b"1", "text/plain", LOCK, "")
    assert not archive.replace("log/checkpoint", b"2", "text/plain", LOCK, "")
    first = archive.read("log/checkpoint")
    assert first is not None
    assert archive.replace("log/checkpoint", b"22", "text/plain", LOCK, first.etag)
    assert not archive.replace("log/checkpoint", b"333", "text/plain", LOCK, first.etag)
    now = archive.read("log/checkpoint")
    assert now is not None
    assert now.body == b"22"


def test_every_version_is_listed(archive: Archive) -> None:
    for name in ("a/2", "a/1", "b/1"):
        assert archive.create(name, name.encode(), "text/plain", LOCK)
    found = archive.versions("a/")
    assert [(each.key, each.size, each.deleted) for each in found] == [("a/1", 3, False), ("a/2", 3, False)]
    assert all(each.version for each in found)
    assert archive.versions("c/") == []


def test_a_delete_marker_hides_and_is_listed(cloud: Cloud) -> None:
    archive, s3 = cloud.archive(), cloud.client("s3")
    archive.create("a/1", b"one", "text/plain", LOCK)
    s3.delete_object(Bucket=cloud.made.bucket, Key="a/1")
    assert archive.read("a/1") is None
    # S3 takes If-None-Match: * over a delete marker; what was there is still there, under its version.
    assert archive.create("a/1", b"forged", "text/plain", LOCK)
    found = archive.versions("a/")
    assert [each.size for each in found if not each.deleted] == [3, 6]
    assert sum(each.deleted for each in found) == 1


def test_the_lock_is_stored_with_the_object(cloud: Cloud) -> None:
    archive = cloud.archive()
    archive.create("log/y", b"one", "text/plain", LOCK)
    found = cloud.client("s3").head_object(Bucket=cloud.made.bucket, Key="log/y")
    assert (found["ObjectLockMode"], found["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")
    assert found["ObjectLockRetainUntilDate"].timestamp() == LOCK.until_s


def test_pages_follow_one_another(archive: Archive) -> None:
    for n in range(5):
        archive.create(f"a/{n}", b"x", "text/plain", LOCK)
    archive.create("b/0", b"x", "text/plain", LOCK)
    found, after = [], ""
    while True:
        page, after = archive.page("a/", after)
        found += [each.key for each in page]
        if not after:
            break
    assert found == [f"a/{n}" for n in range(5)]
    assert [each.key for each in archive.page("a/", "a/2")[0]] == ["a/3", "a/4"]


@pytest.mark.parametrize("size", [2, 3, 4, 9])
def test_a_key_of_many_versions_is_whole_on_its_page(cloud: Cloud, size: int) -> None:
    s3, archive = cloud.client("s3"), S3Archive(cloud.client("s3"), cloud.made.bucket, page=size)
    for n in (0, 1, 2, 2, 2, 2, 3):
        s3.put_object(Bucket=cloud.made.bucket, Key=f"a/{n}", Body=b"x")
    found, after = [], ""
    while True:
        page, after = archive.page("a/", after)
        counts = Counter(each.key for each in page)
        assert counts["a/2"] in (0, 4)
        found += list(counts)
        if not after:
            break
    assert found == ["a/0", "a/1", "a/2", "a/3"]


def test_a_key_of_very_many_versions_does_not_hold_up_the_pages(cloud: Cloud) -> None:
    s3, archive = cloud.client("s3"), S3Archive(cloud.client("s3"), cloud.made.bucket, page=2)
    for n in range(30):
        s3.put_object(Bucket=cloud.made.bucket, Key="a/1" if n else "a/0", Body=b"x")
    s3.put_object(Bucket=cloud.made.bucket, Key="a/2", Body=b"x")
    page, after = archive.page("a/", "")
    assert after == "a/1"
    assert [each.key for each in page] == ["a/0"] + ["a/1"] * 7


# --- head and index


def test_the_head_moves_from_what_it_is(log_and_store: LogAndStore) -> None:
    log, _ = log_and_store
    assert log.head() == LogHead()
    log.advance(LogHead(), FIRST)
    assert log.head() == FIRST
    for wrong in (LogHead(), SECOND, msgspec.structs.replace(FIRST, finished=True), msgspec.structs.replace(FIRST, size=4)):
        with pytest.raises(Conflict):
            log.advance(wrong, SECOND)
    log.finish(SECOND)
    assert log.head() == FIRST
    log.finish(FIRST)
    log.finish(FIRST)
    done = msgspec.structs.replace(FIRST, finished=True)
    assert log.head() == done
    log.advance(done, SECOND)
    log.finish(FIRST)
    assert log.head() == SECOND


def test_what_is_logged_is_known(log_and_store: LogAndStore) -> None:
    log, _ = log_and_store
    assert log.logged([]) == log.logged(["evt_1"]) == set()
    indices = {f"evt_{number:03d}": number for number in range(230)}
    log.mark_logged(indices)
    log.mark_logged(indices)
    assert log.logged([*indices, "evt_x"]) == set(indices)


def test_the_outbox_has_what_was_recorded_byte_for_byte(log_and_store: LogAndStore) -> None:
    log, store = log_and_store
    made = [event(2), event(1), event(3, 1_790_000_000_000 + 86_400_000)]
    store.record(made)
    days = [list(log.outbox(day)) for day in ("2026-09-21", "2026-09-22")]
    assert days == [
        [(each.id, msgspec.json.encode(each)) for each in (made[1], made[0])],
        [("evt_003", msgspec.json.encode(made[2]))],
    ]


def test_an_event_is_recorded_once(log_and_store: LogAndStore) -> None:
    _, store = log_and_store
    store.record([event(1)])
    with pytest.raises(Conflict):
        store.record([event(1)])


# --- all of them together, on AWS's own semantics


class OnMoto(World):
    """A world whose log lies on moto; ``logged`` checks it by what a download of the bucket holds."""

    def __init__(self, cloud: Cloud) -> None:
        import dataclasses

        super().__init__()
        self.ports = dataclasses.replace(
            self.ports, archive=cloud.archive(), log=cloud.log(), notary=cloud.notary(), store=cloud.store()
        )

    def downloaded(self) -> World:
        """Return a world on fakes that holds what the cloud holds."""
        found = World()
        for version in self.ports.archive.versions("log/"):
            body = self.ports.archive.read(version.key)
            assert body is not None
            found.archive.kept.setdefault(version.key, []).append(body)
        found.log.now = self.ports.log.head()
        found.notary = self.ports.notary  # type: ignore[assignment]
        return found


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_a_crash_at_any_write_on_moto_forks_and_loses_nothing(cloud: Cloud, after: bool) -> None:
    for at in range(20):
        cloud.empty()
        world = OnMoto(cloud)
        append_events(world.ports, events(2))
        ports, _ = _interrupted(world, at, after)
        try:
            append_events(ports, events(4, 2))
        except CrashError:
            append_events(world.ports, events(5, 2))
        else:
            assert at >= 8
            return
        copy = world.downloaded()
        copy.log.leaves = {name: index for index, (name, _) in enumerate(events(7))}
        assert logged(copy) == [name for name, _ in events(7)]
        assert world.ports.log.logged(list(copy.log.leaves)) == set(copy.log.leaves)


def _interrupted(world: OnMoto, at: int, after: bool):  # type: ignore[no-untyped-def]
    world.archive, world.log = world.ports.archive, world.ports.log  # type: ignore[assignment]
    ports, counter = interrupted(world, at, crash, after)
    import dataclasses

    return dataclasses.replace(world.ports, archive=ports.archive, log=ports.log), counter
