"""The clock of spans: in order, and near the wall clock."""

from __future__ import annotations

import time

import pytest

from gateway.observability.span_clock import SpanClock


class Clocks:
    """Both clocks of a machine, set by the test. ``pause`` is how long reading the wall clock takes."""

    def __init__(self) -> None:
        self.wall, self.steady, self.pause = 1_796_000_000.0, 50.0, 0.0

    def read_wall(self) -> float:
        """The wall clock, perhaps after a pause."""
        self.steady += self.pause
        return self.wall

    def span_clock(self) -> SpanClock:
        """A clock that begins now."""
        return SpanClock(self.read_wall, lambda: self.steady)


def test_it_tells_the_time_of_the_wall_clock() -> None:
    clock = SpanClock()
    assert clock.epoch(clock.now()) == pytest.approx(time.time(), abs=1.0)
    assert clock.epoch(clock.now() - 5) == pytest.approx(time.time() - 5, abs=1.0)


def test_small_corrections_do_not_put_spans_out_of_order() -> None:
    clocks = Clocks()
    clock = clocks.span_clock()
    parent = clock.now()
    clocks.steady += 0.001
    child = clocks.steady
    told = clock.epoch(child)
    # The wall clock goes on by more than the steady one until the parent's end.
    clocks.steady += 0.001
    clocks.wall += 0.012
    assert clock.epoch(parent) == pytest.approx(told - 0.001, abs=1e-6)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 0.05, -0.05])
def test_a_wall_clock_that_is_set_counts(step: float) -> None:
    clocks = Clocks()
    clock = clocks.span_clock()
    clocks.wall += step
    assert clock.epoch(clock.now()) == pytest.approx(1_796_000_000.0 + step, abs=1e-6)


def test_a_comparison_that_was_interrupted_does_not_count() -> None:
    clocks = Clocks()
    clock = clocks.span_clock()
    clocks.pause = 0.1
    assert clock.epoch(50.0) == 1_796_000_000.0
    clocks.pause = 0.0
    # In these 0.1 s the wall clock stood still here, so it counts as set back.
    assert clock.epoch(clock.now()) == pytest.approx(1_796_000_000.0, abs=1e-6)
