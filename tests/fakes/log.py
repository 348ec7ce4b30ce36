"""The transparency log's ports in memory: the notary's key, the bucket as the gateway writes it, the head and the index."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence

import msgspec

from chalicelib.contracts.retention import Lock
from chalicelib.contracts.translog import notes
from chalicelib.ports import Conflict, LogHead, StoredObject, Version
from tests.fakes.dynamodb import FakeStore, day_of
from tests.fakes.note_keys import NoteKey

ORIGIN = "gw.example/log"


class FakeNotary:
    """Implements ``chalicelib.ports.Notary``."""

    def __init__(self) -> None:
        self.made = NoteKey.p256(ORIGIN)

    def key(self) -> notes.Key:
        return self.made.key

    def sign(self, text: str) -> notes.Note:
        return self.made.sign(text)


class FakeArchive:
    """Implements ``chalicelib.ports.Archive``. Nothing is ever lost: every write is a version."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.kept: dict[str, list[StoredObject | None]] = {}
        """Versions by key, oldest first; None is a delete marker."""
        self.locks: dict[str, Lock] = {}
        """What each object was told when it was created."""
        self.page_keys = 1000

    def read(self, key: str) -> StoredObject | None:
        return self.kept.get(key, [None])[-1]

    def create(self, key: str, body: bytes, content_type: str, lock: Lock, metadata: dict[str, str] | None = None) -> bool:
        with self.lock:
            if self.read(key) is not None:
                return False
            self.put(key, body, metadata)
            self.locks[key] = lock
            return True

    def replace(self, key: str, body: bytes, content_type: str, lock: Lock, etag: str) -> bool:
        with self.lock:
            found = self.read(key)
            if (found.etag if found else "") != etag:
                return False
            self.put(key, body)
            return True

    def versions(self, prefix: str) -> list[Version]:
        return [
            Version(key=key, version=f"v{n}", size=len(each.body) if each else 0, deleted=each is None)
            for key in sorted(self.kept)
            if key.startswith(prefix)
            for n, each in enumerate(self.kept[key], 1)
        ]

    def page(self, prefix: str, after: str) -> tuple[list[Version], str]:
        keys = [key for key in sorted(self.kept) if key.startswith(prefix) and key > after]
        some = set(keys[: self.page_keys])
        end = max(some) if len(keys) > len(some) else ""
        return [version for version in self.versions(prefix) if version.key in some], end

    # what tests do to it
    def put(self, key: str, body: bytes, metadata: dict[str, str] | None = None) -> None:
        """Write a version, whatever is there."""
        etag = hashlib.sha256(body + str(len(self.kept.get(key, []))).encode()).hexdigest()
        self.kept.setdefault(key, []).append(StoredObject(body=body, etag=etag, metadata=metadata or {}))

    def hide(self, key: str) -> None:
        """Put a delete marker over an object."""
        self.kept[key].append(None)

    def objects(self) -> dict[str, bytes]:
        """The newest versions, as a download of the bucket has them."""
        return {key: versions[-1].body for key, versions in self.kept.items() if versions[-1] is not None}


class FakeLogIndex:
    """Implements ``chalicelib.ports.LogIndex``."""

    def __init__(self, store: FakeStore) -> None:
        self.lock = threading.RLock()
        self.store = store
        self.now = LogHead()
        self.leaves: dict[str, int] = {}

    def head(self) -> LogHead:
        return self.now

    def advance(self, old: LogHead, new: LogHead) -> None:
        with self.lock:
            if self.now != old:
                raise Conflict
            self.now = new

    def finish(self, head: LogHead) -> None:
        with self.lock:
            if self.now == head:
                self.now = msgspec.structs.replace(head, finished=True)

    def logged(self, events: Sequence[str]) -> set[str]:
        return self.leaves.keys() & set(events)

    def leaf(self, event: str) -> int | None:
        return self.leaves.get(event)

    def mark_logged(self, indices: dict[str, int]) -> None:
        self.leaves |= indices

    def outbox(self, day: str) -> Iterator[tuple[str, bytes]]:
        for event in sorted(self.store.recorded, key=lambda event: event.id):
            if day_of(event.time_ms) == day:
                yield event.id, msgspec.json.encode(event)
