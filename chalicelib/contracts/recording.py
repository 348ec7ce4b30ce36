"""A recording: a chain of immutable chunks under a key that a person can browse.

Each chunk is lines of text in zstd frames, one frame behind the other: readers must not stop at the end of the first. Chunks of
one session are numbered from 0 without gaps and bound into a hash chain, so that none can be dropped, swapped or edited unseen. A
chunk belongs to one *channel* of the session, named in its kind, because one SSH connection may run several programs at once:
``zstd -dc *.ch01.cast.zst`` is a complete asciicast v3 of channel 1.

    chain_seed = SHA-256("sallyport-recording-v1" ‖ 0 ‖ sid ‖ 0 ‖ agent public key)
    chain_n    = SHA-256("sallyport-chunk-v1" ‖ 0 ‖ chain_(n-1) ‖ u64 n ‖ u64 time_ms ‖ SHA-256(body))

Integers are big-endian. ``body`` is the compressed frames exactly as they are stored: compressing again need not give the same
bytes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import struct
from typing import Final, Literal
from urllib.parse import quote

import msgspec

#: A chunk is cut when so much would be stored of it (what is not compressed yet counts as it is), after so much text, or after
#: so long, whichever comes first. Smaller chunks would cost an upload and a registration each while output floods.
CHUNK_BYTES: Final = 3 * 1024 * 1024
CHUNK_TEXT: Final = 8 * 1024 * 1024
CHUNK_SECONDS: Final = 3.0
#: The largest compressed chunk that is ever accepted.
CHUNK_LIMIT: Final = 4 * 1024 * 1024
#: Chunks that a session may have.
CHUNK_COUNT_LIMIT: Final = 1_000_000
CONTENT_TYPE: Final = "application/zstd"

#: What the lines of a channel are: a terminal, a transcript, or sealed originals (``contracts.originals``).
Kind = Literal["cast", "jsonl", "sealed"]

_KIND: Final = re.compile(r"ch[0-9]{2,4}\.(?:cast|jsonl)|ch00\.sealed")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Chunk(msgspec.Struct, kw_only=True, frozen=True):
    """A chunk as the agent registers it, before its bytes are uploaded."""

    n: int
    kind: str
    """``ch01.cast`` for a terminal, ``ch02.jsonl`` for a transcript, ``ch00.sealed`` for sealed originals."""
    time_ms: int
    """Unix milliseconds of the first line."""
    size: int
    """Bytes of the compressed body."""
    sha256: str
    """Hex SHA-256 of the compressed body."""
    chain: str
    """Hex head of the chain with this chunk in it."""


class StoredChunk(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A chunk as the control plane knows it."""

    chunk: Chunk
    key: str
    version: str = ""
    """The object's VersionId, as S3 said when the bytes arrived; empty until then."""

    def is_same(self, other: StoredChunk | None) -> bool:
        """Tell whether ``other`` is the same registration, whether or not its bytes have arrived."""
        return other is not None and (self.chunk, self.key) == (other.chunk, other.key)


def seed(sid: str, agent_public_key: bytes) -> str:
    """Return the hex start of the chain of session ``sid``, recorded by the agent with this raw Ed25519 public key."""
    return hashlib.sha256(b"sallyport-recording-v1\0" + sid.encode() + b"\0" + agent_public_key).hexdigest()


def link(previous: str, n: int, time_ms: int, sha256: str) -> str:
    """Return the hex head of the chain after chunk ``n`` with body hash ``sha256`` was added to ``previous``."""
    material = bytes.fromhex(previous) + struct.pack(">QQ", n, time_ms) + bytes.fromhex(sha256)
    return hashlib.sha256(b"sallyport-chunk-v1\0" + material).hexdigest()


def problem(chunk: Chunk) -> str | None:
    """Say what is wrong with the shape of ``chunk``, or return None."""
    if not 0 <= chunk.n < CHUNK_COUNT_LIMIT:
        return "a chunk's number is between 0 and 999999"
    if not _KIND.fullmatch(chunk.kind):
        return "a chunk's kind reads like ch01.cast or ch01.jsonl"
    if not 0 < chunk.size <= CHUNK_LIMIT:
        return f"a chunk holds between 1 and {CHUNK_LIMIT} bytes"
    if not 0 <= chunk.time_ms < 1 << 48:
        return "a chunk's time is milliseconds since 1970"
    if not _HASH.fullmatch(chunk.sha256) or not _HASH.fullmatch(chunk.chain):
        return "hashes are 64 lower-case hex digits"
    return None


def prefix(opened_ms: int, target: str, principal: str, sid: str) -> str:
    """Return the browsable key prefix of a session, without a trailing slash. Names are escaped, never trusted."""
    when = dt.datetime.fromtimestamp(opened_ms / 1000, dt.UTC)
    place = f"{_segment(target)}/{_segment(principal)}"
    return f"recordings/{when:%Y/%m/%d}/{place}/{when:%H%M%S}Z_{sid}"


def key(session_prefix: str, chunk: Chunk) -> str:
    """Return the object key of ``chunk``."""
    when = dt.datetime.fromtimestamp(chunk.time_ms / 1000, dt.UTC)
    return f"{session_prefix}/{chunk.n:06d}_{when:%H%M%S}Z.{chunk.kind}.zst"


def _segment(name: str) -> str:
    # A name of dots alone would climb out of its folder in tools that treat keys as paths.
    return quote(name, safe="@+") if name.strip(".") else quote(name, safe="").replace(".", "%2E")
