"""Drawing the crowd, and the times of a run."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.plan import (
    LONGEST_PAUSE,
    MAX_SHOP_SECONDS,
    MIN_SHOP_SECONDS,
    SHARES_IN_LINE,
    Behaviour,
    draw_crowd,
    plan_by_hand,
    plan_run,
)


def test_the_same_seed_brings_the_same_crowd_and_another_seed_another() -> None:
    assert draw_crowd(plan_run(120, 20, 45, seed=7)) == draw_crowd(plan_run(120, 20, 45, seed=7))
    assert draw_crowd(plan_run(120, 20, 45, seed=7)) != draw_crowd(plan_run(120, 20, 45, seed=8))


@given(st.integers(0, 300), st.integers(0, 60), st.floats(5, 120), st.integers(0, 99))
def test_any_crowd_is_complete_and_arrives_in_order(
    people: int, capacity: int, seconds: float, seed: int
) -> None:
    plan = plan_run(people, capacity, seconds, seed)
    crowd = draw_crowd(plan)
    assert [person.number for person in crowd] == list(range(1, people + 1))
    assert len({person.name for person in crowd}) == people
    assert [person.arrives for person in crowd] == sorted(person.arrives for person in crowd)
    for person in crowd:
        assert 0 <= person.arrives <= plan.arrival
        assert MIN_SHOP_SECONDS <= person.shops <= MAX_SHOP_SECONDS
        assert person.away < plan.limits.absent - 1.0
        if person.number <= capacity:
            assert person.behaviour not in SHARES_IN_LINE


@pytest.mark.parametrize(("people", "capacity", "seconds"), [(120, 20, 45), (300, 20, 60), (30, 5, 12)])
def test_every_behaviour_is_shown(people: int, capacity: int, seconds: float) -> None:
    shown = Counter(person.behaviour for person in draw_crowd(plan_run(people, capacity, seconds, seed=1)))
    assert set(shown) == set(Behaviour)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("people", "capacity", "seconds"), [(120, 20, 45), (300, 20, 60), (30, 5, 12)])
def test_the_crowd_needs_the_slot_time_there_is(
    people: int, capacity: int, seconds: float, seed: int
) -> None:
    plan = plan_run(people, capacity, seconds, seed)
    needed = 0.0
    for person in draw_crowd(plan):
        if person.behaviour is not Behaviour.GIVES_UP:
            needed += person.shops
        if person.behaviour in (Behaviour.WALKS_OFF, Behaviour.CLOSES_TAB):
            needed += plan.limits.duration
    assert 0.8 * plan.slot_seconds <= needed <= 1.1 * plan.slot_seconds


@pytest.mark.parametrize("seconds", [5, 10, 20, 45, 300])
@pytest.mark.parametrize("capacity", [5, 30])
def test_every_pause_is_shorter_than_a_session(seconds: float, capacity: int) -> None:
    plan = plan_run(30, capacity, seconds, seed=1)
    for person in draw_crowd(plan):
        assert person.shops * LONGEST_PAUSE <= plan.limits.duration - 0.99


def test_playing_by_hand_leaves_time_to_type() -> None:
    plan = plan_by_hand(capacity=1, seed=1)
    assert plan.limits.duration >= 60
    assert draw_crowd(plan) == []
