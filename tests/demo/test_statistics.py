"""The figures that the statistics make of observations."""

from __future__ import annotations

import pytest

from gateway.demo.observations import EventReceived
from gateway.demo.statistics import Statistics, percentile, snapshot
from tests.demo.trace import GOOD, IN, PLAN


def test_the_snapshot_says_how_many_are_where(statistics: Statistics) -> None:
    now = snapshot(PLAN, statistics, GOOD, 106.0)
    assert (now.waiting, now.inside, now.done) == (0, 1, 2)
    assert now.wait_p50 == pytest.approx(2.6)
    assert snapshot(PLAN, statistics, GOOD, 110.2).inside == 0  # Noah's session is over by then


def test_a_freed_slot_is_timed_until_the_next_one_hears_of_it(statistics: Statistics) -> None:
    assert statistics.handovers == [pytest.approx(0.1)]
    statistics.observe(
        EventReceived(3, 120.0, 1, "ALLOWED_IN", "end", IN)
    )  # a session has run out: nobody left
    assert len(statistics.handovers) == 1


def test_what_happened_is_told(statistics: Statistics) -> None:
    told = [text for _, text in statistics.news]
    assert told == [
        "Noah is back, still ticket 1, position 1",
        "Ada tried the gate and was turned away: 429 QUEUE_WAITING",
        "Noah is the first from the line to be let in",
        "Ada looked again after a while away: the place is gone",
    ]
    assert (statistics.blips, statistics.evicted()) == (1, 1)


def test_a_place_that_was_used_unnoticed_was_not_evicted(statistics: Statistics) -> None:
    """A higher ticket went in before Ada could be evicted, so Ada had been let in as well."""
    statistics.admissions.append((104.5, 3))
    assert statistics.evicted() == 0


def test_admissions_are_counted_per_second(statistics: Statistics) -> None:
    assert statistics.admissions_by_second(104.9, 5) == [0, 1, 0, 0, 1]
    assert statistics.admissions_by_second(200.0, 5) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([3.0], 95, 3.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([float(n) for n in range(100)], 95, 95.0),
    ],
)
def test_percentiles(values: list[float], percent: float, expected: float | None) -> None:
    assert percentile(values, percent) == expected
