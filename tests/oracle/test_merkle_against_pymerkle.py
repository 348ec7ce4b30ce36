"""Our tree against pymerkle's: the same roots at every size, and the same audit paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.translog import merkle, tiles

pymerkle = pytest.importorskip("pymerkle", reason="the oracle is in the dev extra")

SIZE = 700


def data(index: int) -> bytes:
    return b"entry %d" % index


@pytest.fixture(scope="module")
def theirs():  # type: ignore[no-untyped-def]
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for index in range(SIZE):
        tree.append_entry(data(index))
    return tree


@pytest.fixture(scope="module")
def ours() -> dict[str, bytes]:
    edge, objects = tiles.Edge(), {}
    for index in range(SIZE):
        growth = tiles.grow(edge, [data(index)])
        objects |= growth.writes
        edge = growth.edge
    return objects


def test_roots_are_equal_at_every_size(theirs, ours) -> None:  # type: ignore[no-untyped-def]
    frontier = merkle.Frontier()
    for size in range(1, SIZE + 1):
        frontier.append(merkle.leaf_hash(data(size - 1)))
        assert theirs.get_root(size) == frontier.root()
    for size in (1, 2, 255, 256, 257, SIZE):
        assert theirs.get_root(size) == tiles.read_edge(ours.get, size).root()


@given(st.integers(1, SIZE), st.data())
def test_audit_paths_are_equal(theirs, ours, size: int, draw: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    index = draw.draw(st.integers(0, size - 1))
    path = [bytes.fromhex(part) for part in theirs.prove_inclusion(index + 1, size).serialize()["path"]]
    # theirs begins with the leaf itself
    assert path == [merkle.leaf_hash(data(index)), *merkle.inclusion_proof(index, size, tiles.Tiles(ours.get, size).node)]


def both(theirs, ours, old: int, new: int, old_root: bytes, new_root: bytes) -> tuple[bool, bool]:  # type: ignore[no-untyped-def]
    """Tell whether pymerkle's consistency proof convinces pymerkle of these roots, and ours us.

    pymerkle cuts the tree in another way than RFC 6962 §2.1.2, so the hashes of the proofs differ. What they prove may not.
    """
    try:
        theirs.prove_consistency(old, new).verify(old_root, new_root, prior_size=old, later_size=new)
    except pymerkle.InvalidProof:
        accepted = False
    else:
        accepted = True
    mine = merkle.consistency_proof(old, new, tiles.Tiles(ours.get, new).node)
    return accepted, merkle.check_consistency(old, old_root, new, new_root, mine)


def test_both_prove_that_the_tree_begins_with_every_earlier_one(theirs, ours) -> None:  # type: ignore[no-untyped-def]
    roots = [b"", *(theirs.get_root(size) for size in range(1, SIZE + 1))]
    sizes = [*range(1, 70), 255, 256, 257, 511, 512, 513, SIZE - 1, SIZE]
    for new in sizes:
        for old in (each for each in sizes if each <= new):
            assert both(theirs, ours, old, new, roots[old], roots[new]) == (True, True), (old, new)


def test_neither_proves_another_history(theirs, ours) -> None:  # type: ignore[no-untyped-def]
    roots = [b"", *(theirs.get_root(size) for size in range(1, SIZE + 1))]
    for new in (2, 3, 8, 100, 256, 257, SIZE):
        for old in (each for each in (1, 2, 7, 64, 99, 256, SIZE - 1) if each < new):
            assert both(theirs, ours, old, new, merkle.leaf_hash(b"forged"), roots[new]) == (False, False)
            assert both(theirs, ours, old, new, roots[old], roots[new - 1] if new > 2 else merkle.EMPTY) == (False, False)
