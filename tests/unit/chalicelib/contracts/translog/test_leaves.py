"""What the log says in clear, and what it only commits to."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from chalicelib.contracts import audit, audit_event
from chalicelib.contracts.translog import leaves

APPLIED = audit.ConfigApplied(
    id="evt_1", time_ms=5, actor="pat@example.com", version=2, previous=1, digest="ab", summary=["+ rule for alice"]
)


def body(event: audit_event.Event) -> bytes:
    return msgspec.json.encode(event)


def test_public_fields_are_readable_and_sensitive_ones_are_not() -> None:
    made = leaves.leaf_of(body(APPLIED))
    leaf = leaves.read(made)
    assert (leaf.type, leaf.id, leaf.time_ms) == ("config.applied", "evt_1", 5)
    assert leaf.facts == {"digest": "ab", "previous": 1, "version": 2}
    assert leaf.digest == hashlib.sha256(body(APPLIED)).hexdigest()
    assert b"pat@" not in made
    assert b"alice" not in made


def test_a_session_is_named() -> None:
    event = audit.SessionStarted(id="evt_1", time_ms=5, actor="a", sid="ses_1", target="web", agent="edge", path="relay")
    assert leaves.read(leaves.leaf_of(body(event))).sid == "ses_1"
    assert leaves.read(leaves.leaf_of(body(APPLIED))).sid == ""


def test_the_same_event_is_the_same_leaf() -> None:
    assert leaves.leaf_of(body(APPLIED)) == leaves.leaf_of(body(APPLIED))
    other = msgspec.structs.replace(APPLIED, actor="eve@example.com")
    assert leaves.leaf_of(body(APPLIED)) != leaves.leaf_of(body(other))


def test_an_event_of_a_newer_version_is_committed_to_by_its_digest() -> None:
    raw = b'{"type":"coffee.made","id":"evt_1","time_ms":5,"actor":"a","secret":"x"}'
    leaf = leaves.read(leaves.leaf_of(raw))
    assert (leaf.type, leaf.facts) == ("coffee.made", {})
    assert leaf.digest == hashlib.sha256(raw).hexdigest()


def test_public_fields_that_are_too_long_give_way_to_the_digest() -> None:
    event = msgspec.structs.replace(APPLIED, digest="x" * leaves.LEAF_LIMIT)
    leaf = leaves.read(leaves.leaf_of(body(event)))
    assert leaf.facts == {}
    assert leaf.digest == hashlib.sha256(body(event)).hexdigest()


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b'{"type":"x","id":1,"time_ms":2}'])
def test_what_is_no_event_makes_no_leaf(raw: bytes) -> None:
    with pytest.raises(ValueError, match="stored event"):
        leaves.leaf_of(raw)


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b'{"type":1}'])
def test_what_is_no_leaf_is_not_read(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a leaf"):
        leaves.read(raw)
