"""What the desk shows: rates over the last minute, waits over the last few, and the routes."""

from __future__ import annotations

import pytest

from gateway.api.desk_numbers import ROUTE_SAMPLES, RouteWindow, room_now
from gateway.observability.instruments import LATENCY
from gateway.observability.route_numbers import RouteNumbers
from gateway.waiting_room.instances import Instance
from gateway.waiting_room.report import Minute, Report
from tests.waiting_room.test_forecast import summary

MINUTE = 60_000
NOTHING = (0,) * (len(LATENCY) + 1)


def test_counts_a_minute_are_those_of_the_last_sixty_seconds() -> None:
    minutes = [Minute(0, arrivals=60, admissions=30), Minute(MINUTE, arrivals=10, admissions=2)]
    # A quarter of the second minute has passed, so three quarters of the first one count.
    found = room_now("vip", Report(summary(now=75.0), minutes), {}, [])["now"]
    assert (found["arrivalsPerMinute"], found["admissionsPerMinute"]) == (55, 24.5)
    assert found["lastInLineWaits"] == 120
    first = room_now("vip", Report(summary(now=30.0, waiting=0), [Minute(0, arrivals=7)]), {}, [])["now"]
    assert (first["arrivalsPerMinute"], first["lastInLineWaits"]) == (7, None)


def test_waits_and_errors_are_those_of_the_last_minutes() -> None:
    minutes = [Minute(at * MINUTE, waits={20: 9} if at == 3 else {10: 1}, errors={5: 1}) for at in range(9)]
    found = room_now("vip", Report(summary(now=540.0), minutes), {}, [])["now"]
    assert found["waitP50"] == pytest.approx(0.5 * 1.2**20, rel=0.15)
    assert found["estimateError"] == pytest.approx(0.01 * 1.5**5, rel=0.3)


def test_instances_say_their_lag_if_they_report_it() -> None:
    instances = [Instance("a", 3, "0.2.0", 0.012), Instance("b", 1, "0.1.0")]
    shown = room_now("vip", Report(summary(), [Minute(0)]), {}, instances)["instances"]
    assert [each["lagMs"] for each in shown] == [12, None]


def test_routes_show_what_came_within_the_window() -> None:
    window = RouteWindow()
    slow = tuple(4 if at == 8 else 0 for at in range(len(NOTHING)))
    window.add(100.0, {"a": RouteNumbers(10, 5, NOTHING)})
    window.add(130.0, {"a": RouteNumbers(40, 8, slow), "b": RouteNumbers(1, 0, NOTHING)})
    a, b, c = window.shown([("a", "http://a"), ("b", "lb://b"), ("c", "http://c")])
    assert (a["requestsPerMinute"], a["errorsPerMinute"], a["uri"]) == (60, 6, "http://a")
    assert LATENCY[7] * 1000 < a["latencyP50"] < a["latencyP95"] <= LATENCY[8] * 1000
    assert (b["requestsPerMinute"], b["latencyP50"]) == (2, None)
    assert (c["requestsPerMinute"], c["latencyP95"]) == (0, None)


def test_the_window_forgets() -> None:
    window = RouteWindow()
    for at in range(ROUTE_SAMPLES + 5):
        window.add(at * 5.0, {"a": RouteNumbers(at, 0, NOTHING)})
    (shown,) = window.shown([("a", "")])
    assert shown["requestsPerMinute"] == ROUTE_SAMPLES - 1


def test_times_beyond_the_last_bucket_count_as_its_beginning() -> None:
    beyond = RouteNumbers(1, 0, (*NOTHING[:-1], 1))
    assert beyond.latency(0.5) == LATENCY[-1]
