"""Batches of the log, as they are staged."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts import audit
from chalicelib.contracts.translog import leaves, notes, tiles
from chalicelib.domain import log_batch

SEALED = audit.SessionSealed(
    id="evt_2", time_ms=1, actor="system", sid="ses_1", target="web", manifest="ab" * 32, status="truncated", chunks=1, chain="cd"
)
OTHER = audit.LoggedOut(id="evt_1", time_ms=1, actor="a", token="t")
EVENTS = [(event.id, leaves.leaf_of(msgspec.json.encode(event))) for event in (OTHER, SEALED)]


def test_a_batch_says_what_it_appends_and_which_sessions_it_seals() -> None:
    edge = tiles.grow(tiles.Edge(), [b"earlier"]).edge
    batch = log_batch.compose(edge, EVENTS)
    assert (batch.first, batch.size, batch.events) == (1, 3, ["evt_1", "evt_2"])
    assert batch.root == tiles.grow(edge, [leaf for _, leaf in EVENTS]).edge.root()
    assert batch.sealed == [log_batch.Sealed(2, "ses_1", "truncated", EVENTS[1][1])]
    assert set(batch.writes) == {"tile/0/000.p/3", "tile/entries/000.p/3"}


def test_a_staged_bundle_is_named_by_what_is_in_it() -> None:
    batch = log_batch.compose(tiles.Edge(), EVENTS)
    key, body = log_batch.encode(batch)
    assert log_batch.encode(batch) == (key, body)
    assert log_batch.decode(key, body) == batch
    for wrong in (body + b"x", body[:-1], b""):
        with pytest.raises(ValueError, match="not the bundle"):
            log_batch.decode(key, wrong)


def test_the_log_is_named_after_its_bucket() -> None:
    assert notes.check_name(log_batch.origin("my-recordings")) == "my-recordings.s3.amazonaws.com/log"
