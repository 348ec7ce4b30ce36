"""The sequencer: audit events become leaves of the transparency log, each once, whoever runs how often.

    1  stage     log/staging/…        everything that the batch will write
    2  advance   the head item        compare-and-swap: the only step that decides, and the only one that can lose
    3  publish   tiles, checkpoint    each created once; finding the same bytes there is fine, finding others is an alarm
    4  mark      the events' leaves   so that they are not appended again
    5  finish    the head item        no batch follows one that is not finished

A crash between any two of them leaves either a bundle that nothing points at, or a head that says what is left to do. Correctness
rests on step 2 alone: two sequencers may run at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chalicelib.contracts.translog import checkpoints, leaves, notes, signatures, tiles
from chalicelib.contracts.translog.checkpoints import Checkpoint
from chalicelib.domain import log_batch
from chalicelib.domain.log_batch import PREFIX, Batch
from chalicelib.ports import Conflict, LogHead, Ports
from chalicelib.usecases.locking import lock_for_good
from chalicelib.usecases.publish_proofs import publish_proofs

#: How many leaves one batch appends at most: the bundle stays small, and the function within its time.
BATCH: Final = 500
_ATTEMPTS: Final = 20
_OCTETS: Final = "application/octet-stream"
_TEXT: Final = "text/plain; charset=utf-8"


class LogTamperedError(RuntimeError):
    """What lies in the bucket is not what the log wrote. The sequencer stops: every later leaf would rest on it."""


def append_events(ports: Ports, bodies: Iterable[tuple[str, bytes]]) -> int:
    """Append every event (identifier and stored bytes) that is not in the log yet, in order; return how many were appended.

    Raises LogTamperedError, ValueError for something that is no event, and Conflict if others were faster again and again.
    """
    waiting = {event: leaves.leaf_of(body) for event, body in bodies}
    appended = 0
    for _ in range(_ATTEMPTS + len(waiting) // BATCH):
        try:
            head = settle(ports)
            known = ports.log.logged(list(waiting))
            fresh = [(event, leaf) for event, leaf in waiting.items() if event not in known][:BATCH]
            if not fresh:
                return appended
            _append(ports, head, fresh)
            appended += len(fresh)  # the next round finishes it
        except Conflict:
            continue
    raise Conflict


def settle(ports: Ports) -> LogHead:
    """Finish the last batch if somebody left it unfinished; return the head. Raises LogTamperedError, Conflict."""
    # Others go on meanwhile: only a head that was read as finished may be built upon.
    while not (head := ports.log.head()).finished:
        _finish(ports, head)
    return head


def reader(ports: Ports) -> tiles.Fetch:
    """Return the function that reads objects of the log."""

    def fetch(path: str) -> bytes | None:
        found = ports.archive.read(f"{PREFIX}{path}")
        return found.body if found else None

    return fetch


def _finish(ports: Ports, head: LogHead) -> None:
    staged = ports.archive.read(head.staging)
    if staged is None:
        raise LogTamperedError(f"{head.staging} is gone")
    try:
        batch = log_batch.decode(head.staging, staged.body)
    except ValueError as error:
        raise LogTamperedError(str(error)) from None
    if (batch.size, batch.root.hex()) != (head.size, head.root):
        raise LogTamperedError(f"{head.staging} is not the batch of the head")
    for path, body in batch.writes.items():
        _create(ports, f"{PREFIX}{path}", body)
    note = _publish(ports, Checkpoint(ports.notary.key().name, batch.size, batch.root))
    publish_proofs(ports, batch, note)
    ports.log.mark_logged({event: batch.first + at for at, event in enumerate(batch.events)})
    ports.log.finish(head)


def _append(ports: Ports, head: LogHead, fresh: list[tuple[str, bytes]]) -> None:
    _not_behind(ports, head)
    try:
        edge = tiles.read_edge(reader(ports), head.size)
    except tiles.TileError as error:
        raise LogTamperedError(str(error)) from None
    if edge.root().hex() != head.root:
        raise LogTamperedError(f"the tiles at size {head.size} do not have the root of the head")
    batch: Batch = log_batch.compose(edge, fresh)
    key, body = log_batch.encode(batch)
    _create(ports, key, body)
    ports.log.advance(head, LogHead(size=batch.size, root=batch.root.hex(), staging=key, finished=False))


def _not_behind(ports: Ports, head: LogHead) -> None:
    """Refuse to append after a head that is older than what was published: its row was deleted, or restored from a backup."""
    newest = ports.archive.read(f"{PREFIX}{checkpoints.NEWEST}")
    if newest is None or _size(newest.body) <= head.size:
        return
    if ports.log.head() != head:
        raise Conflict  # another sequencer has moved on since it was read
    raise LogTamperedError(f"the head is at size {head.size}, and {_size(newest.body)} was published")


def _create(ports: Ports, key: str, body: bytes) -> None:
    if not ports.archive.create(key, body, _OCTETS, lock_for_good(ports)):
        found = ports.archive.read(key)
        if found is None or found.body != body:
            raise LogTamperedError(f"{key} holds something that the log did not write")


def _publish(ports: Ports, stated: Checkpoint) -> notes.Note:
    """Sign and store the checkpoint, or take the one that an earlier attempt stored; show it as the newest."""
    key = f"{PREFIX}{checkpoints.history_path(stated.size)}"
    made = ports.notary.sign(stated.text())
    if not ports.archive.create(key, str(made).encode(), _TEXT, lock_for_good(ports)):
        found = ports.archive.read(key)
        made = _same(ports, stated, found.body if found else b"", key)
    _show(ports, stated, made)
    return made


def _same(ports: Ports, stated: Checkpoint, raw: bytes, key: str) -> notes.Note:
    try:
        there, note = checkpoints.parse(raw)
    except ValueError:
        raise LogTamperedError(f"{key} is not a checkpoint") from None
    own = [ports.notary.key()]
    if there != stated or not checkpoints.signed_by_log(note, stated.origin, own, signatures.check):
        raise LogTamperedError(f"{key} states another tree")
    return note


def _show(ports: Ports, stated: Checkpoint, note: notes.Note) -> None:
    """Put the checkpoint where the newest one lies, unless a newer one is there already."""
    key = f"{PREFIX}{checkpoints.NEWEST}"
    for _ in range(_ATTEMPTS):
        found = ports.archive.read(key)
        if found is not None and _size(found.body) >= stated.size:
            return
        if ports.archive.replace(key, str(note).encode(), _TEXT, lock_for_good(ports), found.etag if found else ""):
            return
    raise Conflict


def _size(raw: bytes) -> int:
    try:
        return checkpoints.parse(raw)[0].size
    except ValueError:
        return -1
