"""One batch of the transparency log, between the decision to append it and the last object that makes it whole.

The bundle is stored *before* the head moves, and holds everything that must be written after it. So whoever finds a head whose
batch is not finished, be it the sequencer that crashed, its next invocation or a racing one, does the rest, and does the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from chalicelib.contracts.originals import is_key_name
from chalicelib.contracts.translog import leaves, tiles
from chalicelib.contracts.translog.tiles import Edge

#: Where the log lies in the evidence bucket.
PREFIX: Final = "log/"


class Sealed(msgspec.Struct, frozen=True):
    """A leaf that says ``session.sealed``: a proof of it is stored beside the recording."""

    index: int
    sid: str
    status: str
    leaf: bytes


class Erased(msgspec.Struct, frozen=True):
    """A leaf that says ``originals.erased``: a proof of it is stored under the name of the key."""

    index: int
    key: str
    leaf: bytes


class Batch(msgspec.Struct, kw_only=True, frozen=True):
    """What a staged bundle holds."""

    first: int
    """Index of the batch's first leaf: the size of the tree before."""
    size: int
    root: bytes
    writes: dict[str, bytes]
    """Objects below the log's prefix."""
    events: list[str]
    """Identifiers of the events, in the order of their leaves."""
    sealed: list[Sealed]
    erased: list[Erased] = []


def origin(bucket: str) -> str:
    """Return the name of the log in ``bucket``. It must never change: every checkpoint ever signed carries it.

    So it is not the gateway's address, which moves to a custom domain one day; the bucket is where the evidence is, for good.
    """
    return f"{bucket}.s3.amazonaws.com/log"


def compose(edge: Edge, events: Sequence[tuple[str, bytes]]) -> Batch:
    """Return the batch that appends ``events`` (identifier and leaf) to the tree that ends in ``edge``."""
    growth = tiles.grow(edge, [leaf for _, leaf in events])
    sealed, erased = [], []
    for index, (_, entry) in enumerate(events, edge.size):
        leaf = leaves.read(entry)
        if leaf.type == "session.sealed":
            sealed.append(Sealed(index, leaf.sid, str(leaf.facts.get("status", "")), entry))
        if leaf.type == "originals.erased" and is_key_name(str(leaf.facts.get("key", ""))):
            erased.append(Erased(index, str(leaf.facts["key"]), entry))
    return Batch(
        first=edge.size,
        size=growth.edge.size,
        root=growth.edge.root(),
        writes=growth.writes,
        events=[event for event, _ in events],
        sealed=sealed,
        erased=erased,
    )


def encode(batch: Batch) -> tuple[str, bytes]:
    """Return the key of the staged bundle, which its content decides, and its bytes."""
    body = msgspec.msgpack.encode(batch)
    return f"{PREFIX}staging/{batch.first:020d}-{hashlib.sha256(body).hexdigest()[:32]}", body


def decode(key: str, body: bytes) -> Batch:
    """Return a staged bundle. Raises ValueError if it is not what ``key`` says."""
    if hashlib.sha256(body).hexdigest()[:32] != key.rpartition("-")[2]:
        raise ValueError(f"{key} is not the bundle that was staged")
    return msgspec.msgpack.decode(body, type=Batch)
