"""Close and ranks: the same as the formulas say, whatever order the entries come in; and fast beside an event loop."""

from __future__ import annotations

import hmac
import random
import time
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.draw.formulas import seed_of
from gateway.draw.merkle import proves
from gateway.draw.ranking import close, rank
from gateway.draw.slices import run, run_in_slices
from tests.support.loop_turns import counted_turns

ENTRIES = st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=600)


@given(ENTRIES, st.binary(min_size=32, max_size=32), st.randoms())
def test_ranks_are_in_ascending_order_of_the_keyed_hash(
    entries: list[bytes], secret: bytes, mixer: random.Random
) -> None:
    closed = run(close(entries))
    mixer.shuffle(entries)
    assert run(close(entries)).root == closed.root
    assert list(closed) == sorted(entries)
    assert len(closed) == len(entries)
    seed = seed_of(secret, closed.root)
    ranks = run(rank(seed, closed))
    expected = sorted(entries, key=lambda entry: hmac.new(seed, entry, sha256).digest())
    assert list(ranks) == expected
    assert len(ranks) == len(entries)
    for place, entry in enumerate(expected, 1):
        assert ranks.rank_of(entry) == place
        assert proves(closed.proof(entry), entry, closed.root)


def test_each_rank_is_taken_once_and_about_as_often_by_each_entry() -> None:
    entries = [bytes([number]) * 32 for number in range(4)]
    firsts = [next(iter(run(rank(seed_of(bytes([n] * 32), b"r" * 32), entries)))) for n in range(256)]
    # Of 256 draws each of the four wins 64 on average; 7 standard deviations are 48. The draws are always the same.
    assert {entry: 16 < firsts.count(entry) < 112 for entry in entries} == dict.fromkeys(entries, True)


def test_an_entry_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=f"{'01' * 32} occurs twice"):
        run(close([b"\1" * 32, b"\2" * 32, b"\1" * 32]))


def test_what_is_not_among_the_entries_has_neither_rank_nor_proof() -> None:
    closed = run(close([b"\1" * 32]))
    with pytest.raises(ValueError, match="not among"):
        closed.proof(b"\2" * 32)
    with pytest.raises(ValueError, match="not among"):
        run(rank(b"s" * 32, closed)).rank_of(b"\2" * 32)


async def test_a_hundred_thousand_entries_are_ranked_while_the_loop_goes_on() -> None:
    mixer = random.Random(7)
    entries = [mixer.randbytes(32) for _ in range(100_000)]
    async with counted_turns() as turns:
        began = time.process_time()
        closed = await run_in_slices(close(entries))
        ranks = await run_in_slices(rank(seed_of(b"s" * 32, closed.root), closed))
        spent = time.process_time() - began
    assert len(ranks) == 100_000
    # 0.35 s when the machine is idle, in slices of 2 ms. Both limits leave room for a machine that is not.
    assert spent < 3
    assert turns.count > spent / 0.02
