"""The manifest: what a session's recording consists of, said once at its end, and signed.

    manifest.json             the manifest; every hash and count is in it
    manifest.sig              a signed note (``translog.notes``) over the manifest's SHA-256
    session.tlog-proof        that the transparency log holds ``session.sealed`` with that SHA-256
    README.txt                the same for people, with the command that checks it

A session whose agent fell silent is sealed as ``truncated``, with what had arrived. If the agent returns and hands in the rest,
a second manifest says ``recovered``; its names have ``.recovered`` in them, and the first one stands. It continues the first:
the same chunks, and more.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal

import msgspec

from chalicelib.contracts.recording import Chunk, link, seed
from chalicelib.contracts.retention import Retention

FORMAT: Final = "sallyport-manifest/1"
README: Final = "README.txt"
#: A manifest of the longest recording (a million chunks) would be near this; nothing larger is read.
MANIFEST_LIMIT: Final = 256 * 1024 * 1024

Status = Literal["complete", "truncated", "recovered"]
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Recorder(msgspec.Struct, kw_only=True, frozen=True):
    """The agent that recorded."""

    name: str
    agent_id: str
    public_key: str
    """Hex of the raw Ed25519 key: the hash chain starts from it."""


class Clocks(msgspec.Struct, kw_only=True, frozen=True):
    """Unix milliseconds. Of the control plane, but for the two of the agent."""

    opened_ms: int
    started_ms: int
    ended_ms: int
    deadline_ms: int
    agent_first_ms: int = 0
    """First line of the first chunk, by the agent's clock; 0 without chunks."""
    agent_last_ms: int = 0
    """First line of the last chunk, by the agent's clock."""


class Counts(msgspec.Struct, kw_only=True, frozen=True):
    """How much there is."""

    chunks: int
    bytes: int
    operations: int
    denied: int


class Entry(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One chunk, in the order of the chain."""

    name: str
    """File name beside the manifest."""
    n: int
    kind: str
    time_ms: int
    size: int
    sha256: str
    chain: str
    version: str = ""
    """The object's VersionId in the bucket when the manifest was made."""
    missing: bool = False
    """It was registered, but its bytes had not arrived."""

    @property
    def chunk(self) -> Chunk:
        """The chunk as the agent registered it."""
        return Chunk(n=self.n, kind=self.kind, time_ms=self.time_ms, size=self.size, sha256=self.sha256, chain=self.chain)


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """One session, sealed."""

    format: str = FORMAT
    log: str
    """Name of the transparency log, and of the key that signs."""
    sid: str
    status: Status
    state: str
    """How the session ended (``session.State``)."""
    message: str
    principal: str
    groups: list[str]
    source_ip: str
    target: str
    protocol: str
    login: str
    reason: str
    path: str
    policy_version: int
    rule: str
    approvals: list[str]
    """Identifiers of the approval requests that it was opened under and that operations inside it used, as the log names them."""
    recorder: Recorder
    clocks: Clocks
    counts: Counts
    retention: Retention | None = None
    """How long every object of the recording is kept, at least; None for sessions of earlier versions."""
    seed: str
    chain: str
    """Hex head of the chain: over every chunk below."""
    chunks: list[Entry]


def encode(manifest: Manifest) -> bytes:
    """Return the bytes that are stored and signed: indented JSON, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(raw: bytes) -> Manifest:
    """Return a stored manifest. Raises ValueError."""
    try:
        found = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a manifest: {error}") from None
    if found.format != FORMAT:
        raise ValueError(f"a manifest of format {found.format[:40]!r}, which this version does not know")
    return found


def digest(raw: bytes) -> str:
    """Return the hex SHA-256 by which log and signature name a stored manifest."""
    return hashlib.sha256(raw).hexdigest()


def statement(log: str, sid: str, sha256: str) -> str:
    """Return the text that is signed for a manifest."""
    return f"sallyport-manifest/v1\n{log}\n{sid}\n{sha256}\n"


def names(status: str) -> tuple[str, str, str]:
    """Return the file names of a manifest, its signature and its proof."""
    part = ".recovered" if status == "recovered" else ""
    return f"manifest{part}.json", f"manifest{part}.sig", f"session{part}.tlog-proof"


def broken_link(manifest: Manifest) -> str:
    """Say where the manifest contradicts itself, or return an empty text: numbers, chain, seed, counts, file names."""
    try:
        head = seed(manifest.sid, bytes.fromhex(manifest.recorder.public_key))
    except ValueError:
        return "the recorder's key is not hex"
    if head != manifest.seed:
        return "the chain does not start from the session and its agent's key"
    for n, entry in enumerate(manifest.chunks):
        if entry.n != n or not entry.name.startswith(f"{n:06d}_") or "/" in entry.name:
            return f"chunk {n} is not where it should be: {entry.name[:80]!r} stands in its place"
        if not _SHA256.fullmatch(entry.sha256) or not 0 <= entry.time_ms < 1 << 63 or entry.size < 0:
            return f"chunk {n} is not well-formed"
        head = link(head, n, entry.time_ms, entry.sha256)
        if head != entry.chain:
            return f"the hash chain breaks at chunk {n}"
    if head != manifest.chain:
        return "the chain ends in another head than the manifest's"
    if (len(manifest.chunks), sum(entry.size for entry in manifest.chunks)) != (manifest.counts.chunks, manifest.counts.bytes):
        return "the counts are not those of the chunks"
    return ""
