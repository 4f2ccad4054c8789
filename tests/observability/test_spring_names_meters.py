"""Prometheus's registry as Spring's meters: names, units, statistics, tags."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from gateway.observability.metrics import Metrics
from gateway.observability.spring_names import (
    MAX,
    Meter,
    MeterSeries,
    Processor,
    SpringMetrics,
    meter_json,
    meters_of,
    processors,
)


def measured(meters: dict[str, Meter], name: str, *tags: tuple[str, str]) -> dict[str, Any]:
    """The measurements of one meter by statistic."""
    answer = meter_json(meters[name], tags)
    assert answer is not None
    return {each["statistic"]: each["value"] for each in answer["measurements"]}


def test_each_kind_of_metric_has_springs_statistics() -> None:
    registry = CollectorRegistry()
    Counter("gateway_rejections", "Refused.", ["code"], registry=registry).labels("A").inc(3)
    Gauge("gateway_streams_open", "Streams.", registry=registry).set(5)
    Histogram("gateway_script_seconds", "Scripts.", registry=registry, buckets=(0.1, 1)).observe(0.5)
    Histogram("gateway_script_batch_users", "Users.", registry=registry, buckets=(1, 2)).observe(2)
    Summary("gateway_sent_bytes", "Bytes.", registry=registry).observe(7)
    meters = meters_of(registry.collect(), 0.0)
    assert measured(meters, "gateway.rejections") == {"COUNT": 3.0}
    assert measured(meters, "gateway.streams.open") == {"VALUE": 5.0}
    assert measured(meters, "gateway.script") == {"COUNT": 1.0, "TOTAL_TIME": 0.5}
    assert measured(meters, "gateway.script.batch.users") == {"COUNT": 1.0, "TOTAL": 2.0}
    assert measured(meters, "gateway.sent") == {"COUNT": 1.0, "TOTAL": 7.0}
    assert [meters[name].unit for name in ("gateway.script", "gateway.sent", "gateway.rejections")] == [
        "seconds",
        "bytes",
        "",
    ]
    assert list(meters) == sorted(meters)


def test_what_has_no_number_yet_is_no_meter() -> None:
    registry = CollectorRegistry()
    Counter("gateway_rejections", "Refused.", ["code"], registry=registry)
    assert "gateway.rejections" not in meters_of(registry.collect(), 0.0)


def test_requests_have_springs_name_tags_and_longest() -> None:
    registry, now = CollectorRegistry(), 1000.0
    spring = SpringMetrics(registry, lambda: 3, clock=lambda: now)
    spring.request("a", "GET", 200, 0.25, "", "lb://a")
    spring.request("a", "GET", 200, 0.5, "", "lb://a")
    spring.request("b", "POST", 503, 1.5, "NO_INSTANCE", "lb://b")
    meters = meters_of(registry.collect(), 0.0)
    assert measured(meters, "http.server.requests") == {"COUNT": 3.0, "TOTAL_TIME": 2.25, "MAX": 1.5}
    chosen = (("uri", "a"), ("status", "200"))
    assert measured(meters, "http.server.requests", *chosen) == {"COUNT": 2.0, "TOTAL_TIME": 0.75, "MAX": 0.5}
    assert measured(meters, "spring.cloud.gateway.requests", ("routeId", "b"))["COUNT"] == 1.0
    assert measured(meters, "spring.cloud.gateway.routes.count") == {"VALUE": 3.0}
    assert not [name for name in meters if name.endswith(".max")]
    now += 300.0
    assert measured(meters_of(registry.collect(), 0.0), "http.server.requests")["MAX"] == 0.0


def test_tags_that_were_asked_for_are_not_offered_again() -> None:
    meter = Meter(
        "m",
        "d",
        "seconds",
        [
            MeterSeries({"uri": "a", "method": "GET"}, {"COUNT": 1.0, MAX: 2.0}),
            MeterSeries({"uri": "a", "method": "POST"}, {"COUNT": 4.0, MAX: 1.0}),
            MeterSeries({"uri": "b", "method": "PUT"}, {"COUNT": 8.0, MAX: 8.0}),
        ],
    )
    assert meter_json(meter, [("uri", "a")]) == {
        "name": "m",
        "description": "d",
        "baseUnit": "seconds",
        "measurements": [{"statistic": "COUNT", "value": 5.0}, {"statistic": "MAX", "value": 2.0}],
        "availableTags": [{"tag": "method", "values": ["GET", "POST"]}],
    }
    assert meter_json(meter, [("uri", "a"), ("method", "PUT")]) is None
    assert meter_json(meter, [("other", "a")]) is None


def test_the_process_has_micrometers_names() -> None:
    families = [
        CounterMetricFamily("process_cpu_seconds", "Time.", value=2.5),
        GaugeMetricFamily("process_start_time_seconds", "Start.", value=time.time() - 100),
        GaugeMetricFamily("process_open_fds", "Open.", value=12),
        GaugeMetricFamily("process_max_fds", "Most.", value=1024),
        GaugeMetricFamily("process_resident_memory_bytes", "Memory.", value=4096),
    ]
    meters = meters_of(families, 0.25)
    assert measured(meters, "process.cpu.time") == {"COUNT": 2.5e9}
    assert measured(meters, "process.files.open") == {"VALUE": 12.0}
    assert measured(meters, "process.files.max") == {"VALUE": 1024.0}
    assert measured(meters, "process.uptime")["VALUE"] == pytest.approx(100, abs=10)
    assert measured(meters, "process.cpu.usage") == {"VALUE": 0.25}
    assert measured(meters, "system.cpu.count") == {"VALUE": processors()}
    assert measured(meters, "system.load.average.1m")["VALUE"] >= 0
    assert (meters["process.uptime"].unit, meters["process.files.open"].unit) == ("seconds", "files")
    assert (meters["process.resident.memory"].unit, meters["system.cpu.count"].unit) == ("bytes", "")


def test_what_is_not_finite_is_a_text() -> None:
    for number, text in ((math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")):
        meter = Meter("m", "d", "", [MeterSeries({}, {"VALUE": number})])
        assert measured({"m": meter}, "m") == {"VALUE": text}


def test_no_two_metrics_become_one_meter() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    SpringMetrics(registry, lambda: 0)
    families = [metric.name for metric in registry.collect()]
    series = {"code": "x"}
    filled = [GaugeMetricFamily(name, "d", labels=series) for name in families if not name.endswith("_max")]
    for family in filled:
        family.add_metric(["x"], 1.0)
    of_the_machine = {"process.cpu.usage", "system.cpu.count", "system.load.average.1m"}
    assert len(meters_of(filled, 0.0)) == len(filled) + len(of_the_machine)


def test_usage_is_a_share_of_the_machine() -> None:
    processor = Processor()
    assert processor.usage() == 0.0
    processor._at -= 10.0
    processor._spent -= 5.0
    assert processor.usage() == pytest.approx(min(1.0, 0.5 / processors()), rel=0.2)
    # A look that comes sooner than a second later says the same.
    assert processor.usage() == processor.usage()
