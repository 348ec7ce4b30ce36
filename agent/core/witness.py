"""Witnessing a log, without reading or writing anything: what was shown is held against what was verified before.

An agent that remembers one checkpoint knows whether every later one continues it. Whoever owns every key of the gateway can show
an auditor one history and an agent another; they cannot make both verify from the same remembered size and root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from chalicelib.contracts.api import LogNews, LogPlace
from chalicelib.contracts.translog import checkpoints, merkle, notes
from chalicelib.contracts.translog.checkpoints import Checkpoint
from chalicelib.contracts.translog.notes import Key, Note
from chalicelib.contracts.translog.signatures import check

Kind = Literal["fork", "rollback", "forged", "overdue"]
_PROOF_LIMIT: Final = 64


class ContradictionError(Exception):
    """What was shown cannot be the log that was seen before."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind


class Seen(msgspec.Struct, frozen=True):
    """A checkpoint that was verified, as it was signed."""

    stated: Checkpoint
    note: Note


def read_key(text: str) -> Key | None:
    """Return the log's key as ``Trust`` names it; None where the gateway has no log. Raises ContradictionError."""
    if not text:
        return None
    try:
        return notes.read_key(text)
    except ValueError:
        raise ContradictionError("forged", "What the gateway calls the log's key is none.") from None


def advance(kept: Checkpoint | None, news: LogNews, key: Key) -> Seen | None:
    """Return the checkpoint of ``news`` if it is genuine and continues ``kept``; None where there is no log yet and was none.

    Raises ContradictionError.
    """
    if not news.checkpoint:
        if kept is not None:
            raise ContradictionError("rollback", f"The log had {kept.size} entries, and now there is none.")
        return None
    try:
        stated, note = checkpoints.parse(news.checkpoint.encode())
    except ValueError as error:
        raise ContradictionError("forged", f"What was shown is no checkpoint: {error}.") from None
    if stated.origin != key.name or not checkpoints.signed_by_log(note, key.name, [key], check):
        raise ContradictionError("forged", f"The checkpoint is not signed by the key of {key.name}.")
    if kept is not None:
        _continues(kept, stated, news.consistency)
    return Seen(stated, note)


def _continues(kept: Checkpoint, stated: Checkpoint, proof: Sequence[str]) -> None:
    if stated.size < kept.size:
        raise ContradictionError("rollback", f"The log had {kept.size} entries, and now it has {stated.size}.")
    if stated.size == kept.size:
        if stated.root != kept.root:
            raise ContradictionError("fork", f"There are two logs of {kept.size} entries.")
        return
    hashes = _hashes(proof)
    if hashes is None or not merkle.check_consistency(kept.size, kept.root, stated.size, stated.root, hashes):
        text = f"The log of {stated.size} entries is not shown to begin with the {kept.size} that were seen before."
        raise ContradictionError("fork", text)


def is_in(leaf: str, place: LogPlace, stated: Checkpoint) -> bool:
    """Tell whether ``place`` shows that the leaf with the hex hash ``leaf`` is in the tree of ``stated``."""
    hashes, hashed = _hashes(place.hashes), _hashes([leaf])
    if hashes is None or not hashed:
        return False
    return merkle.check_inclusion(hashed[0], place.index, stated.size, hashes, stated.root)


def _hashes(texts: Sequence[str]) -> list[bytes] | None:
    if len(texts) > _PROOF_LIMIT:
        return None
    try:
        found = [bytes.fromhex(text) for text in texts]
    except ValueError:
        return None
    return found if all(len(each) == merkle.HASH_BYTES for each in found) else None
