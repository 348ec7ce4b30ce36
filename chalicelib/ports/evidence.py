"""Evidence and the keys that seal it: the bucket, the transparency log, KMS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from chalicelib.contracts.recording import Chunk
from chalicelib.contracts.retention import Lock
from chalicelib.contracts.translog import notes
from chalicelib.contracts.translog.merkle import EMPTY
from chalicelib.ports.rows import OriginalsKey


class Blobs(Protocol):
    """The evidence bucket. The control plane signs; it never carries recording bytes."""

    def presign_put(self, key: str, chunk: Chunk, lock: Lock, expires_s: int) -> tuple[str, dict[str, str]]:
        """Return a URL and the exact headers for one upload: length, SHA-256, type, If-None-Match and ``lock`` are bound."""
        ...

    def presign_get(self, key: str, expires_s: int) -> str:
        """Return a URL that reads one object for a short while."""
        ...


class Signer(Protocol):
    """The gateway's own keys, in KMS. Private halves never leave it."""

    def sign_token(self, typ: str, claims: dict[str, Any]) -> str:
        """Return a compact JWS (ES256) with ``typ`` in its header."""
        ...

    def verify_token(self, typ: str, token: str) -> dict[str, Any]:
        """Return the claims of a JWS of exactly this ``typ``. Raises ValueError; times are the caller's to check."""
        ...

    def token_key(self) -> dict[str, str]:
        """Return the public JWK of the token key."""
        ...

    def ssh_ca(self) -> str:
        """Return the SSH CA's public key as one OpenSSH line."""
        ...

    def sign_ssh(self, blob: bytes) -> bytes:
        """Return the SSH signature blob (``ecdsa-sha2-nistp256``) of the CA over ``blob``."""
        ...


class Unavailable(Exception):  # noqa: N818 - an outcome that is told as a code and tried again by whoever asked
    """KMS did not answer, or would not do it. The text is for the gateway's own log."""


class Vault(Protocol):
    """The keys of sealed originals. Their private halves are plain for the length of one call, and nowhere else."""

    def make(self, target: str, month: str) -> tuple[bytes, bytes]:
        """Return a new raw X25519 public key and its private half, wrapped for this target and month. Raises Unavailable."""
        ...

    def open(self, key: OriginalsKey, sealed: bytes, info: bytes) -> bytes:
        """Return what was sealed to ``key`` by HPKE with ``info``. Raises Unavailable; ValueError where it does not open."""
        ...


class Notary(Protocol):
    """The key of the transparency log, in KMS: it signs checkpoints and manifests, and nothing else."""

    def key(self) -> notes.Key:
        """Return the public key; its name is the log's."""
        ...

    def sign(self, text: str) -> notes.Note:
        """Return ``text``, which is lines, as a signed note."""
        ...


class StoredObject(msgspec.Struct, kw_only=True, frozen=True):
    """An object of the bucket with what is stored beside it."""

    body: bytes
    etag: str
    metadata: dict[str, str] = {}


class Version(msgspec.Struct, kw_only=True, frozen=True):
    """One version of an object. ``deleted`` is a delete marker: somebody hid what was there."""

    key: str
    version: str
    size: int
    deleted: bool = False


class Archive(Protocol):
    """What the gateway itself writes into the evidence bucket: manifests, and the transparency log."""

    def read(self, key: str) -> StoredObject | None:
        """Return the newest version of an object, or None."""
        ...

    def create(self, key: str, body: bytes, content_type: str, lock: Lock, metadata: dict[str, str] | None = None) -> bool:
        """Write an object that does not exist; return False, and change nothing, where one does."""
        ...

    def replace(self, key: str, body: bytes, content_type: str, lock: Lock, etag: str) -> bool:
        """Write over the object that has ``etag`` (empty: that does not exist); False where another one is there."""
        ...

    def versions(self, prefix: str) -> list[Version]:
        """Return every version of every object below ``prefix``, by key, oldest first."""
        ...

    def page(self, prefix: str, after: str) -> tuple[list[Version], str]:
        """Return the versions of about a thousand objects below ``prefix`` with keys behind ``after``, like ``versions``.

        The second part is the last key of the page, empty where it is the last page. All versions of a key are on one page;
        of a key with thousands only the newest.
        """
        ...


class LogHead(msgspec.Struct, kw_only=True, frozen=True):
    """Where the transparency log ends. ``root`` is hex."""

    size: int = 0
    root: str = EMPTY.hex()
    staging: str = ""
    """Key of the bundle that the last batch is finished from."""
    finished: bool = True
    """Everything of the last batch is written. No batch follows one that is not."""


class LogIndex(Protocol):
    """The head of the transparency log, and which events are in it already. The log itself lies in the archive."""

    def head(self) -> LogHead:
        """Return the head, read consistently."""
        ...

    def advance(self, old: LogHead, new: LogHead) -> None:
        """Put ``new`` in the place of ``old``. Raises Conflict if that is not the head any more."""
        ...

    def finish(self, head: LogHead) -> None:
        """Note that the batch of ``head`` is written whole. Nothing happens if the head has moved on."""
        ...

    def leaf(self, event: str) -> int | None:
        """Return which leaf an event is, read consistently; None while the log does not hold it."""
        ...

    def logged(self, events: Sequence[str]) -> set[str]:
        """Return which of these event identifiers are in the log, read consistently."""
        ...

    def mark_logged(self, indices: dict[str, int]) -> None:
        """Note the leaf of each event. Writing the same again changes nothing. Raises Conflict if it must be tried again."""
        ...

    def outbox(self, day: str) -> Iterator[tuple[str, bytes]]:
        """Yield identifier and stored bytes of every audit event of a UTC day, oldest first."""
        ...
