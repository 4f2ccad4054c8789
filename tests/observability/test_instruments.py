"""The histogram of the hot path says what Prometheus's own would say."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gateway.observability.instruments import LatencyHistogram

BUCKETS = (0.001, 0.01, 0.5)
SECONDS = (0.0, 0.0005, 0.001, 0.0011, 0.2, 0.5, 7.0)


def exposition(registry: CollectorRegistry) -> list[str]:
    return sorted(line for line in generate_latest(registry).decode().splitlines() if "_created" not in line)


def test_it_reads_as_the_library_s_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = LatencyHistogram(ours, "x_seconds", "Some time.", BUCKETS, ("route", "status"))
    other = Histogram("x_seconds", "Some time.", ("route", "status"), buckets=BUCKETS, registry=theirs)
    for seconds in SECONDS:
        mine.of("a", "2xx").observe(seconds)
        other.labels("a", "2xx").observe(seconds)
        mine.of("b", "5xx").observe(seconds * 2)
        other.labels("b", "5xx").observe(seconds * 2)
    assert exposition(ours) == exposition(theirs)


def test_before_the_first_observation_it_is_known_by_name() -> None:
    registry = CollectorRegistry()
    LatencyHistogram(registry, "x_seconds", "Some time.", BUCKETS, ("route",))
    assert b"# TYPE x_seconds histogram" in generate_latest(registry)
