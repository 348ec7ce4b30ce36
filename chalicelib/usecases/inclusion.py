"""Is an event in the transparency log? Not what the index says, but what the log itself proves."""

from __future__ import annotations

import msgspec

from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.translog import checkpoints, leaves, merkle, signatures, tiles
from chalicelib.domain.log_batch import PREFIX
from chalicelib.ports import Ports


def require_logged(ports: Ports, event: AnyEvent) -> int:
    """Return the leaf of ``event``, proved by the newest checkpoint, which the log's own key signed.

    Raises Fault: log_behind while the log does not hold it; evidence_altered where it holds something else in its place.
    """
    index = ports.log.leaf(event.id)
    newest = ports.archive.read(f"{PREFIX}{checkpoints.NEWEST}") if index is not None else None
    if index is None or newest is None:
        raise _behind()
    own = ports.notary.key()
    try:
        stated, note = checkpoints.parse(newest.body)
    except ValueError:
        raise _altered("The log's checkpoint is not one.") from None
    if not checkpoints.signed_by_log(note, own.name, [own], signatures.check) or stated.origin != own.name:
        raise _altered("The log's checkpoint is not signed by the log's key.")
    if index >= stated.size:
        raise _behind()

    def fetch(path: str) -> bytes | None:
        found = ports.archive.read(f"{PREFIX}{path}")
        return found.body if found else None

    try:
        proof = merkle.inclusion_proof(index, stated.size, tiles.Tiles(fetch, stated.size).node)
    except tiles.TileError as error:
        raise _altered(f"The log cannot be read: {error}.") from None
    entry = leaves.leaf_of(msgspec.json.encode(event))
    if not merkle.check_inclusion(merkle.leaf_hash(entry), index, stated.size, proof, stated.root):
        raise _altered("The log holds something else in the place of this event.")
    return index


def _behind() -> Fault:
    return Fault("log_behind", "The transparency log does not hold this yet; nothing happens before it does.", hint="Try again.")


def _altered(message: str) -> Fault:
    return Fault("evidence_altered", message, hint="Tell whoever is responsible for evidence.")
