"""Hashes packed in ascending order, against Python's own lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.draw.packed import sort
from gateway.draw.slices import run

VALUES = st.lists(st.binary(min_size=2, max_size=2), max_size=600)


@given(VALUES)
def test_packed_values_are_the_sorted_ones(values: list[bytes]) -> None:
    packed = run(sort(values, 2))
    assert list(packed) == sorted(values)
    assert len(packed) == len(values)


@given(st.sets(st.binary(min_size=2, max_size=2), max_size=600), st.binary(max_size=3))
def test_a_value_is_found_where_it_is(values: set[bytes], other: bytes) -> None:
    packed = run(sort(values, 2))
    for place, value in enumerate(sorted(values)):
        assert packed.index(value) == place
    if other not in values:
        with pytest.raises(ValueError, match="not among"):
            packed.index(other)


def test_a_value_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes, not 2"):
        run(sort([b"ab", b"abc"], 2))
