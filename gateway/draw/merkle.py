"""The Merkle tree of RFC 6962 over the sorted entries: its root stands for all of them, and a short proof shows that
one entry is among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gateway.draw.formulas import HASH_BYTES
from gateway.draw.packed import STEP_VALUES, Packed
from gateway.draw.slices import Steps

_LEAF: Final = b"\0"
_NODE: Final = b"\1"
MAX_PATH: Final = 64
"""A proof with more hashes is not read: its tree would have more than 2**64 leaves."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That a leaf is the one at ``index`` (from 0) of a tree with ``size`` leaves: the hashes beside its way to the
    root, from the leaf on."""

    index: int
    size: int
    path: tuple[bytes, ...]


class MerkleTree:
    """All hashes of the tree: ``levels[0]`` has those of the leaves, the last level has the root."""

    __slots__ = ("_levels", "root")

    def __init__(self, levels: Sequence[bytearray]) -> None:
        self._levels = tuple(levels)
        self.root = bytes(self._levels[-1]) if self._levels else sha256(b"").digest()
        """The tree's head; without leaves SHA-256 of nothing, as the RFC says."""

    def proof(self, index: int) -> Proof:
        """The proof for the leaf at ``index``. Raises IndexError if there is no such leaf."""
        size = len(self._levels[0]) // HASH_BYTES if self._levels else 0
        if not 0 <= index < size:
            raise IndexError(index)
        path = []
        place = index
        for level in self._levels[:-1]:
            start = (place ^ 1) * HASH_BYTES
            # The last node of a level with an odd number of them has no sibling and moves up as it is.
            if start < len(level):
                path.append(bytes(level[start : start + HASH_BYTES]))
            place >>= 1
        return Proof(index, size, tuple(path))


def build(leaves: Packed) -> Steps[MerkleTree]:
    """The tree over these leaves."""
    levels: list[bytearray] = []
    level = bytearray()
    for count, leaf in enumerate(leaves, 1):
        level += sha256(_LEAF + leaf).digest()
        if count % STEP_VALUES == 0:
            yield
    while level:
        levels.append(level)
        if len(level) == HASH_BYTES:
            break
        level = yield from _level_above(levels[-1])
    return MerkleTree(levels)


def _level_above(below: bytearray) -> Steps[bytearray]:
    level = bytearray()
    pair = 2 * HASH_BYTES
    for count, start in enumerate(range(0, len(below), pair), 1):
        hashes = below[start : start + pair]
        level += sha256(_NODE + hashes).digest() if len(hashes) == pair else hashes
        if count % STEP_VALUES == 0:
            yield
    return level


def proves(proof: Proof, leaf: bytes, root: bytes) -> bool:
    """Whether ``proof`` shows that ``leaf`` is in the tree with this root (RFC 9162, section 2.1.3.2)."""
    place, last = proof.index, proof.size - 1
    if not 0 <= place <= last or len(proof.path) > MAX_PATH:
        return False
    found = sha256(_LEAF + leaf).digest()
    for sibling in proof.path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = sha256(_NODE + sibling + found).digest()
            while place & 1 == 0 and place:
                place >>= 1
                last >>= 1
        else:
            found = sha256(_NODE + found + sibling).digest()
        place >>= 1
        last >>= 1
    return last == 0 and found == root
