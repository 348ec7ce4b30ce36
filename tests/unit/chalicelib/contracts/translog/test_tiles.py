"""The tree as objects: whatever the batches, the same tiles; and nothing that was published is written twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.contracts.translog import merkle, tiles
from chalicelib.contracts.translog.merkle import leaf_hash
from chalicelib.contracts.translog.tiles import Edge, TileError, Tiles, grow, path, read_edge


def entry(index: int) -> bytes:
    return b"entry %d" % index


def build(*batches: int) -> tuple[dict[str, bytes], Edge]:
    """Return the objects and the edge of a log that grew by ``batches``; every object is written at most once."""
    objects: dict[str, bytes] = {}
    edge = Edge()
    for count in batches:
        growth = grow(edge, [entry(edge.size + at) for at in range(count)])
        assert all(objects.get(name, body) == body for name, body in growth.writes.items())
        objects |= growth.writes
        edge = growth.edge
    return objects, edge


@pytest.mark.parametrize(
    ("kind", "number", "width", "name"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 1, 17, "tile/0/001.p/17"),
        (2, 1234067, 256, "tile/2/x001/x234/067"),
        ("entries", 999, 256, "tile/entries/999"),
        ("entries", 1000, 1, "tile/entries/x001/000.p/1"),
    ],
)
def test_names_are_those_of_the_specification(kind: int | str, number: int, width: int, name: str) -> None:
    assert path(kind, number, width) == name


@settings(max_examples=40)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6))
def test_however_it_grew_the_tree_is_the_same(batches: list[int]) -> None:
    objects, edge = build(*batches)
    frontier = merkle.Frontier()
    for index in range(edge.size):
        frontier.append(leaf_hash(entry(index)))
    reader = Tiles(objects.get, edge.size)
    assert edge.root() == frontier.root() == merkle.root(edge.size, reader.node)
    assert read_edge(objects.get, edge.size) == edge
    assert list(reader.entries()) == [(index, entry(index)) for index in range(edge.size)]
    in_one, _ = build(edge.size)
    assert {name: body for name, body in objects.items() if name in in_one} == in_one


@settings(max_examples=40)
@given(st.integers(1, 1500), st.integers(1, 1500), st.data())
def test_proofs_from_tiles_hold(first: int, second: int, draw: st.DataObject) -> None:
    objects, edge = build(first, second)
    size = first + second
    reader = Tiles(objects.get, size)
    index = draw.draw(st.integers(0, size - 1))
    assert merkle.check_inclusion(
        leaf_hash(entry(index)), index, size, merkle.inclusion_proof(index, size, reader.node), edge.root()
    )
    before = read_edge(objects.get, first).root()
    proof = merkle.consistency_proof(first, size, reader.node)
    assert merkle.check_consistency(first, before, size, edge.root(), proof)


def test_a_level_above_is_made_when_a_tile_is_full() -> None:
    objects, _ = build(256)
    assert set(objects) == {"tile/0/000", "tile/entries/000", "tile/1/000.p/1"}
    objects, edge = build(256 * 256)
    assert "tile/1/000" in objects
    assert objects["tile/2/000.p/1"] == edge.root()


def test_entries_may_be_read_from_the_middle() -> None:
    objects, edge = build(600)
    read: list[str] = []

    def fetch(name: str) -> bytes | None:
        read.append(name)
        return objects.get(name)

    assert [index for index, _ in Tiles(fetch, edge.size).entries(590)] == list(range(590, 600))
    assert read == ["tile/entries/002.p/88"]


def test_what_is_missing_or_has_another_length_is_named() -> None:
    objects, edge = build(300)
    for spoil in (None, b"", objects["tile/0/001.p/44"][:-1], objects["tile/0/001.p/44"] + b"x"):
        broken = {**objects, "tile/0/001.p/44": spoil}
        with pytest.raises(TileError, match=r"tile/0/001\.p/44"):
            read_edge(broken.get, edge.size)
    for spoil in (None, b"", objects["tile/entries/001.p/44"][:-1], objects["tile/entries/000"]):
        broken = {**objects, "tile/entries/001.p/44": spoil}
        with pytest.raises(TileError, match=r"tile/entries/001\.p/44"):
            list(Tiles(broken.get, edge.size).entries())


def test_leaves_that_are_not_the_trees_are_not_built_upon() -> None:
    objects, edge = build(3)
    objects["tile/entries/000.p/3"] = tiles.pack_entries([entry(0), b"forged", entry(2)])
    with pytest.raises(TileError, match="leaves that the tree was made of"):
        read_edge(objects.get, edge.size)


def test_an_entry_has_a_longest_length() -> None:
    grow(Edge(), [b"x" * tiles.ENTRY_LIMIT])
    with pytest.raises(ValueError, match="65535"):
        grow(Edge(), [b"x" * (tiles.ENTRY_LIMIT + 1)])


@given(st.binary(max_size=200), st.integers(0, 5))
def test_a_bundle_of_garbage_is_entries_or_an_error(body: bytes, count: int) -> None:
    try:
        found = tiles.unpack_entries(body, count)
    except TileError:
        return
    assert tiles.pack_entries(found) == body
