"""How long things take in a run: everything derived from people, capacity and seconds.

The sale should be nearly over when the time is, so how long people shop follows from how much room there
is for how many, and short runs get short sessions, so that even they show an expiry and an eviction.
"""

from __future__ import annotations

from dataclasses import dataclass


def _between(low: float, value: float, high: float) -> float:
    return max(low, min(value, high))


@dataclass(frozen=True, slots=True)
class Limits:
    """The waiting room's settings of a run; all durations in seconds."""

    capacity: int
    duration: float
    absent: float
    interval: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. ``arrival`` is how many seconds the crowd takes to arrive, ``seats`` how many there are to sell.

    ``seconds`` is counted from the opening of the sale; then whoever still waits is sent home.
    """

    people: int
    seconds: float
    seed: int
    limits: Limits
    arrival: float
    seats: int

    @property
    def slot_seconds(self) -> float:
        """Seconds of slots there are in all. Who finds everything sold out stays shorter: that is the reserve."""
        return self.limits.capacity * max(0.0, self.seconds - self.arrival)


def plan_run(people: int, capacity: int, seconds: float, seed: int) -> Plan:
    """Choose the settings for a run with a crowd."""
    limits = Limits(
        capacity=capacity,
        duration=round(_between(2.0, seconds / 7.5, 6.0), 1),
        absent=round(_between(2.0, seconds / 9.0, 5.0), 1),
        interval=round(_between(1.0, seconds / 20.0, 2.0), 1),
    )
    arrival = round(_between(0.5, seconds / 15.0, 3.0), 1)
    # Fewer seats than people, so that the last ones meet a sold-out house.
    return Plan(people, seconds, seed, limits, arrival, seats=max(1, round(people * 0.7)))


def plan_by_hand(capacity: int, seed: int) -> Plan:
    """Choose the settings for somebody playing with curl: time enough to type."""
    limits = Limits(capacity=capacity, duration=120.0, absent=60.0, interval=5.0)
    return Plan(0, 0.0, seed, limits, arrival=0.0, seats=100)
