"""The tree, held to RFC 6962's own definition. ``tests/oracle`` holds it to pymerkle."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.translog import merkle
from chalicelib.contracts.translog.merkle import (
    EMPTY,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    inner_hash,
    leaf_hash,
    perfect_root,
)

sizes = st.integers(1, 600)


def data(index: int) -> bytes:
    return b"entry %d" % index


def plain_root(low: int, high: int) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if high == low:
        return EMPTY
    if high - low == 1:
        return leaf_hash(data(low))
    split = 1
    while split * 2 < high - low:
        split *= 2
    return inner_hash(plain_root(low, low + split), plain_root(low + split, high))


def node(level: int, index: int) -> bytes:
    return perfect_root([leaf_hash(data(at)) for at in range(index << level, (index + 1) << level)])


def test_the_empty_tree_and_the_domains_of_leaves_and_nodes() -> None:
    assert hashlib.sha256().digest() == EMPTY == merkle.root(0, node) == Frontier().root()
    assert leaf_hash(b"") == hashlib.sha256(b"\0").digest()
    # RFC 6962: without the prefixes an inner node could be shown as a leaf.
    assert leaf_hash(leaf_hash(b"a") + leaf_hash(b"b")) != inner_hash(leaf_hash(b"a"), leaf_hash(b"b"))


@given(sizes)
def test_roots_are_the_definitions(size: int) -> None:
    frontier = Frontier()
    for index in range(size):
        frontier.append(leaf_hash(data(index)))
    assert frontier.root() == merkle.root(size, node) == plain_root(0, size)


@given(sizes, st.data())
def test_inclusion_holds_and_for_nothing_else(size: int, draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, node)
    root = plain_root(0, size)
    assert check_inclusion(leaf_hash(data(index)), index, size, proof, root)
    assert not check_inclusion(leaf_hash(b"forged"), index, size, proof, root)
    assert not check_inclusion(leaf_hash(data(index)), index, size, [*proof, EMPTY], root)
    assert not check_inclusion(leaf_hash(data(index)), index, size, proof, EMPTY)
    if proof:
        assert not check_inclusion(leaf_hash(data(index)), index, size, proof[:-1], root)
        at = draw.draw(st.integers(0, len(proof) - 1))
        assert not check_inclusion(leaf_hash(data(index)), index, size, [*proof[:at], EMPTY, *proof[at + 1 :]], root)
    other = draw.draw(st.integers(0, size - 1))
    if other != index:
        assert not check_inclusion(leaf_hash(data(index)), other, size, proof, root)


@given(sizes, st.data())
def test_consistency_holds_and_for_nothing_else(new: int, draw: st.DataObject) -> None:
    old = draw.draw(st.integers(0, new))
    proof = consistency_proof(old, new, node)
    before, after = plain_root(0, old), plain_root(0, new)
    assert check_consistency(old, before, new, after, proof)
    assert not check_consistency(old, leaf_hash(b"forged"), new, after, proof)
    if old:
        assert not check_consistency(old, before, new, leaf_hash(b"forged"), proof)
    assert not check_consistency(old, before, new, after, [*proof, EMPTY])
    if proof:
        assert not check_consistency(old, before, new, after, proof[:-1])
        at = draw.draw(st.integers(0, len(proof) - 1))
        assert not check_consistency(old, before, new, after, [*proof[:at], EMPTY, *proof[at + 1 :]])


@given(st.integers(2, 300), st.data())
def test_a_tree_in_which_one_leaf_was_changed_is_never_consistent(new: int, draw: st.DataObject) -> None:
    old = draw.draw(st.integers(1, new - 1))
    changed = draw.draw(st.integers(0, old - 1))

    def other(level: int, index: int) -> bytes:
        leaves = range(index << level, (index + 1) << level)
        return perfect_root([leaf_hash(b"forged" if at == changed else data(at)) for at in leaves])

    rewritten = merkle.root(new, other)
    assert not check_consistency(old, plain_root(0, old), new, rewritten, consistency_proof(old, new, other))


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_proof(index, size, node)
    assert not check_inclusion(leaf_hash(data(0)), index, size, [], plain_root(0, 3))


def test_trees_only_grow() -> None:
    with pytest.raises(ValueError, match="only grows"):
        consistency_proof(4, 3, node)
    assert not check_consistency(4, plain_root(0, 4), 3, plain_root(0, 3), [])


@given(st.integers(-5, 1 << 60), st.integers(-5, 1 << 60), st.lists(st.binary(max_size=33), max_size=70))
def test_garbage_is_refused_and_never_raises(one: int, two: int, proof: list[bytes]) -> None:
    assert not check_inclusion(EMPTY, one, two, proof, leaf_hash(b"x"))
    assert not check_consistency(one, EMPTY, two, leaf_hash(b"x"), proof) or (one == 0 < two and not proof)


def test_a_perfect_subtree_is_perfect() -> None:
    for count in (0, 3):
        with pytest.raises(ValueError, match="power of two"):
            perfect_root([EMPTY] * count)
