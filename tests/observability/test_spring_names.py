"""The metrics under Spring's names, with the labels that a real Spring Cloud Gateway was seen to give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.observability.spring_names import MAX_SECONDS, SpringMetrics
from tests.support.clock import Clock

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "spring" / "actuator.json").read_text())
SEEN: dict[str, Any] = next(case for case in VECTORS["cases"] if case["id"] == "prometheus-gateway-metrics")[
    "metrics"
]


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry, clock: Clock) -> SpringMetrics:
    return SpringMetrics(registry, lambda: 17, clock)


def samples(registry: CollectorRegistry) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


@pytest.mark.parametrize(
    "name",
    [
        "http_server_requests_seconds",
        "http_server_requests_seconds_max",
        "spring_cloud_gateway_requests_seconds",
        "spring_cloud_gateway_requests_seconds_max",
        "spring_cloud_gateway_routes_count",
    ],
)
def test_samples_and_labels_are_springs(
    metrics: SpringMetrics, registry: CollectorRegistry, name: str
) -> None:
    metrics.request("product-service", "GET", 200, 0.1, "", "lb://product-service")
    here = samples(registry)
    for sample, labels in SEEN[name]["samples"].items():
        assert [sorted(one) for one in here[sample]] == labels, sample


def test_tags_are_labels_of_all(registry: CollectorRegistry) -> None:
    tags = {"application": "gateway-server", "region": "seoul"}
    SpringMetrics(registry, lambda: 17, tags=tags).request("r", "GET", 200, 0.1, "", "lb://r")
    here = samples(registry)
    assert len(here) == 9, "histograms have three samples each, and there is a longest for each"
    assert all(tags.items() <= labels.items() for found in here.values() for labels in found)
    assert here["spring_cloud_gateway_routes_count"] == [tags]


@pytest.mark.parametrize(
    ("status", "outcome", "series", "named"),
    [
        (200, "SUCCESS", "SUCCESSFUL", "OK"),
        (302, "REDIRECTION", "REDIRECTION", "FOUND"),
        (429, "CLIENT_ERROR", "CLIENT_ERROR", "TOO_MANY_REQUESTS"),
        (499, "CLIENT_ERROR", "CLIENT_ERROR", "CUSTOM"),
        (503, "SERVER_ERROR", "SERVER_ERROR", "SERVICE_UNAVAILABLE"),
        (999, "UNKNOWN", "UNKNOWN", "CUSTOM"),
    ],
)
def test_outcomes_are_named_as_spring_names_them(
    metrics: SpringMetrics, registry: CollectorRegistry, status: int, outcome: str, series: str, named: str
) -> None:
    metrics.request("r", "GET", status, 0.1, "", "lb://r")
    here = samples(registry)
    (server,), (gateway,) = (
        here["http_server_requests_seconds_count"],
        here["spring_cloud_gateway_requests_seconds_count"],
    )
    assert (server["status"], server["outcome"]) == (str(status), outcome)
    assert (gateway["httpStatusCode"], gateway["outcome"], gateway["status"]) == (str(status), series, named)


def test_own_calls_are_no_requests_of_routes_and_carry_their_code(
    metrics: SpringMetrics, registry: CollectorRegistry
) -> None:
    metrics.request("queue.lineup", "POST", 401, 0.1, "TOKEN_REQUIRED", None)
    here = samples(registry)
    assert "spring_cloud_gateway_requests_seconds_count" not in here
    (server,) = here["http_server_requests_seconds_count"]
    assert (server["uri"], server["error"], server["exception"]) == ("queue.lineup",) + (
        "TOKEN_REQUIRED",
    ) * 2


def test_methods_a_client_invents_share_one_label(
    metrics: SpringMetrics, registry: CollectorRegistry
) -> None:
    for number in range(100):
        metrics.request("r", f"M{number}", 200, 0.1, "", None)
    assert generate_latest(registry).count(b"http_server_requests_seconds_count") == 1


def test_the_longest_is_that_of_the_last_minutes(
    metrics: SpringMetrics, registry: CollectorRegistry, clock: Clock
) -> None:
    def longest() -> list[float]:
        families = [one for one in registry.collect() if one.name == "http_server_requests_seconds_max"]
        return [sample.value for sample in families[0].samples]

    metrics.request("r", "GET", 200, 3.0, "", None)
    metrics.request("r", "GET", 200, 1.0, "", None)
    assert longest() == [3.0]
    clock.now += MAX_SECONDS
    metrics.request("r", "GET", 200, 2.0, "", None)
    assert longest() == [3.0]
    clock.now += MAX_SECONDS
    assert longest() == [2.0]
    clock.now += 10 * MAX_SECONDS
    assert longest() == []
