"""When heartbeats are due, on a clock that the test moves."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest

from gateway.sse.pacing import HeartbeatSchedule


@dataclass
class Turning:
    """A wheel that turns, with ``updates`` or without. ``beats``: when each heartbeat came, in which slot, and how."""

    slots: int
    heartbeat: float
    interval: float
    updates: bool = True
    now: float = 1000.0
    beats: list[tuple[float, int, str]] = field(default_factory=list)

    def turn(self, seconds: float, *, late: float = 0.0) -> Turning:
        pulse = HeartbeatSchedule(self.slots, self.heartbeat, self.interval, lambda: self.now)
        began = self.now
        moments = [(began + self.interval / self.slots * (k + 1), k % self.slots) for k in range(100_000)]
        looks = [(began + pulse.period * (k + 1), -1) for k in range(100_000)]
        for moment, slot in sorted(moments + looks):
            if moment > began + seconds:
                break
            self.now = moment + (late if slot >= 0 else 0.0)
            if slot < 0:
                self.beats += [(self.now, each, "alone") for each in pulse.overdue()]
            elif self.updates and pulse.joins_update(slot):
                self.beats.append((self.now, slot, "along"))
        return self

    def gaps(self) -> list[float]:
        """From each heartbeat of a slot to its next."""
        found = []
        for slot in range(self.slots):
            times = [moment for moment, each, _ in self.beats if each == slot]
            found += [after - before for before, after in itertools.pairwise(times)]
        return found


@pytest.mark.parametrize("late", [0.0, 0.4])
def test_with_updates_often_enough_each_goes_along_with_one(late: float) -> None:
    told = Turning(slots=40, heartbeat=30.0, interval=10.0).turn(300.0, late=late)

    assert {how for _, _, how in told.beats} == {"along"}
    assert {round(gap) for gap in told.gaps()} == {30}
    # 40 slots, every 30 of 300 seconds, the first at most a heartbeat after the start.
    assert 40 * 9 <= len(told.beats) <= 40 * 10
    assert min(moment for moment, _, _ in told.beats) > 1000.0 + 15


def test_an_update_that_comes_early_is_taken_rather_than_one_that_comes_late() -> None:
    told = Turning(slots=4, heartbeat=25.0, interval=10.0).turn(300.0)

    assert {how for _, _, how in told.beats} == {"along"}
    assert {round(gap) for gap in told.gaps()} == {20}


def test_without_updates_they_come_by_themselves() -> None:
    told = Turning(slots=40, heartbeat=30.0, interval=10.0, updates=False).turn(300.0)

    assert {how for _, _, how in told.beats} == {"alone"}
    assert all(30 <= gap <= 32 for gap in told.gaps())
    assert len(told.beats) >= 40 * 9


def test_between_rare_updates_they_come_by_themselves() -> None:
    told = Turning(slots=4, heartbeat=15.0, interval=60.0).turn(600.0)

    assert all(gap <= 15 * 1.11 for gap in told.gaps())
    assert {how for _, _, how in told.beats} == {"along", "alone"}
