"""The wheel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sse.pacing import LONGEST_RUN, Wheel


@pytest.mark.parametrize("count", [1, 39, 40, 41, 200, 1_500, 15_000])
def test_items_are_spread_evenly_over_the_slots(count: int) -> None:
    wheel: Wheel[int] = Wheel()
    for item in range(count):
        wheel.add(item)

    loads = [len(wheel[slot]) for slot in range(len(wheel))]
    assert sum(loads) == count
    assert max(loads) - min(loads) <= min(LONGEST_RUN, min(loads) + 1)


def test_items_that_come_one_after_the_other_share_a_slot() -> None:
    wheel: Wheel[int] = Wheel(slots=4)
    for item in range(2_000):
        wheel.add(item)

    runs = [list(run) for slot in range(4) for run in runs_of(wheel[slot])]
    assert sum(len(run) >= LONGEST_RUN for run in runs) > len(runs) / 2
    assert all(wheel[slot] == sorted(wheel[slot]) for slot in range(4))


def runs_of(items: list[int]) -> Iterator[range]:
    """The stretches of consecutive numbers."""
    first = 0
    for at in range(1, len(items) + 1):
        if at == len(items) or items[at] != items[at - 1] + 1:
            yield range(items[first], items[at - 1] + 1)
            first = at


@given(st.lists(st.integers(0, 30)))
def test_a_run_begins_in_the_emptiest_slot_and_no_item_is_lost(moves: list[int]) -> None:
    wheel: Wheel[int] = Wheel(slots=5)
    placed: dict[int, int] = {}
    left, last = 0, 0
    for item in moves:
        if item in placed:
            wheel.remove(item, placed.pop(item))
            continue
        least = min(len(wheel[slot]) for slot in range(5))
        placed[item] = wheel.add(item)
        if left:
            assert placed[item] == last
        else:
            assert len(wheel[placed[item]]) == least + 1
            left = least + 1
        left, last = left - 1, placed[item]

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
