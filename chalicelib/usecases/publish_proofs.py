"""A self-contained proof beside each recording that a batch of the log sealed: the session's folder then proves itself."""

from __future__ import annotations

from chalicelib.contracts import manifest
from chalicelib.contracts.translog import merkle, notes
from chalicelib.contracts.translog.checkpoints import Proof
from chalicelib.contracts.translog.tiles import Tiles
from chalicelib.domain.log_batch import PREFIX, Batch
from chalicelib.ports import Ports
from chalicelib.usecases.locking import lock_of


def publish_proofs(ports: Ports, batch: Batch, checkpoint: notes.Note) -> None:
    """Store ``session.tlog-proof`` for every sealed session of ``batch``, whose tiles are published. Again does nothing."""
    if not batch.sealed:
        return

    def fetch(path: str) -> bytes | None:
        # What this batch wrote need not be read back.
        if path in batch.writes:
            return batch.writes[path]
        found = ports.archive.read(f"{PREFIX}{path}")
        return found.body if found else None

    reader = Tiles(fetch, batch.size)
    for sealed in batch.sealed:
        session = ports.store.session(sealed.sid)
        if session is None or not session.recording:
            continue
        hashes = merkle.inclusion_proof(sealed.index, batch.size, reader.node)
        proof = Proof(sealed.index, hashes, checkpoint, sealed.leaf)
        name = manifest.names(sealed.status)[2]
        lock = lock_of(ports, session)
        ports.archive.create(f"{session.recording}/{name}", str(proof).encode(), "text/plain; charset=utf-8", lock)
