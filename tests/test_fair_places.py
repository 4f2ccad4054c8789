"""Places that owners share, compared with a plain list of them."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.fair_places import FairPlaces

STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 9)), max_size=60)


def test_an_owner_has_all_places_until_another_one_wants_some() -> None:
    places: FairPlaces[int] = FairPlaces(3)
    assert [places.take("a", holder) for holder in range(4)] == [(True, None)] * 3 + [(False, None)]
    assert places.take("b", 10) == (True, 2)
    assert places.take("b", 11) == (False, None)
    assert places.take("c", 12) == (True, 1)
    assert list(places) == [0, 10, 12]


def test_of_no_places_nobody_gets_one() -> None:
    places: FairPlaces[int] = FairPlaces(0)
    assert places.take("a", 1) == (False, None)
    assert len(places) == 0


def test_who_has_left_frees_a_place_once() -> None:
    places: FairPlaces[int] = FairPlaces(1)
    places.take("a", 1)
    places.leave(1)
    places.leave(1)
    assert places.take("b", 2) == (True, None)
    assert len(places) == 1


@given(st.integers(0, 6), STEPS)
def test_places_are_given_as_by_a_plain_list(most: int, steps: list[tuple[str, bool, int]]) -> None:
    places: FairPlaces[int] = FairPlaces(most)
    held: list[tuple[str, int]] = []
    for number, (owner, leaves, which) in enumerate(steps):
        if leaves and held:
            _, holder = held.pop(which % len(held))
            places.leave(holder)
        else:
            counts = Counter(each for each, _ in held)
            richest = max(counts.values(), default=0)
            taken, displaced = places.take(owner, number)
            if len(held) < most:
                assert (taken, displaced) == (True, None)
            elif richest <= counts[owner] + 1:
                assert (taken, displaced) == (False, None)
            else:
                assert taken
                loser = next(each for each, holder in held if holder == displaced)
                assert counts[loser] == richest
                assert displaced == [holder for each, holder in held if each == loser][-1]
                held.remove((loser, displaced))
            if taken:
                held.append((owner, number))
        assert sorted(places) == sorted(holder for _, holder in held)
