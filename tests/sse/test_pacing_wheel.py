"""The wheel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sse.pacing import Wheel


@pytest.mark.parametrize("count", [1, 99, 100, 101, 15_000])
def test_items_are_spread_evenly_over_the_slots(count: int) -> None:
    wheel: Wheel[int] = Wheel()
    for item in range(count):
        wheel.add(item)

    loads = [len(wheel[slot]) for slot in range(len(wheel))]
    assert sum(loads) == count
    assert max(loads) - min(loads) <= 1


@given(st.lists(st.integers(0, 30)))
def test_each_item_takes_the_emptiest_slot_and_none_is_lost(moves: list[int]) -> None:
    wheel: Wheel[int] = Wheel(slots=5)
    placed: dict[int, int] = {}
    for item in moves:
        if item in placed:
            wheel.remove(item, placed.pop(item))
        else:
            emptiest = min(len(wheel[slot]) for slot in range(5))
            placed[item] = wheel.add(item)
            assert len(wheel[placed[item]]) == emptiest + 1

    assert {item: slot for slot in range(5) for item in wheel[slot]} == placed


def test_taking_out_what_is_not_there_is_an_error() -> None:
    wheel: Wheel[int] = Wheel()
    slot = wheel.add(1)

    with pytest.raises(KeyError):
        wheel.remove(1, slot + 1)


def test_a_slot_is_a_copy() -> None:
    wheel: Wheel[int] = Wheel(slots=1)
    wheel.add(1)
    seen = wheel[0]
    wheel.remove(1, 0)

    assert seen == [1]
    assert wheel[0] == []
