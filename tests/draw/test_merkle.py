"""The Merkle tree: against the definition of RFC 6962, known roots, and proofs that are not sound."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.draw.formulas import HASH_BYTES
from gateway.draw.merkle import MAX_PATH, MerkleTree, Proof, build, proves
from gateway.draw.packed import Packed, sort
from gateway.draw.slices import run

LEAVES = st.sets(st.binary(min_size=32, max_size=32), max_size=70).map(sorted)


def tree_of(leaves: list[bytes]) -> MerkleTree:
    return run(build(run(sort(leaves, HASH_BYTES))))


def defined_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\1" + defined_hash(leaves[:k]) + defined_hash(leaves[k:])).digest()


def defined_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m < k:
        return [*defined_path(m, leaves[:k]), defined_hash(leaves[k:])]
    return [*defined_path(m - k, leaves[k:]), defined_hash(leaves[:k])]


@given(LEAVES)
def test_root_and_paths_are_those_of_the_rfc(leaves: list[bytes]) -> None:
    tree = tree_of(leaves)
    assert tree.root == defined_hash(leaves)
    for place, leaf in enumerate(leaves):
        proof = tree.proof(place)
        assert proof == Proof(place, len(leaves), tuple(defined_path(place, leaves)))
        assert proves(proof, leaf, tree.root)


def test_known_roots_of_certificate_transparency_hold() -> None:
    """The root of an empty tree and of one empty leaf, as the RFC's authors publish them."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree_of([]).root.hex() == empty
    one_empty_leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert sha256(b"\0").hexdigest() == one_empty_leaf
    assert run(build(Packed([b"\x05" * 32], 32))).root == sha256(b"\0" + b"\x05" * 32).digest()


@given(LEAVES.filter(lambda leaves: len(leaves) > 1), st.data())
def test_a_changed_proof_proves_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    tree = tree_of(leaves)
    place = data.draw(st.integers(0, len(leaves) - 1))
    proof, leaf = tree.proof(place), leaves[place]
    step = data.draw(st.integers(0, len(proof.path) - 1))
    other = bytes([proof.path[step][0] ^ 1]) + proof.path[step][1:]
    changed = (*proof.path[:step], other, *proof.path[step + 1 :])
    assert not proves(replace(proof, path=changed), leaf, tree.root)
    assert not proves(replace(proof, path=proof.path[:-1]), leaf, tree.root)
    assert not proves(replace(proof, path=(*proof.path, other)), leaf, tree.root)
    assert not proves(proof, leaves[place - 1], tree.root)
    assert not proves(proof, leaf, other)
    elsewhere = data.draw(st.integers(0, len(leaves) - 1).filter(lambda index: index != place))
    assert not proves(replace(proof, index=elsewhere), leaf, tree.root)


@pytest.mark.parametrize(
    "proof",
    [
        Proof(0, 0, ()),
        Proof(1, 1, ()),
        Proof(-1, 1, ()),
        Proof(0, 1, (b"\0" * 32,)),
        Proof(0, 2**63, (b"\0" * 32,) * (MAX_PATH + 1)),
    ],
)
def test_a_proof_that_makes_no_sense_proves_nothing(proof: Proof) -> None:
    leaf = b"\x07" * 32
    assert not proves(proof, leaf, tree_of([leaf]).root)


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_no_proof_for_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        tree_of([b"\1" * 32, b"\2" * 32]).proof(index)
