"""Metrics: what each call leaves in the registry, and that labels can't grow without end."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.observability.metrics import Metrics, NoMetrics


@dataclass(frozen=True)
class Numbers:
    waiting: int = 12
    parked: int = 11
    allowed_in: int = 3
    capacity: int = 5
    paused: bool = True
    rate: float = 2.0
    admitted: int = 4
    promoted: int = 1
    expired: int = 2
    evicted: int = 0
    left: int = 6
    removed: int = 7
    lineups: int = 8
    parkings: int = 9
    returns: int = 10
    lapsed: int = 11
    unclaimed: int = 12
    registrations: int = 13
    registered: int = 14
    waits: tuple[float, ...] = (42.0, 18.0)
    stays: tuple[float, ...] = (99.0,)
    ages: tuple[float, ...] | None = ()
    following: object | None = None
    lanes: tuple[object, ...] = ()

    def wait_at(self, position: int) -> float | None:
        return position / self.rate if self.rate else None

    def wait_for_newcomer(self) -> float | None:
        return self.wait_at(self.waiting + 1)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"gateway_{name}", labels)


def test_a_request_counts_by_route_method_and_class_of_status(metrics: Metrics) -> None:
    for status in (200, 204, 503):
        metrics.request("product-service", "GET", status, 0.02)
    labels = {"route": "product-service", "method": "GET"}
    assert value(metrics, "requests_seconds_count", **labels, status="2xx") == 2
    assert value(metrics, "requests_seconds_count", **labels, status="5xx") == 1
    assert value(metrics, "requests_seconds_sum", **labels, status="2xx") == pytest.approx(0.04)
    assert value(metrics, "requests_seconds_bucket", **labels, status="2xx", le="0.01") == 0
    assert value(metrics, "requests_seconds_bucket", **labels, status="2xx", le="0.025") == 2


def test_methods_a_client_invents_share_one_label(metrics: Metrics) -> None:
    for number in range(100):
        metrics.request("r", f"M{number}", 200, 0.0)
    assert value(metrics, "requests_seconds_count", route="r", method="OTHER", status="2xx") == 100
    assert generate_latest(metrics.registry).count(b"gateway_requests_seconds_count") == 1
    assert not metrics._by_answer


def test_a_rooms_numbers_are_gauges_and_what_a_call_did_adds_up(metrics: Metrics) -> None:
    metrics.on_summary("default", Numbers())
    metrics.on_summary("default", Numbers(waiting=20, paused=False))
    gauges = {
        "waiting": 20,
        "allowed_in": 3,
        "capacity": 5,
        "paused": 0,
        "admissions_per_second": 2.0,
        "registered": 14,
    }
    for name, expected in gauges.items():
        assert value(metrics, f"room_{name}", room="default") == expected
    assert value(metrics, "room_following", room="default") == 0
    metrics.on_summary("followed", Numbers(following=object()))
    assert value(metrics, "room_following", room="followed") == 1
    assert value(metrics, "room_estimated_wait_seconds", room="default") == 10.5
    assert value(metrics, "room_wait_seconds_count", room="default") == 4
    assert value(metrics, "room_wait_seconds_sum", room="default") == 120
    assert value(metrics, "room_session_seconds_sum", room="default") == 198
    counters = {"lineups": 16, "admissions": 8, "promotions": 2, "expiries": 4, "evictions": 0, "leaves": 12}
    for name, expected in (counters | {"removals": 14}).items():
        assert value(metrics, f"room_{name}_total", room="default") == expected


def test_a_call_that_shows_no_estimate_leaves_the_last_one(metrics: Metrics) -> None:
    metrics.on_summary("default", Numbers())
    metrics.on_summary("default", Numbers(waiting=90, ages=None))
    assert value(metrics, "room_estimated_wait_seconds", room="default") == 6.5


def test_no_wait_is_estimated_while_nothing_is_measured(metrics: Metrics) -> None:
    metrics.on_summary("default", Numbers(rate=0.0))
    estimate = value(metrics, "room_estimated_wait_seconds", room="default")
    assert estimate != estimate


def test_script_calls_give_latency_batch_size_and_failures(metrics: Metrics) -> None:
    metrics.on_call("gate", 0.0004, 32, False)
    metrics.on_call("gate", 1.0, 1, True)
    assert value(metrics, "script_seconds_count", script="gate") == 2
    assert value(metrics, "script_batch_users_sum", script="gate") == 33
    assert value(metrics, "script_failures_total", script="gate") == 1


def test_everything_else_is_counted_under_its_name(metrics: Metrics) -> None:
    metrics.upstream("r", 0.1)
    metrics.upstream_error("r", "UPSTREAM_TIMEOUT")
    metrics.rejected("QUEUE_WAITING")
    metrics.passed_unchecked()
    metrics.token("TOKEN_EXPIRED")
    metrics.jwks_fetched(ok=False)
    metrics.routes_reloaded(ok=False)
    metrics.in_progress = 7
    metrics.stream_opened()
    metrics.stream_opened()
    metrics.stream_closed()
    metrics.frames(5)
    metrics.slow_client_cut_off()
    metrics.loop_lag(0.25)
    metrics.swept("default", "ok")
    metrics.estimated("default", 45.0, 50.0)
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("upstream_seconds_count", (("route", "r"),)): 1,
        ("upstream_errors_total", (("route", "r"), ("code", "UPSTREAM_TIMEOUT"))): 1,
        ("rejections_total", (("code", "QUEUE_WAITING"),)): 1,
        ("gate_unchecked_total", ()): 1,
        ("tokens_total", (("outcome", "TOKEN_EXPIRED"),)): 1,
        ("jwks_fetches_total", (("outcome", "failed"),)): 1,
        ("route_reloads_total", (("outcome", "refused"),)): 1,
        ("routes_up_to_date", ()): 0,
        ("requests_in_flight", ()): 7,
        ("streams_open", ()): 1,
        ("stream_frames_total", ()): 5,
        ("stream_readers_cut_off_total", ()): 1,
        ("loop_lag_seconds_sum", ()): 0.25,
        ("sweeps_total", (("room", "default"), ("outcome", "ok"))): 1,
        ("room_estimate_error_ratio_sum", (("room", "default"),)): 0.1,
    }
    assert {key: value(metrics, key[0], **dict(key[1])) for key in expected} == expected
    metrics.routes_reloaded(ok=True)
    assert value(metrics, "routes_up_to_date") == 1


def test_two_registries_do_not_meet() -> None:
    first, second = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    first.frames(1)
    assert value(second, "stream_frames_total") == 0


def test_no_metrics_has_the_same_surface_and_keeps_nothing() -> None:
    public = {name for name, _ in inspect.getmembers(Metrics, inspect.isfunction) if not name.startswith("_")}
    assert public - set(vars(NoMetrics)) == set()
    none = NoMetrics()
    none.request("r", "GET", 200, 0.1)
    none.on_summary("default", Numbers())
    none.on_call("gate", 0.1, 1, False)
    assert generate_latest(none.registry) == b""


def test_the_lanes_of_other_rooms_are_not_looked_at_for_each_call(metrics: Metrics) -> None:
    read: list[str] = []

    class Watched(Numbers):  # the numbers of one call to one room
        room = ""

        def __getattribute__(self, name: str) -> object:
            if name == "lanes":
                read.append(object.__getattribute__(self, "room"))
            return object.__getattribute__(self, name)

    def numbers(room: str, *lanes: str) -> Watched:
        made = Watched()
        object.__setattr__(made, "room", room)
        object.__setattr__(made, "lanes", tuple(SimpleNamespace(name=lane, waiting=1) for lane in lanes))
        return made

    def waiting(lane: str) -> float | None:
        return value(metrics, "room_lane_waiting", room="concert-*", lane=lane)

    metrics.label_rooms(lambda room: "concert-*", lambda: 0)
    for at in range(10):
        metrics.on_summary(f"concert-{at}", numbers(f"concert-{at}", "default", "members"))
    assert waiting("members") == 10
    read.clear()
    metrics.on_summary("concert-3", numbers("concert-3", "default", "members"))
    assert set(read) == {"concert-3"}
    metrics.on_summary("concert-3", numbers("concert-3", "default", "press"))
    assert (waiting("members"), waiting("press")) == (9, 1)
    metrics.room_stopped("concert-3")
    assert (waiting("members"), waiting("press")) == (9, None)
