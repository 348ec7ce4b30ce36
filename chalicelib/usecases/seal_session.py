"""A session ended: say what its recording consists of, sign that, and have the log remember it.

Everything is derived from what was stored, so that doing it again makes the same bytes. What cannot be made again, the
signature, is stored *with* the manifest in one write; a manifest that is there already counts only with a good signature of ours
beside it, so that nobody can leave a text for us to sign.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from typing import Final

from chalicelib.contracts import ids, manifest
from chalicelib.contracts.audit import EvidenceConflict, SessionEnded, SessionSealed
from chalicelib.contracts.manifest import Manifest
from chalicelib.contracts.recording import StoredChunk, link
from chalicelib.contracts.session import Session, State
from chalicelib.contracts.translog import notes, signatures
from chalicelib.domain import manifests
from chalicelib.ports import Conflict, Ports, Version
from chalicelib.usecases.locking import lock_of

_SIGNATURE: Final = "sallyport-signature"
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


def seal_session(ports: Ports, ended: SessionEnded) -> SessionSealed | None:
    """Store manifest, signature and README, and record the event; None where there is nothing to seal or it cannot be.

    What contradicts itself is never signed: it becomes an ``evidence.conflict`` event. A chunk with a second version becomes one
    too, beside the manifest, which names the first.
    """
    found = ports.store.entrusted(ended.sid)
    if found is None or not found[0].started_ms or not found[0].recording:
        return None  # nobody presented the ticket: nothing was recorded
    session, custody = found
    chunks = ports.store.chunks(ended.sid)[: ended.chunks]
    if wrong := _contradiction(custody.seed, chunks, ended):
        return _refuse(ports, ended, wrong)
    agent = ports.store.custodian(custody.agent_id)
    if agent is None:
        return _refuse(ports, ended, f"nothing is known of agent {custody.agent_id}, which recorded it")
    versions = ports.archive.versions(f"{session.recording}/")
    if double := _doubled(versions, {stored.key for stored in chunks}):
        _conflict(ports, ended, f"{double} was written or deleted after it was recorded")
    if other := _exchanged(versions, chunks):
        _conflict(ports, ended, f"{other} is not the version that arrived when it was recorded")
    arrived = {version.key: version.version for version in reversed(versions) if not version.deleted}
    recorder = manifests.recorder(agent.name, agent.agent_id, agent.public_key)
    used = ports.store.used_in(session.sid)
    made = manifests.compose(ports.notary.key().name, session, recorder, ended, chunks, arrived, used)
    return _store(ports, session, made, ended)


def _contradiction(seed: str, chunks: list[StoredChunk], ended: SessionEnded) -> str:
    if len(chunks) != ended.chunks:
        return f"{ended.chunks} chunks were recorded, {len(chunks)} are known"
    head = seed
    for n, stored in enumerate(chunks):
        chunk = stored.chunk
        if chunk.n != n:
            return f"chunk {n} is not known"
        head = link(head, n, chunk.time_ms, chunk.sha256)
        if head != chunk.chain:
            return f"the hash chain breaks at chunk {n}"
    return "" if head == ended.chain else "the hash chain has another head than the session's"


def _doubled(versions: list[Version], keys: set[str]) -> str:
    """Return a chunk's key that has more than one version, a delete marker included."""
    seen: set[str] = set()
    for version in versions:
        if version.key in seen and version.key in keys:
            return version.key
        seen.add(version.key)
    return ""


def _exchanged(versions: list[Version], chunks: list[StoredChunk]) -> str:
    """Return a chunk's key whose version is not the one that S3 told of when it was written."""
    there = {(version.key, version.version) for version in versions}
    return next((stored.key for stored in chunks if stored.version and (stored.key, stored.version) not in there), "")


def _store(ports: Ports, session: Session, made: Manifest, ended: SessionEnded) -> SessionSealed | None:
    prefix, lock = session.recording, lock_of(ports, session)
    name, signature_name, _ = manifest.names(made.status)
    raw = manifest.encode(made)
    note = ports.notary.sign(manifest.statement(made.log, made.sid, manifest.digest(raw)))
    kept = {_SIGNATURE: base64.b64encode(str(note).encode()).decode()}
    if not ports.archive.create(f"{prefix}/{name}", raw, _JSON, lock, kept):
        earlier = _earlier(ports, f"{prefix}/{name}", made)
        if earlier is None:
            return _refuse(ports, ended, f"{name} lies there already, and is not ours")
        raw, note = earlier
        made = manifest.decode(raw)
    ports.archive.create(f"{prefix}/{signature_name}", str(note).encode(), _TEXT, lock)
    ports.archive.create(f"{prefix}/{manifest.README}", manifests.readme(made, prefix).encode(), _TEXT, lock)
    sealed = SessionSealed(
        id=_derived(ended, "sealed"),
        time_ms=ended.time_ms,
        actor="system",
        sid=made.sid,
        target=made.target,
        manifest=manifest.digest(raw),
        status=made.status,
        chunks=made.counts.chunks,
        chain=made.chain,
        missing=sum(entry.missing for entry in made.chunks),
    )
    with contextlib.suppress(Conflict):  # an earlier attempt recorded it
        ports.store.record([sealed])
    return sealed


def _earlier(ports: Ports, key: str, made: Manifest) -> tuple[bytes, notes.Note] | None:
    """Return what an earlier attempt stored, if it is our own manifest of the same end of the same session."""
    found = ports.archive.read(key)
    if found is None:
        return None
    try:
        note = notes.parse(base64.b64decode(found.metadata.get(_SIGNATURE, ""), validate=True))
        there = manifest.decode(found.body)
    except (ValueError, binascii.Error):
        return None
    own = ports.notary.key()
    said = manifest.statement(own.name, made.sid, manifest.digest(found.body))
    if note.text != said or not notes.signers(note, [own], signatures.check):
        return None
    return (found.body, note) if (there.status, there.chain) == (made.status, made.chain) else None


def _refuse(ports: Ports, ended: SessionEnded, what: str) -> SessionSealed | None:
    _conflict(ports, ended, what)
    return None


def _conflict(ports: Ports, ended: SessionEnded, what: str) -> None:
    event = EvidenceConflict(
        id=_derived(ended, what), time_ms=ended.time_ms, actor="system", sid=ended.sid, target=ended.target, what=what
    )
    with contextlib.suppress(Conflict):
        ports.store.record([event])


def _derived(ended: SessionEnded, what: str) -> str:
    """An identifier that doing the same again mints again: the event is then recorded once."""
    return ids.mint(ids.EVENT, ended.time_ms, hashlib.sha256(f"{ended.id} {what}".encode()).digest()[: ids.ENTROPY_BYTES])


def is_over(ended: SessionEnded) -> bool:
    """Tell whether the event ends a session that may have been recorded."""
    return ended.state in (State.ENDED, State.KILLED, State.INTERRUPTED)
