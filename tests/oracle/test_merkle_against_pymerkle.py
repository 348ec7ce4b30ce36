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
