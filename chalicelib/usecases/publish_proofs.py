"""A self-contained proof beside each recording that a batch of the log sealed: the session's folder then proves itself.

And one under the name of each key of sealed originals that was erased, so that whoever verifies a recording alone can see that.
"""

from __future__ import annotations

from chalicelib.contracts import manifest, originals
from chalicelib.contracts.retention import Lock
from chalicelib.contracts.translog import merkle, notes
from chalicelib.contracts.translog.checkpoints import Proof
from chalicelib.contracts.translog.tiles import Tiles
from chalicelib.domain.log_batch import PREFIX, Batch, Erased, Sealed
from chalicelib.ports import Ports
from chalicelib.usecases.locking import lock_for_good, lock_of


def publish_proofs(ports: Ports, batch: Batch, checkpoint: notes.Note) -> None:
    """Store the proofs of every sealed session and erased key of ``batch``, whose tiles are published. Again does nothing."""
    if not batch.sealed and not batch.erased:
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
        name = f"{session.recording}/{manifest.names(sealed.status)[2]}"
        _store(ports, name, _proof(reader, sealed, batch, checkpoint), lock_of(ports, session))
    for erased in batch.erased:
        _store(ports, originals.erasure_path(erased.key), _proof(reader, erased, batch, checkpoint), lock_for_good(ports))


def _proof(reader: Tiles, leaf: Sealed | Erased, batch: Batch, checkpoint: notes.Note) -> Proof:
    return Proof(leaf.index, merkle.inclusion_proof(leaf.index, batch.size, reader.node), checkpoint, leaf.leaf)


def _store(ports: Ports, key: str, proof: Proof, lock: Lock) -> None:
    ports.archive.create(key, str(proof).encode(), "text/plain; charset=utf-8", lock)
