"""The two halves of a draw: its close, which fixes the entries, and its ranks, which need the beacon's value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.draw import merkle, packed
from gateway.draw.formulas import HASH_BYTES, order_key
from gateway.draw.merkle import MerkleTree, Proof
from gateway.draw.packed import STEP_VALUES, Packed
from gateway.draw.slices import Steps


class ClosedEntries:
    """The entries of a draw, sorted, and their Merkle tree. No entry can be added or left out without another root."""

    __slots__ = ("_entries", "_tree")

    def __init__(self, entries: Packed, tree: MerkleTree) -> None:
        self._entries = entries
        self._tree = tree

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        return self._tree.root

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries)

    def proof(self, entry: bytes) -> Proof:
        """That ``entry`` is among these entries. Raises ValueError if it is not."""
        return self._tree.proof(self._entries.index(entry))


class Ranks:
    """The order of the draw."""

    __slots__ = ("_keyed", "_seed")

    def __init__(self, seed: bytes, keyed: Packed) -> None:
        self._seed = seed
        self._keyed = keyed

    def __len__(self) -> int:
        return len(self._keyed)

    def __iter__(self) -> Iterator[bytes]:
        """The entries, that of rank 1 first."""
        return (keyed[HASH_BYTES:] for keyed in self._keyed)

    def rank_of(self, entry: bytes) -> int:
        """The rank of ``entry``, from 1. Raises ValueError if the draw does not have it."""
        return self._keyed.index(order_key(self._seed, entry) + entry) + 1


def close(entries: Iterable[bytes]) -> Steps[ClosedEntries]:
    """Fixes the entries. Raises ValueError if one occurs twice or does not have 32 bytes."""
    ordered = yield from packed.sort(entries, HASH_BYTES)
    before = b""
    for count, entry in enumerate(ordered, 1):
        if entry == before:
            raise ValueError(f"the entry {entry.hex()} occurs twice")
        before = entry
        if count % STEP_VALUES == 0:
            yield
    tree = yield from merkle.build(ordered)
    return ClosedEntries(ordered, tree)


def rank(seed: bytes, entries: Iterable[bytes]) -> Steps[Ranks]:
    """Ranks the entries. ``seed``: see ``formulas.seed_of``."""
    keyed = yield from packed.sort((order_key(seed, entry) + entry for entry in entries), 2 * HASH_BYTES)
    return Ranks(seed, keyed)
