"""After the table was restored from a backup: the log's head is behind what was published, and the sequencer refuses to go on.

The bucket is right and the table is late: its objects are locked, and every checkpoint is signed. So the head is taken from the
newest signed checkpoint, if the tiles there make up exactly its tree *and* that tree continues the one that the table remembers.
Anything else is no late table but an altered log, and nothing is changed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.audit import LogResumed
from chalicelib.contracts.translog import checkpoints, leaves, merkle, signatures, tiles
from chalicelib.contracts.translog.checkpoints import Checkpoint
from chalicelib.domain import log_batch
from chalicelib.domain.log_batch import PREFIX
from chalicelib.ports import LogHead, Ports
from chalicelib.usecases.append_events import BATCH, reader
from chalicelib.usecases.minting import mint

#: Marks are written in parts of this size.
_PART: Final = 1_000


class NotAnExtensionError(RuntimeError):
    """The log in the bucket does not continue the head in the table. Somebody has to find out which of them was altered."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and done unless it was only looked at."""

    before: LogHead
    after: LogHead
    marked: int = 0
    """Events that the table had forgotten were in the log."""


def resume_log(ports: Ports, actor: str, *, apply: bool) -> Resumed:
    """Set the head to where the bucket's log really ends; with ``apply`` false only look.

    Raises NotAnExtensionError, and Conflict if the sequencer moved the head meanwhile. Doing it again does nothing.
    """
    head = ports.log.head()
    stated = _newest(ports)
    tree = tiles.Tiles(reader(ports), stated.size)
    _check(ports, head, stated, tree)
    after = _unpublished(ports, stated) or LogHead(size=stated.size, root=stated.root.hex())
    if (head.size, head.root) == (after.size, after.root) or head.size > stated.size:
        return Resumed(before=head, after=head)
    if not apply:
        return Resumed(before=head, after=after)
    # Marks first: a head that moved without them would have the same events appended a second time.
    marked = _mark(ports, head, tree)
    ports.log.advance(head, after)
    event = LogResumed(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=actor,
        size_before=head.size,
        root_before=head.root,
        size=after.size,
        root=after.root,
    )
    ports.store.record([event])
    return Resumed(before=head, after=after, marked=marked)


def _newest(ports: Ports) -> Checkpoint:
    """Return the largest checkpoint of ours in the bucket: the newest one, or one of the history that was not shown yet."""
    own = [ports.notary.key()]
    best: Checkpoint | None = None
    names = [version.key for version in ports.archive.versions(f"{PREFIX}{checkpoints.HISTORY}/") if not version.deleted]
    for name in [f"{PREFIX}{checkpoints.NEWEST}", *sorted(names)[-1:]]:
        found = ports.archive.read(name)
        if found is None:
            continue
        try:
            stated, note = checkpoints.parse(found.body)
        except ValueError:
            raise NotAnExtensionError(f"{name} is no checkpoint") from None
        if not checkpoints.signed_by_log(note, own[0].name, own, signatures.check) or stated.origin != own[0].name:
            raise NotAnExtensionError(f"{name} is not signed by the log's key")
        if best is None or stated.size > best.size:
            best = stated
    if best is None:
        raise NotAnExtensionError("there is no checkpoint in the bucket")
    return best


def _check(ports: Ports, head: LogHead, stated: Checkpoint, tree: tiles.Tiles) -> None:
    if head.size > stated.size:
        if not head.finished:
            return  # a batch on its way, which the sequencer finishes by itself
        raise NotAnExtensionError(f"the table remembers {head.size} entries, the bucket shows {stated.size}: the log was cut")
    try:
        edge = tiles.read_edge(reader(ports), stated.size)
        proof = merkle.consistency_proof(head.size, stated.size, tree.node)
    except tiles.TileError as error:
        raise NotAnExtensionError(f"the log cannot be read: {error}") from None
    if edge.root() != stated.root:
        raise NotAnExtensionError(f"the tiles at size {stated.size} are not the tree that the checkpoint states")
    if not merkle.check_consistency(head.size, bytes.fromhex(head.root), stated.size, stated.root, proof):
        raise NotAnExtensionError(f"the log in the bucket does not begin with the {head.size} entries that the table remembers")


def _unpublished(ports: Ports, stated: Checkpoint) -> LogHead | None:
    """Return the head of a batch that was decided, and half written, when the table was lost.

    Its tiles are locked under names that the next batch would need, so that batch must be finished and no other. One that was
    staged and never decided wrote nothing.
    """
    for version in ports.archive.versions(f"{PREFIX}staging/{stated.size:020d}-"):
        found = ports.archive.read(version.key)
        if found is None:
            continue
        batch = log_batch.decode(version.key, found.body)
        there = [ports.archive.read(f"{PREFIX}{path}") for path in sorted(batch.writes)]
        if any(
            each is not None and each.body == batch.writes[path] for path, each in zip(sorted(batch.writes), there, strict=True)
        ):
            return LogHead(size=batch.size, root=batch.root.hex(), staging=version.key, finished=False)
    return None


def _mark(ports: Ports, head: LogHead, tree: tiles.Tiles) -> int:
    """Note the leaf of every event from a little before the head on: the last batch's marks may be lost as well."""
    count, part = 0, dict[str, int]()
    for index, entry in tree.entries(max(0, head.size - 2 * BATCH)):
        part[leaves.read(entry).id] = index
        if len(part) == _PART:
            count += _marked(ports, part)
            part = {}
    return count + _marked(ports, part)


def _marked(ports: Ports, part: dict[str, int]) -> int:
    fresh = part.keys() - ports.log.logged(list(part))
    if fresh:
        ports.log.mark_logged({event: part[event] for event in sorted(fresh)})
    return len(fresh)
