"""The tree as immutable objects of a bucket (https://c2sp.org/tlog-tiles).

A tile of level L holds up to 256 hashes of level 8·L; the last one of each level is *partial* until it is full, and every width
that was ever published keeps a name of its own, so that no object is written twice. Entry bundles hold the leaves themselves,
each behind its length in two bytes.

    tile/0/000  tile/0/001.p/17  tile/1/000.p/1  tile/entries/000  tile/entries/001.p/17
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from chalicelib.contracts.translog.merkle import EMPTY, HASH_BYTES, inner_hash, leaf_hash, perfect_root

WIDTH: Final = 256
_HEIGHT: Final = 8
#: The longest leaf: its length travels in two bytes.
ENTRY_LIMIT: Final = 0xFFFF
ENTRIES: Final = "entries"

Fetch = Callable[[str], bytes | None]
"""Returns the object at a path below the log's prefix, or None."""


class TileError(ValueError):
    """A tile or bundle is missing, or is not what its name says. ``path`` names it."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        super().__init__(f"{path} {what}")


def path(kind: int | str, number: int, width: int = WIDTH) -> str:
    """Return where tile ``number`` of level ``kind`` (or of ``entries``) lies; less than 256 wide means partial."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03d}")
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{kind}/{'/'.join(reversed(groups))}{partial}"


def width_of(level: int, number: int, size: int) -> int:
    """Return how many hashes tile ``number`` of ``level`` holds in a tree of ``size`` leaves (0: it does not exist yet)."""
    return max(0, min(WIDTH, (size >> _HEIGHT * level) - number * WIDTH))


def pack_entries(entries: Iterable[bytes]) -> bytes:
    """Return an entry bundle. Raises ValueError for an entry that is too long."""
    parts = []
    for entry in entries:
        if len(entry) > ENTRY_LIMIT:
            raise ValueError(f"an entry of the log has at most {ENTRY_LIMIT} bytes")
        parts += [struct.pack(">H", len(entry)), entry]
    return b"".join(parts)


def unpack_entries(bundle: bytes, count: int, name: str = "an entry bundle") -> list[bytes]:
    """Return the ``count`` entries of a bundle. Raises TileError if it holds more, fewer or half of one."""
    found, at = [], 0
    while at < len(bundle):
        if at + 2 > len(bundle):
            raise TileError(name, "ends in the middle of an entry")
        (length,) = struct.unpack_from(">H", bundle, at)
        found.append(bundle[at + 2 : at + 2 + length])
        at += 2 + length
    if at > len(bundle) or len(found) != count:
        raise TileError(name, f"does not hold {count} entries")
    return found


class Tiles:
    """Reads hashes of a published tree of ``size`` leaves. Every tile is fetched once and kept."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self.size = fetch, size
        self._kept: dict[tuple[int, int], list[bytes]] = {}

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a perfect subtree (``merkle.Node``). Raises TileError."""
        rise = level % _HEIGHT
        number, offset = divmod(index << rise, WIDTH)
        hashes = self.tile(level // _HEIGHT, number)[offset : offset + (1 << rise)]
        if len(hashes) != 1 << rise:
            raise TileError(path(level // _HEIGHT, number), "does not reach that far")
        return perfect_root(hashes)

    def tile(self, level: int, number: int) -> list[bytes]:
        """Return the hashes of one tile. Raises TileError."""
        if (level, number) not in self._kept:
            width = width_of(level, number, self.size)
            self._kept[level, number] = _hashes(path(level, number, width), self._fetch, width)
        return self._kept[level, number]

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield index and bytes of every leaf from ``start`` on. Raises TileError."""
        for number in range(start // WIDTH, -(-self.size // WIDTH)):
            width = width_of(0, number, self.size)
            name = path(ENTRIES, number, width)
            body = self._fetch(name)
            if body is None:
                raise TileError(name, "is missing")
            for offset, entry in enumerate(unpack_entries(body, width, name)):
                if (index := number * WIDTH + offset) >= start:
                    yield index, entry


@dataclass(frozen=True)
class Edge:
    """What a tree's next leaf needs: the partial tile of every level, and the leaves of the partial bundle."""

    size: int = 0
    tiles: list[list[bytes]] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)

    def root(self) -> bytes:
        """Return the tree's root."""
        found = b""
        for hashes in self.tiles:
            end = len(hashes)
            while end:
                count = end & -end
                block = perfect_root(hashes[end - count : end])
                found = inner_hash(block, found) if found else block
                end -= count
        return found or EMPTY


@dataclass(frozen=True)
class Growth:
    """A grown tree: its edge, and every object that must be written for it."""

    edge: Edge
    writes: dict[str, bytes]


def read_edge(fetch: Fetch, size: int) -> Edge:
    """Return the edge of a published tree. Raises TileError. Whether its root is the right one is the caller's to check."""
    levels: list[list[bytes]] = []
    while size >> _HEIGHT * len(levels):
        level = len(levels)
        number, width = divmod(size >> _HEIGHT * level, WIDTH)
        levels.append(_hashes(path(level, number, width), fetch, width) if width else [])
    number, width = divmod(size, WIDTH)
    entries: list[bytes] = []
    if width:
        name = path(ENTRIES, number, width)
        body = fetch(name)
        if body is None:
            raise TileError(name, "is missing")
        entries = unpack_entries(body, width, name)
        if [leaf_hash(entry) for entry in entries] != levels[0]:
            raise TileError(name, "does not hold the leaves that the tree was made of")
    return Edge(size, levels, entries)


def grow(edge: Edge, entries: Sequence[bytes]) -> Growth:
    """Append ``entries``. Raises ValueError for one that is too long."""
    writes: dict[str, bytes] = {}
    _fill_bundles(edge, entries, writes)
    levels = [list(hashes) for hashes in edge.tiles]
    added = [leaf_hash(entry) for entry in entries]
    level = 0
    while added:
        if level == len(levels):
            levels.append([])
        number = (edge.size >> _HEIGHT * level) // WIDTH
        waiting, added = levels[level] + added, []
        while len(waiting) >= WIDTH:
            full, waiting = waiting[:WIDTH], waiting[WIDTH:]
            writes[path(level, number)] = b"".join(full)
            added.append(perfect_root(full))
            number += 1
        if waiting:
            writes[path(level, number, len(waiting))] = b"".join(waiting)
        levels[level] = waiting
        level += 1
    size = edge.size + len(entries)
    return Growth(Edge(size, levels, [*edge.entries, *entries][-(size % WIDTH) :] if size % WIDTH else []), writes)


def _fill_bundles(edge: Edge, entries: Sequence[bytes], writes: dict[str, bytes]) -> None:
    held = [*edge.entries, *entries]
    first = edge.size // WIDTH
    for at in range(0, len(held), WIDTH):
        bundle = held[at : at + WIDTH]
        writes[path(ENTRIES, first + at // WIDTH, len(bundle))] = pack_entries(bundle)


def _hashes(name: str, fetch: Fetch, width: int) -> list[bytes]:
    body = fetch(name) if width else None
    if body is None:
        raise TileError(name, "is missing")
    if len(body) != width * HASH_BYTES:
        raise TileError(name, f"does not hold {width} hashes")
    return [body[at : at + HASH_BYTES] for at in range(0, len(body), HASH_BYTES)]
