"""The metrics of rooms: the numbers of each room, and what script calls did to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.observability.instruments import Census, LatencyHistogram, Tally

_WAIT: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_STAY: Final = (5, 15, 30, 60, 120, 180, 240, 300, 600, 1200, 3600)
_ERROR: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


class LaneNumbers(Protocol):
    """A lane of a room after a script call."""

    @property
    def name(self) -> str: ...
    @property
    def waiting(self) -> int: ...


class RoomNumbers(Protocol):
    """A room's numbers after a script call, and what the call did."""

    @property
    def waiting(self) -> int: ...
    @property
    def parked(self) -> int: ...
    @property
    def allowed_in(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def paused_by_operator(self) -> bool: ...
    @property
    def rate(self) -> float: ...
    @property
    def admitted(self) -> int: ...
    @property
    def promoted(self) -> int: ...
    @property
    def expired(self) -> int: ...
    @property
    def evicted(self) -> int: ...
    @property
    def left(self) -> int: ...
    @property
    def removed(self) -> int: ...
    @property
    def lineups(self) -> int: ...
    @property
    def parkings(self) -> int: ...
    @property
    def returns(self) -> int: ...
    @property
    def lapsed(self) -> int: ...
    @property
    def unclaimed(self) -> int: ...
    @property
    def registrations(self) -> int: ...
    @property
    def registered(self) -> int: ...
    @property
    def waits(self) -> Sequence[float]: ...
    @property
    def stays(self) -> Sequence[float]: ...
    @property
    def ages(self) -> Sequence[float] | None: ...
    @property
    def following(self) -> object | None: ...
    @property
    def lanes(self) -> Sequence[LaneNumbers]: ...
    def wait_for_newcomer(self) -> float | None: ...


class Maker:
    """Makes the metrics of one registry; all names begin with ``gateway_``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, doc: str, *labels: str) -> Counter:
        return Counter(f"gateway_{name}", doc, labels, registry=self._registry)

    def gauge(self, name: str, doc: str, *labels: str) -> Gauge:
        return Gauge(f"gateway_{name}", doc, labels, registry=self._registry)

    def census(self, name: str, doc: str, *labels: str) -> Census:
        return Census(self._registry, f"gateway_{name}", doc, labels)

    def tally(self, name: str, doc: str, label: str) -> Tally:
        return Tally(self._registry, f"gateway_{name}", doc, label)

    def latency(self, name: str, doc: str, buckets: tuple[float, ...], *labels: str) -> LatencyHistogram:
        return LatencyHistogram(self._registry, f"gateway_{name}", doc, buckets, labels)

    def histogram(self, name: str, doc: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"gateway_{name}", doc, labels, buckets=buckets, registry=self._registry)


class RoomFamilies:
    """The metrics that have a room as their label."""

    def __init__(self, make: Maker) -> None:
        self.waiting = make.gauge("room_waiting", "Users in line.", "room")
        self.lane_waiting = make.gauge(
            "room_lane_waiting", "Users in line, by lane, of rooms with lanes.", "room", "lane"
        )
        self.parked = make.gauge("room_parked", "Users who keep a ticket but are absent.", "room")
        self.registered = make.gauge("room_registered", "Users in the pre-queue.", "room")
        self.allowed_in = make.gauge("room_allowed_in", "Users allowed in.", "room")
        self.capacity = make.gauge("room_capacity", "Most users allowed in at a time.", "room")
        self.paused = make.gauge(
            "room_paused", "1 while an operator, or an opening, has paused admissions.", "room"
        )
        self.following = make.gauge(
            "room_following", "1 while an older system is followed, which ends sessions and admits.", "room"
        )
        self.rate = make.gauge(
            "room_admissions_per_second", "Measured rate of admissions from the line.", "room"
        )
        self.estimated_wait = make.gauge(
            "room_estimated_wait_seconds",
            "What somebody who joins the line now is told; NaN while nothing is measured.",
            "room",
        )
        self.waits = make.histogram(
            "room_wait_seconds", "Time in line of those admitted from it, to half a second.", _WAIT, "room"
        )
        self.stays = make.histogram("room_session_seconds", "Length of sessions that ended.", _STAY, "room")
        self.errors = make.histogram(
            "room_estimate_error_ratio",
            "How far the first estimate that a stream showed was off, as a share of the real wait.",
            _ERROR,
            "room",
        )
        self.done = {
            "lineups": make.counter("room_lineups", "Times somebody lined up.", "room"),
            "admitted": make.counter("room_admissions", "Users admitted, at once or from the line.", "room"),
            "promoted": make.counter("room_promotions", "Users admitted from the line.", "room"),
            "expired": make.counter("room_expiries", "Sessions that ended by time.", "room"),
            "evicted": make.counter("room_evictions", "Users who lost their place as absent.", "room"),
            "registrations": make.counter("room_registrations", "Users registered in a pre-queue.", "room"),
            "parkings": make.counter("room_parkings", "Times an absent user was parked.", "room"),
            "returns": make.counter("room_returns", "Times a parked user returned to the line.", "room"),
            "lapsed": make.counter(
                "room_lapses", "Slots given on because their users did not claim them in time.", "room"
            ),
            "unclaimed": make.counter(
                "room_unclaimed", "Users removed for slots not claimed in time.", "room"
            ),
            "left": make.counter("room_leaves", "Users who gave up a slot or a place.", "room"),
            "removed": make.counter("room_removals", "Users removed by an operator.", "room"),
        }


class RoomMetrics:
    """The metrics with one label: of one room, or of all that calls have made from one entry of the configuration.
    Gauges show what this instance saw last, of several rooms the sum; counters show what its own calls did."""

    def __init__(self, families: RoomFamilies, room: str) -> None:
        self._room = room
        self._lane_waiting = families.lane_waiting
        self._lanes: set[str] = set()
        """Those that have a gauge."""
        self._lanes_of: dict[str, frozenset[str]] = {}
        """Those of each room that has any."""
        self._now: dict[str, RoomNumbers] = {}
        self._aged: dict[str, RoomNumbers] = {}
        """The newest numbers with the ages of sessions, which estimates need."""
        # Read only when metrics are collected, because calls come thousands of times a second.
        families.waiting.labels(room).set_function(self._reader("waiting"))
        families.parked.labels(room).set_function(self._reader("parked"))
        families.registered.labels(room).set_function(self._reader("registered"))
        families.allowed_in.labels(room).set_function(self._reader("allowed_in"))
        families.capacity.labels(room).set_function(self._reader("capacity"))
        families.paused.labels(room).set_function(self._reader("paused_by_operator"))
        families.following.labels(room).set_function(
            lambda: float(sum(numbers.following is not None for numbers in self._now.values()))
        )
        families.rate.labels(room).set_function(self._reader("rate"))
        families.estimated_wait.labels(room).set_function(self._estimate)
        self._waits = families.waits.labels(room)
        self._stays = families.stays.labels(room)
        self._errors = families.errors.labels(room)
        self._done = [(name, counter.labels(room)) for name, counter in families.done.items()]

    def _reader(self, name: str) -> Callable[[], float]:
        return lambda: sum(getattr(numbers, name, 0) for numbers in self._now.values())

    def _estimate(self) -> float:
        """The longest, if there are several rooms."""
        waits = [numbers.wait_for_newcomer() for numbers in self._aged.values()]
        return max((wait for wait in waits if wait is not None), default=math.nan)

    def estimated(self, first_estimate: float, real: float) -> None:
        """A user was admitted after ``real`` seconds; the first estimate was ``first_estimate`` seconds."""
        self._errors.observe(abs(first_estimate - real) / max(real, 0.001))

    def update(self, room: str, summary: RoomNumbers) -> None:
        """Stores the numbers of one script call."""
        self._now[room] = summary
        if summary.lanes or room in self._lanes_of:
            self._note_lanes(room, frozenset(lane.name for lane in summary.lanes))
        if summary.ages is not None:
            self._aged[room] = summary
        for name, counter in self._done:
            if count := getattr(summary, name):
                counter.inc(count)
        for seconds in summary.waits:
            self._waits.observe(seconds)
        for seconds in summary.stays:
            self._stays.observe(seconds)

    def _note_lanes(self, room: str, lanes: frozenset[str]) -> None:
        """The room has these lanes. Nearly always they are the same as before, and then no other room is looked at."""
        if self._lanes_of.get(room, frozenset()) == lanes:
            return
        if lanes:
            self._lanes_of[room] = lanes
        else:
            del self._lanes_of[room]
        self._show_lanes()

    def _show_lanes(self) -> None:
        """Gauges of the lanes that there are now, and of no others."""
        names = set().union(*self._lanes_of.values())
        for name in names - self._lanes:
            self._lane_waiting.labels(self._room, name).set_function(partial(self._waiting_in, name))
        for name in self._lanes - names:
            self._lane_waiting.remove(self._room, name)
        self._lanes = names

    def _waiting_in(self, name: str) -> float:
        return sum(
            lane.waiting for numbers in self._now.values() for lane in numbers.lanes if lane.name == name
        )

    def forget(self, room: str) -> None:
        """The room's numbers are not known any more."""
        self._now.pop(room, None)
        self._aged.pop(room, None)
        self._note_lanes(room, frozenset())
