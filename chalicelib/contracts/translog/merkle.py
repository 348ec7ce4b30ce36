"""The Merkle tree of RFC 6962 (and RFC 9162 §2.1): hashes, proofs, verification.

Proofs are built from *perfect* subtrees alone, ``node(level, index)`` being the hash over leaves ``index << level`` up to
``(index + 1) << level``; such hashes never change as the tree grows, which is what lets tiles be immutable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

HASH_BYTES: Final = 32
#: The root of a tree without leaves (RFC 6962 §2.1).
EMPTY: Final = hashlib.sha256(b"").digest()
#: Larger trees are not ours; the bound keeps loops over hostile sizes short.
SIZE_LIMIT: Final = 1 << 56

Node = Callable[[int, int], bytes]
"""Returns the hash of a perfect subtree by level and index; raises if it cannot."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256(0 ‖ data)."""
    return hashlib.sha256(b"\0" + data).digest()


def inner_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256(1 ‖ left ‖ right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of ``hashes``."""
    level = list(hashes)
    if not level or len(level) & (len(level) - 1):
        raise ValueError("a perfect subtree has a power of two of hashes")
    while len(level) > 1:
        level = [inner_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


class Frontier:
    """The perfect subtrees that a growing tree consists of: enough to append, and to know the root, in O(log n) memory."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, hashed: bytes) -> None:
        """Add the hash of one leaf."""
        carry, at = hashed, self.size
        while at & 1:
            carry = inner_hash(self._peaks.pop(), carry)
            at >>= 1
        self._peaks.append(carry)
        self.size += 1

    def root(self) -> bytes:
        """Return the root."""
        if not self._peaks:
            return EMPTY
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = inner_hash(peak, found)
        return found


def root(size: int, node: Node) -> bytes:
    """Return the root of a tree of ``size`` leaves."""
    return _range(0, size, node) if size else EMPTY


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return the audit path of leaf ``index`` in a tree of ``size`` leaves. Raises ValueError if there is no such leaf."""
    if not 0 <= index < size:
        raise ValueError("there is no such leaf in a tree of this size")
    low, high, found = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append(_range(middle, high, node))
            high = middle
        else:
            found.append(_range(low, middle, node))
            low = middle
    return found[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Return the proof that a tree of ``new`` leaves begins with the one of ``old`` leaves. Raises ValueError for old > new."""
    if not 0 <= old <= new:
        raise ValueError("a tree only grows")
    if old in (0, new):
        return []
    low, high, found, whole = 0, new, [], True
    while True:
        if old == high:
            if not whole:
                found.append(_range(low, high, node))
            return found[::-1]
        middle = low + _split(high - low)
        if old <= middle:
            found.append(_range(middle, high, node))
            high = middle
        else:
            found.append(_range(low, middle, node))
            low, whole = middle, False


def check_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes) -> bool:
    """Tell whether ``proof`` shows that ``hashed`` is leaf ``index`` of the tree (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size <= SIZE_LIMIT or any(len(part) != HASH_BYTES for part in proof):
        return False
    at, last, found = index, size - 1, hashed
    for part in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = inner_hash(part, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = inner_hash(found, part)
        at, last = at >> 1, last >> 1
    return last == 0 and found == tree_root


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether ``proof`` shows that the tree of ``new`` leaves begins with the one of ``old`` (RFC 9162 §2.1.4.2)."""
    if not 0 <= old <= new <= SIZE_LIMIT or any(len(part) != HASH_BYTES for part in proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY
    # A complete left subtree is its own first hash, which the proof leaves out.
    parts = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not parts:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = parts[0]
    for part in parts[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = inner_hash(part, first), inner_hash(part, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = inner_hash(second, part)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(count: int) -> int:
    """The largest power of two smaller than ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _range(low: int, high: int, node: Node) -> bytes:
    """The hash over leaves ``low`` to ``high``, where ``low`` is where a perfect subtree of that size may begin."""
    count = high - low
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, low >> level)
    middle = low + _split(count)
    return inner_hash(_range(low, middle, node), _range(middle, high, node))
